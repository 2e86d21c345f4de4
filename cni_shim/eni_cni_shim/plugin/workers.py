"""Threads that do one piece of work each for an event loop, handed to and fro with as little as Python needs.

A pod waits for both hand-overs, and a node for thousands of them: ``concurrent.futures`` takes three locks, a
condition and three turns of the loop more than this. Decides nothing about the work.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Place = TypeVar("Place")


class Workers(Generic[Place]):
    """A fixed number of threads; to be used from one event loop and closed in the end."""

    def __init__(self, count: int, name: str, workplace: Callable[[], AbstractContextManager[Place]]) -> None:
        """Starts the threads.

        Args:
            count: how many.
            name: what their names begin with.
            workplace: what each thread opens for itself before its first work and closes in the end. Where it cannot
                be opened that work fails, and the next tries again.
        """
        self._workplace = workplace
        self._is_closed = False
        self._jobs: queue.SimpleQueue[Job[Place, Any] | None] = queue.SimpleQueue()
        # Daemons: an agent that ends without closing must not wait for them.
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[Place], T]) -> T:
        """Returns what the work returns, or raises what it raises, once a thread has done it.

        A thread cannot be stopped: when the caller is cancelled, the work is waited for all the same, so that its
        undoing does not overtake it.
        """
        job = self.start(work)
        try:
            return await job.answer
        except asyncio.CancelledError:
            await job.ended()
            raise

    def start(self, work: Callable[[Place], T]) -> "Job[Place, T]":
        """Has a thread do the work; nobody need wait for it. Raises RuntimeError once they are closed."""
        if self._is_closed:
            raise RuntimeError("the threads have ended")
        job = Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """Returns when all work is done and the threads have ended."""
        self._is_closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with ExitStack() as stack:
            opened: list[Place] = []

            def place() -> Place:
                if not opened:
                    opened.append(stack.enter_context(self._workplace()))
                return opened[0]

            while (job := self._jobs.get()) is not None:
                job.do(place)
                del job  # what it holds is not to live until the next


class Job(Generic[Place, T]):
    """One piece of work and its caller."""

    def __init__(self, work: Callable[[Place], T], loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[T] = loop.create_future()
        self._work = work
        self._loop = loop
        self._is_over = False
        self._watcher: asyncio.Future[None] | None = None

    def do(self, place: Callable[[], Place]) -> None:
        """In the thread."""
        try:
            result = self._work(place())
        except BaseException as error:  # noqa: BLE001  it is the caller's, of whatever kind
            self._loop.call_soon_threadsafe(self._fail, error)
        else:
            self._loop.call_soon_threadsafe(self._succeed, result)

    async def ended(self) -> None:
        """Returns when the thread is done with it."""
        if not self._is_over:
            self._watcher = self._loop.create_future()
            await self._watcher

    def _succeed(self, result: T) -> None:
        if not self.answer.done():
            self.answer.set_result(result)
        self._end()

    def _fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._watcher is not None and not self._watcher.done():
            self._watcher.set_result(None)
