"""A line before each EC2 API, so that we slow down before EC2 makes us, and the node that needs it most goes first.

Decides when a call may go out; does not make it (``ec2.client``). We take a share of EC2's buckets (``ec2.buckets``)
and leave the rest to the account's other controllers. A refusal halves our rate, time brings it back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from eni_operator.ec2.buckets import Bucket, Tokens, published

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Urgency = Callable[[], float]
"""What a call is urgent for: pods that wait. Asked again whenever a token is free; must not raise."""

NODE_SHARE: Final = 0.25
"""Part of the published buckets one of many operators uses, each of which serves one node."""
CLUSTER_SHARE: Final = 0.95
"""Part used by the one operator that serves every node."""
AGING: Final = 0.2
"""Pods that a second in line weighs as much as: so nobody waits for ever behind who comes later."""


def not_urgent() -> float:
    """Returns the urgency of what no pod waits for."""
    return 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    urgency: Urgency
    since: float
    turn: asyncio.Future[None]

    def rank(self, now: float) -> float:
        return self.urgency() + AGING * (now - self.since)


class _Api:
    """One API's bucket and the line before it."""

    def __init__(self, bucket: Bucket, clock: Clock, sleep: Sleep) -> None:
        self.tokens = Tokens(bucket, clock())
        self.line: list[_Waiter] = []
        self._clock = clock
        self._sleep = sleep
        self._answered = asyncio.Event()
        self._server: asyncio.Task[None] | None = None

    async def enter(self, urgency: Urgency) -> float:
        """Waits for a token and takes it; returns the seconds waited."""
        began = self._clock()
        if not self.line and self.tokens.take(began):
            return 0.0
        waiter = _Waiter(urgency, began, asyncio.get_running_loop().create_future())
        self.line.append(waiter)
        if self._server is None:
            self._server = asyncio.create_task(self._serve(), name="ec2 line")
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        return self._clock() - began

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.turn.cancelled():
            with suppress(ValueError):
                self.line.remove(waiter)
        elif waiter.turn.exception() is None:  # its turn came in the same moment
            self.tokens.unused(self._clock())
            self._answered.set()

    def answered(self) -> None:
        """A call is over."""
        self.tokens.answered(self._clock())
        self._answered.set()

    async def _serve(self) -> None:
        """Gives tokens to those in line until there is nobody; lasts as long as the line."""
        try:
            while self.line:
                await self._until_free()
                self._give()
        except Exception as bug:  # noqa: BLE001 - goes to every caller in line, who would wait for ever otherwise
            for waiter in self.line:
                if not waiter.turn.done():
                    waiter.turn.set_exception(bug)
            self.line.clear()
        finally:
            self._server = None

    async def _until_free(self) -> None:
        self._answered.clear()
        wait = self.tokens.free_in(self._clock())
        if wait is None:
            await self._answered.wait()
        elif wait > 0:
            await self._sleep(wait)

    def _give(self) -> None:
        now = self._clock()
        self.line = [waiter for waiter in self.line if not waiter.turn.done()]
        if not self.line or self.tokens.free_in(now) != 0.0:
            return
        first = max(self.line, key=lambda waiter: waiter.rank(now))
        self.tokens.take(now)
        self.line.remove(first)
        first.turn.set_result(None)


class Throttle:
    """The lines of one process: every client of it shares them."""

    def __init__(self, clock: Clock, sleep: Sleep, share: float = NODE_SHARE) -> None:
        self._clock = clock
        self._sleep = sleep
        self._share = share
        self._apis: dict[str, _Api] = {}

    def _of(self, operation: str) -> _Api:
        if operation not in self._apis:
            bucket = published(operation)
            ours = Bucket(bucket.capacity * self._share, bucket.rate * self._share)
            self._apis[operation] = _Api(ours, self._clock, self._sleep)
        return self._apis[operation]

    @asynccontextmanager
    async def turn(self, operation: str, urgency: Urgency = not_urgent) -> AsyncIterator[float]:
        """Waits for this API's turn and gives the seconds waited; the call is to be made and over inside.

        The most urgent goes first, of equals the first to come. Who is cancelled in line costs nothing.
        """
        api = self._of(operation)
        waited = await api.enter(urgency)
        try:
            yield waited
        finally:
            api.answered()

    def refused(self, operation: str) -> None:
        """Notes that EC2 answered RequestLimitExceeded."""
        self._of(operation).tokens.refused(self._clock())

    @property
    def operations(self) -> tuple[str, ...]:
        """Returns the APIs called so far."""
        return tuple(self._apis)

    def rate(self, operation: str) -> float:
        """Returns the calls a second this API is held to now."""
        return self._of(operation).tokens.rate(self._clock())

    def waiting(self, operation: str) -> int:
        """Counts the calls in this API's line."""
        return len(self._of(operation).line)
