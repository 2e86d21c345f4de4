"""Resources by id with just enough of their past to be read as of a moment ago.

Values are immutable, so the past is a log of what each change replaced, and a read as of then undoes the log.
Knows nothing of EC2. Counterpart: ``region`` owns one table per kind of resource.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")


class _Change(NamedTuple, Generic[Value]):
    at: float
    id: str
    before: Value | None


class Table(Generic[Value]):
    """Current values by id, in order of creation.

    Args:
        clock: the region's time in seconds.
        horizon: how many seconds back anyone will read.
    """

    def __init__(self, clock: Callable[[], float], horizon: Callable[[], float]) -> None:
        self._clock = clock
        self._horizon = horizon
        self._current: dict[str, Value] = {}
        self._log: deque[_Change[Value]] = deque()
        self.changes = 0

    def put(self, key: str, value: Value) -> None:
        """Adds or replaces a value."""
        self._remember(key)
        self._current[key] = value

    def remove(self, key: str) -> None:
        """Takes a value out; the key must be there."""
        self._remember(key)
        del self._current[key]

    def get(self, key: str) -> Value | None:
        """Returns the current value, or None."""
        return self._current.get(key)

    def values(self) -> list[Value]:
        """Returns all current values."""
        return list(self._current.values())

    def __len__(self) -> int:
        return len(self._current)

    def as_of(self, moment: float) -> Mapping[str, Value]:
        """Returns the values as they were at a moment, at most one horizon ago."""
        if not self._log or self._log[-1].at <= moment:
            return self._current
        then = dict(self._current)
        for change in reversed(self._log):
            if change.at <= moment:
                break
            if change.before is None:
                then.pop(change.id, None)
            else:
                then[change.id] = change.before
        return then

    def _remember(self, key: str) -> None:
        self.changes += 1
        now, horizon = self._clock(), self._horizon()
        while self._log and self._log[0].at <= now - horizon:
            self._log.popleft()
        if horizon > 0:
            self._log.append(_Change(now, key, self._current.get(key)))
