"""The log of calls: who called what, when, with what outcome; and counts by kind and by caller.

Counterpart: ``http`` writes it, ``control`` shows it.
"""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from eni_lab.aws.engine.caller import Caller

KEPT = 10_000
"""Calls kept in detail; counts go on for ever."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call; ``outcome`` is ``ok``, an error code or ``lost`` (performed, but the reply never left)."""

    at: float
    action: str
    caller: Caller
    outcome: str
    seconds: float


class CallLog:
    """What was called since the start or the last reset."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=KEPT)
        self._by_action: Counter[str] = Counter()
        self._by_caller: Counter[tuple[str, str]] = Counter()
        self._by_outcome: Counter[tuple[str, str]] = Counter()

    def add(self, call: Call) -> None:
        """Appends one call."""
        self.calls.append(call)
        self._by_action[call.action] += 1
        self._by_caller[call.caller.name, call.action] += 1
        self._by_outcome[call.action, call.outcome] += 1

    def reset(self) -> None:
        """Forgets everything."""
        self.calls.clear()
        self._by_action.clear()
        self._by_caller.clear()
        self._by_outcome.clear()

    def counts(self) -> dict[str, Any]:
        """Returns counts by action, by caller and action, and by action and outcome."""
        return {
            "total": self._by_action.total(),
            "byAction": dict(sorted(self._by_action.items())),
            "byCaller": _nested(self._by_caller),
            "byOutcome": _nested(self._by_outcome),
        }

    def rows(self, last: int) -> list[dict[str, Any]]:
        """Returns the last calls, oldest first."""
        return [asdict(call) for call in list(self.calls)[-last:]] if last > 0 else []


def _nested(counter: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), number in sorted(counter.items()):
        nested.setdefault(outer, {})[inner] = number
    return nested
