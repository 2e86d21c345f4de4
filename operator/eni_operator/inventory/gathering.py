"""Requests of many instances that come within a short window, made one call of up to ``MANY`` ids.

Decides when a call goes out and who gets which part of the answer; what is asked is the caller's. A request is never
answered by a call that went out before it. Counterpart: ``inventory.region``, which has one gatherer for each API.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.api import MANY

Answer = TypeVar("Answer")

AT_ONCE: Final = 0.0
"""No window: each request is a call of its own."""

Waiting = dict[InstanceId, list[asyncio.Future[list[Answer]]]]


class Gatherer(Generic[Answer]):
    """One kind of request; ``whose`` tells which instance an item of the answer is about."""

    def __init__(
        self,
        ask: Callable[[Sequence[InstanceId]], Awaitable[list[Answer]]],
        whose: Callable[[Answer], str],
        *,
        seconds: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._ask = ask
        self._whose = whose
        self._seconds = seconds
        self._sleep = sleep
        self._waiting: Waiting[Answer] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def of(self, instance_id: InstanceId) -> list[Answer]:
        """Returns what a call that goes out after this one says of an instance; raises what that call raises."""
        if self._seconds <= AT_ONCE:
            return await self._ask([instance_id])
        if not self._waiting:
            self._start(self._after_window())
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(instance_id, []).append(future)
        if len(self._waiting) >= MANY:
            self._start(self._call(self._take()))
        return await future

    def forget(self, instance_id: InstanceId) -> None:
        """Cancels what waits for an instance that has left."""
        for future in self._waiting.get(instance_id, ()):
            future.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _take(self) -> Waiting[Answer]:
        waiting, self._waiting = self._waiting, {}
        return waiting

    async def _after_window(self) -> None:
        await self._sleep(self._seconds)
        await self._call(self._take())

    async def _call(self, waiting: Waiting[Answer]) -> None:
        asked = [instance_id for instance_id, futures in waiting.items() if _pending(futures)]
        if not asked:
            return
        try:
            answers = await self._ask(asked)
        except asyncio.CancelledError:
            for future in _pending(chain.from_iterable(waiting.values())):
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - who asked is told, whatever it is
            for future in _pending(chain.from_iterable(waiting.values())):
                future.set_exception(error)
        else:
            self._hand_out(waiting, answers)

    def _hand_out(self, waiting: Waiting[Answer], answers: list[Answer]) -> None:
        parts: dict[str, list[Answer]] = {}
        for answer in answers:
            parts.setdefault(self._whose(answer), []).append(answer)
        for instance_id, futures in waiting.items():
            for future in _pending(futures):
                future.set_result(parts.get(instance_id, []))


def _pending(futures: Iterable[asyncio.Future[list[Answer]]]) -> list[asyncio.Future[list[Answer]]]:
    return [future for future in futures if not future.done()]
