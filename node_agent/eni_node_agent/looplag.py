"""Watches the event loop: how long it was deaf, and what it did then.

A turn of the loop lasts from the moment its selector returns until it asks the selector again. Whoever comes in
between waits for its end: a request, a timer, a sweep. A turn of more than ``STALL_SECONDS`` is a stall. Turns are
measured all, not sampled, at the cost of two looks at the clock each; once a second the longest goes to whoever keeps
the figures, or the lateness of this module's own timer, if that is more (the interpreter's lock is waited for outside
of turns).

A stall on a node whose processors are all taken is not ours: Linux tells how long a thread was ready to run and had no
processor (``schedstat``, Documentation/scheduler/sched-stats.rst), and that part is told apart.
"""

import asyncio
import contextlib
import logging
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

STALL_SECONDS: Final = 0.02
"""Ten ADDs, one after the other."""
LOOK_SECONDS: Final = 1.0
"""Between two figures."""
SILENCE_SECONDS: Final = 10.0
"""Between two warnings; the later one is of the worst stall since."""
_REFRESH_SECONDS: Final = 0.25
"""How old the reading of schedstat may be that a turn begins with: it costs as much as a small turn."""
_THREADS: Final = Path("/proc/self/task")


class Stall(NamedTuple):
    """One turn that lasted too long."""

    seconds: float
    queued: float
    """Of these at most, in seconds, a thread of this process was ready to run and had no processor."""
    ran: str
    """The callback that took longest; empty where it cannot be told."""

    @property
    def own(self) -> float:
        """Seconds that are ours: work, waiting for the kernel, for a disk, for another thread of ours."""
        return max(self.seconds - self.queued, 0.0)


class LoopWatch:
    """Watches one event loop, which it makes. ``run`` is to be one of its tasks, from when stalls count."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._processors = _Processors()
        self._is_counting = False
        self._longest_turn = 0.0
        self._longest_callback: tuple[float, asyncio.Handle | None] = (0.0, None)
        self._stalls = 0
        self._worst: Stall | None = None
        self._told_at = -SILENCE_SECONDS

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Returns a new event loop under watch; for ``asyncio.Runner``."""
        _time_callbacks(self._clock, self._see_callback)
        return asyncio.SelectorEventLoop(_Selector(self._clock, self._begin_turn, self._end_turn))

    async def run(self, observe: Callable[[float], None]) -> None:
        """Gives a figure, in seconds, to ``observe`` every second, and warns of stalls; for ever."""
        loop = asyncio.get_running_loop()
        self._is_counting = True
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            longest, self._longest_turn = self._longest_turn, 0.0
            observe(max(longest, loop.time() - due))
            self._warn()

    def _warn(self) -> None:
        if self._worst is None or self._clock() - self._told_at < SILENCE_SECONDS:
            return
        worst, stalls, self._worst, self._stalls, self._told_at = self._worst, self._stalls, None, 0, self._clock()
        extra = {"seconds": round(worst.seconds, 4), "own_seconds": round(worst.own, 4), "ran": worst.ran}
        log.warning("event loop stalled", extra={**extra, "stalls": stalls})

    def _begin_turn(self, now: float) -> None:
        self._longest_callback = (0.0, None)
        self._processors.refresh(now)

    def _end_turn(self, seconds: float) -> None:
        if not self._is_counting:
            return
        self._longest_turn = max(self._longest_turn, seconds)
        if seconds > STALL_SECONDS:
            self._stalls += 1
            stall = Stall(seconds, min(self._processors.queued(), seconds), _name(self._longest_callback[1]))
            if self._worst is None or stall.own > self._worst.own:
                self._worst = stall

    def _see_callback(self, handle: asyncio.Handle, seconds: float) -> None:
        if seconds > self._longest_callback[0]:
            self._longest_callback = (seconds, handle)


class _Selector(selectors.DefaultSelector):
    """A selector that tells how long it was not asked."""

    def __init__(
        self, clock: Callable[[], float], begin: Callable[[float], None], end: Callable[[float], None]
    ) -> None:
        super().__init__()
        self._clock = clock
        self._begin = begin
        self._end = end
        self._began = clock()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._end(self._clock() - self._began)
        events: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        self._began = self._clock()
        self._begin(self._began)
        return events


class _Processors:
    """How long threads of this process have waited for a processor.

    All of them count, not just the loop's: one that has the interpreter's lock and no processor holds up the loop.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._read_at = float("-inf")

    def refresh(self, now: float) -> None:
        """Reads anew what is too old to begin a turn with."""
        if now - self._read_at > _REFRESH_SECONDS:
            self._seconds, self._read_at = _queued(), now

    def queued(self) -> float:
        """Returns the seconds waited since the reading; a little more than in the turn alone."""
        return max(_queued() - self._seconds, 0.0)


def _queued() -> float:
    """Returns the seconds waited so far by threads that live; 0 where the kernel does not tell: all is ours then."""
    nanoseconds = 0
    for thread in _THREADS.iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            nanoseconds += int((thread / "schedstat").read_bytes().split()[1])
    return nanoseconds / 1e9


def _time_callbacks(clock: Callable[[], float], see: Callable[[asyncio.Handle, float], None]) -> None:
    """Has every callback of every loop of this process timed: asyncio itself does so in its debug mode alone.

    ``Handle._run`` is asyncio's own, so looked for first; without it a stall is told without what ran.
    """
    run: Callable[[asyncio.Handle], None] | None = getattr(asyncio.Handle, "_run", None)
    if run is None:
        return

    def timed(handle: asyncio.Handle) -> None:
        began = clock()
        run(handle)
        see(handle, clock() - began)

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010  mypy knows no such name


def _name(handle: asyncio.Handle | None) -> str:
    """Returns the coroutine or function a handle has called."""
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    named: Any = owner.get_coro() if isinstance(owner, asyncio.Task) else callback
    return "" if named is None else str(getattr(named, "__qualname__", repr(named)))
