"""Who may do what: every caller everything, except what a rule denies. IAM policies are not evaluated."""

from fnmatch import fnmatchcase

from pydantic.dataclasses import dataclass

from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.model import OWNER_ID
from eni_lab.aws.engine.parsing import STRICT


@dataclass(frozen=True, slots=True, config=STRICT)
class Denial:
    """Denies actions to callers, both as shell patterns."""

    action: str
    caller: str = "*"


class Access:
    """The denials in force."""

    def __init__(self) -> None:
        self.denials: list[Denial] = []

    def check(self, action: str, caller: Caller, region: str) -> None:
        """Raises UnauthorizedOperation (403) when a rule denies the call, in the words of real accounts."""
        if not any(fnmatchcase(action, rule.action) and caller.matches(rule.caller) for rule in self.denials):
            return
        resource = f" on resource: arn:aws:ec2:{region}:{OWNER_ID}:network-interface/*"
        text = "You are not authorized to perform this operation. "
        text += f"User: arn:aws:sts::{OWNER_ID}:assumed-role/{caller.name} is not authorized to perform: ec2:{action}"
        text += "" if action.startswith(("Describe", "Get")) else resource
        raise Ec2Error(
            "UnauthorizedOperation", f"{text} because no identity-based policy allows the ec2:{action} action", 403
        )
