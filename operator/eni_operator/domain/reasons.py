"""Why a pool is as it is: machine reason and human sentence, made by planning and by failures of execution."""

from dataclasses import dataclass

from eni_crds.conditions import ConditionType, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition's content without its time: the status writer adds the transition time."""

    type: ConditionType
    status: bool
    reason: Reason
    message: str
