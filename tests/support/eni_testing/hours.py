"""Hours in no time: sleepers wake in the order of their alarms, as fast as the machine can."""

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Hours:
    """Virtual time: whoever sleeps longest wakes last."""

    now: float = 0.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def sleep(self, seconds: float) -> None:
        """Sleeps until ``advance`` has come so far."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        await future

    async def settle(self) -> None:
        """Lets everybody run who can."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Lets time pass, waking everybody in turn."""
        end = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.now = end
        await self.settle()
