"""The SDK's client on an engine in the same process, and the life of the process that calls: it may die of any step.

Faults are of two kinds: what EC2 answers (``EngineSdk.refuse``), and what becomes of one numbered step (``Life``).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from botocore.exceptions import ClientError, EndpointConnectionError

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.errors import Ec2Error

READS = ("Describe", "Get", "get", "list", "names")
"""How calls begin that change nothing."""

Refusal = tuple[str, str, int]
"""EC2's code and sentence, and the HTTP status."""


class Killed(BaseException):
    """The process is dead: nothing of it runs any more."""


class Fate(StrEnum):
    """What becomes of a step."""

    DIES_BEFORE = "dies before"
    """The process ends; nothing was sent."""
    DIES_AFTER = "dies after"
    """The process ends; what was sent has its effect."""
    REQUEST_LOST = "request lost"
    """No effect and no answer."""
    ANSWER_LOST = "answer lost"
    """The effect, but no answer."""

    @property
    def kills(self) -> bool:
        """Tells whether the process ends."""
        return self in {Fate.DIES_BEFORE, Fate.DIES_AFTER}

    @property
    def has_effect(self) -> bool:
        """Tells whether what was sent is done."""
        return self in {Fate.DIES_AFTER, Fate.ANSWER_LOST}


async def _at_once() -> None:
    await asyncio.sleep(0)


def _ignore() -> None:
    """Nobody wants to know."""


@dataclass
class Life:
    """What a process does to the outside, step by step; one of them, counted from when it is armed, has a fate."""

    steps: list[str] = field(default_factory=list)
    """Everything that changes something, in order."""
    dead: bool = False
    travel: Callable[[], Awaitable[None]] = _at_once
    """The way there, and the way back."""
    died: Callable[[], None] = _ignore
    fated: int | None = None
    """Number of the step that has a fate."""
    fate: Fate = Fate.DIES_BEFORE

    def arm(self, step: int, fate: Fate) -> None:
        """Gives a fate to a step from now on, the next one being number zero."""
        self.fated, self.fate = len(self.steps) + step, fate

    @property
    def struck(self) -> str | None:
        """Returns the step whose fate has come about; None while none has."""
        if self.fated is None or len(self.steps) <= self.fated:
            return None
        return self.steps[self.fated]

    async def step(self, name: str, effect: Callable[[], Any], unanswered: Callable[[], Exception]) -> Any:
        """Performs an effect, as fate will have it; ``unanswered`` makes the error of a call without an answer."""
        await self.travel()
        self._check()
        is_fatal = False
        if not name.startswith(READS):
            is_fatal = len(self.steps) == self.fated
            self.steps.append(name)
        result = None if is_fatal and not self.fate.has_effect else effect()
        if is_fatal:
            self._suffer(unanswered)
        await self.travel()
        self._check()
        return result

    def _check(self) -> None:
        if self.dead:
            raise Killed

    def _suffer(self, unanswered: Callable[[], Exception]) -> None:
        if not self.fate.kills:
            raise unanswered()
        self.dead = True
        self.died()
        raise Killed


class Lab(Protocol):
    """Whatever has an engine."""

    engine: Engine


class EngineSdk:
    """What the SDK's client does; ``calls`` names what reaches EC2.

    ``refuse`` answers errors by API, ``lose_reply_of`` loses the next answer of one.
    """

    def __init__(self, lab: Lab, life: Life, calls: list[str], refuse: dict[str, Refusal]) -> None:
        self._lab = lab
        self._life = life
        self._calls = calls
        self._refuse = refuse
        self.lose_reply_of: set[str] = set()

    async def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> Any:
        return await self._life.step(operation, lambda: self._perform(operation, parameters), _unanswered)

    def _perform(self, operation: str, parameters: dict[str, Any]) -> Any:
        self._calls.append(operation)
        if operation in self._refuse:
            raise _client_error(operation, *self._refuse[operation])
        try:
            reply = self._lab.engine.call(operation, parameters)
        except Ec2Error as error:
            raise _client_error(operation, error.code, error.message, error.status) from error
        if operation in self.lose_reply_of:
            self.lose_reply_of.discard(operation)
            raise _unanswered()
        return _without_none(reply)


def _unanswered() -> Exception:
    error: Exception = EndpointConnectionError(endpoint_url="http://ec2")
    return error


def _without_none(value: Any) -> Any:
    """What the wire leaves out: absent members."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _client_error(operation: str, code: str, message: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)
