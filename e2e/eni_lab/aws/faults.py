"""Scripted faults: which calls fail, or are slow, or lose their reply, before or after they took effect.

Pure: says what to do to a call. Counterpart: ``http`` does it, ``control`` lets a test or a person script it.
"""

from fnmatch import fnmatchcase
from itertools import count
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.parsing import STRICT

When = Literal["before", "after"]


@dataclass(frozen=True, slots=True, config=STRICT)
class Fault:
    """One rule. Without ``code`` and ``lose_reply`` it only makes calls slow."""

    action: str = "*"
    """Shell pattern of the actions it hits."""

    caller: str = "*"
    """Shell pattern of caller names, user agents or addresses."""

    when: When = "before"
    """Before the effect (nothing happened), or after it (it happened, the caller is told otherwise)."""

    code: str = ""
    """Error code to answer."""

    message: str = "This fault was scripted."
    """Error text to answer."""

    status: Annotated[int, Field(ge=400, le=599)] = 400
    """HTTP status to answer."""

    latency: NonNegativeFloat = 0.0
    """Seconds to wait there."""

    lose_reply: bool = False
    """Close the connection instead of answering."""

    count: NonNegativeInt = 1
    """How many calls it hits; 0 for all."""

    skip: NonNegativeInt = 0
    """How many calls it lets through first."""

    def error(self) -> Ec2Error | None:
        """Returns the error to answer, or None."""
        return Ec2Error(self.code, self.message, self.status) if self.code else None


class FaultPlan:
    """The rules in force, by id."""

    def __init__(self) -> None:
        self.rules: dict[int, Fault] = {}
        self._seen: dict[int, int] = {}
        self._ids = count(1)

    def add(self, fault: Fault) -> int:
        """Puts a rule in force and returns its id."""
        key = next(self._ids)
        self.rules[key] = fault
        self._seen[key] = 0
        return key

    def remove(self, key: int) -> None:
        """Takes one rule out of force; one that has struck its last is no error."""
        self.rules.pop(key, None)
        self._seen.pop(key, None)

    def clear(self) -> None:
        """Takes all rules out of force."""
        self.rules.clear()
        self._seen.clear()

    def strike(self, when: When, action: str, caller: Caller) -> Fault | None:
        """Returns the first rule that hits this call here, and counts the call against it."""
        for key, fault in list(self.rules.items()):
            if fault.when != when or not fnmatchcase(action, fault.action) or not caller.matches(fault.caller):
                continue
            self._seen[key] += 1
            if self._seen[key] <= fault.skip:
                continue
            if fault.count and self._seen[key] >= fault.skip + fault.count:
                del self.rules[key], self._seen[key]
            return fault
        return None
