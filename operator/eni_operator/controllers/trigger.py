"""A level trigger: any number of pokes become one run, with the reasons kept for the log."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

DEBOUNCE_SECONDS: Final = 0.05


class Trigger:
    """Poked from the loop's own thread."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._event = asyncio.Event()
        self._reasons: set[str] = set()
        self._urgent = False

    def poke(self, reason: str, *, urgent: bool = False) -> None:
        """Asks for a run; one that is urgent is not held back to let a burst settle."""
        self._reasons.add(reason)
        self._urgent = self._urgent or urgent
        self._event.set()

    async def wait(self, timeout: float) -> frozenset[str]:  # noqa: ASYNC109 - the time-out is an outcome here, not a failure
        """Waits for a poke, or for the time; returns the reasons, none when the time has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._event.wait()
        if self._event.is_set() and not self._urgent:
            await self._sleep(DEBOUNCE_SECONDS)
        self._event.clear()
        self._urgent = False
        reasons, self._reasons = frozenset(self._reasons), set()
        return reasons
