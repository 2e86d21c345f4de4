"""Resources by id with just enough of their past to be read as of a moment ago.

Values are immutable, so the past is a log of what each change replaced, and a read as of then undoes the log.
What is asked for often is found by its terms instead of by looking at every value. Knows nothing of EC2.
Counterpart: ``region`` owns one table per kind of resource.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")

Term = tuple[str, str]
"""A name and a text by which values are found, such as ``("mac-address", "02:00:00:00:00:01")``."""


class _Change(NamedTuple, Generic[Value]):
    at: float
    id: str
    before: Value | None


class _Past(NamedTuple, Generic[Value]):
    values: Mapping[str, Value]
    changed: frozenset[str]
    """What is not there any more, or is otherwise, since."""


class Table(Generic[Value]):
    """Current values by id, in order of creation.

    Args:
        clock: the region's time in seconds.
        horizon: how many seconds back anyone will read.
        terms: by what a value is found; nothing by default.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        horizon: Callable[[], float],
        terms: Callable[[Value], Iterable[Term]] = lambda _: (),
    ) -> None:
        self._clock = clock
        self._horizon = horizon
        self._terms = terms
        self._found: dict[Term, dict[str, None]] = {}
        self._current: dict[str, Value] = {}
        self._log: deque[_Change[Value]] = deque()
        self._asked = (0.0, 0)  # one call asks for the same moment often
        self._answer: _Past[Value] = _Past(self._current, frozenset())
        self.changes = 0

    def put(self, key: str, value: Value) -> None:
        """Adds or replaces a value."""
        self._remember(key)
        self._forget_terms(key)
        self._current[key] = value
        for term in self._terms(value):
            self._found.setdefault(term, {})[key] = None

    def remove(self, key: str) -> None:
        """Takes a value out; the key must be there."""
        self._remember(key)
        self._forget_terms(key)
        del self._current[key]

    def get(self, key: str) -> Value | None:
        """Returns the current value, or None."""
        return self._current.get(key)

    def values(self) -> list[Value]:
        """Returns all current values."""
        return list(self._current.values())

    def find(self, name: str, text: str) -> list[Value]:
        """Returns the current values with a term, in the order in which they got it."""
        return [self._current[key] for key in self._found.get((name, text), ())]

    def candidates(self, name: str, texts: Iterable[str], moment: float) -> Mapping[str, Value]:
        """Returns the values that had one of these terms at a moment, and perhaps some that had not."""
        then, changed = self._at(moment)
        keys = changed.union(*(self._found.get((name, text), ()) for text in texts))
        return {key: then[key] for key in keys if key in then}

    def __len__(self) -> int:
        return len(self._current)

    def as_of(self, moment: float) -> Mapping[str, Value]:
        """Returns the values as they were at a moment, at most one horizon ago."""
        return self._at(moment).values

    def _at(self, moment: float) -> "_Past[Value]":
        if not self._log or self._log[-1].at <= moment:
            return _Past(self._current, frozenset())
        if self._asked != (moment, self.changes):
            self._asked, self._answer = (moment, self.changes), self._undone(moment)
        return self._answer

    def _undone(self, moment: float) -> "_Past[Value]":
        then = dict(self._current)
        changed = set()
        for change in takewhile(lambda one: one.at > moment, reversed(self._log)):
            changed.add(change.id)
            if change.before is None:
                then.pop(change.id, None)
            else:
                then[change.id] = change.before
        return _Past(then, frozenset(changed))

    def _forget_terms(self, key: str) -> None:
        if key not in self._current:
            return
        for term in self._terms(self._current[key]):
            holders = self._found[term]
            holders.pop(key, None)
            if not holders:
                del self._found[term]

    def _remember(self, key: str) -> None:
        self.changes += 1
        now, horizon = self._clock(), self._horizon()
        while self._log and self._log[0].at <= now - horizon:
            self._log.popleft()
        if horizon > 0:
            self._log.append(_Change(now, key, self._current.get(key)))
