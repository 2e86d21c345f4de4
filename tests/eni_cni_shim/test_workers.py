"""Threads that work for the event loop: results and failures come back, and a cancelled caller waits for its work."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from eni_cni_shim.plugin.workers import Workers
from eni_testing.eventually import eventually


class Yard:
    """Workplaces that know whether they are open, and in which threads they were opened."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.threads: set[str] = set()
        self.is_shut = False

    @contextlib.contextmanager
    def place(self) -> Iterator[int]:
        if self.is_shut:
            raise OSError("too many open files")
        number = threading.get_ident()
        self.threads.add(threading.current_thread().name)
        self.open.add(number)
        try:
            yield number
        finally:
            self.open.remove(number)


@contextlib.contextmanager
def working(count: int = 2) -> Iterator[tuple[Workers[int], Yard]]:
    yard = Yard()
    workers = Workers(count, "worker", yard.place)
    try:
        yield workers, yard
    finally:
        workers.close()


async def test_work_is_done_in_a_thread_in_its_own_workplace() -> None:
    with working() as (workers, yard):
        place, thread = await workers.run(lambda place: (place, threading.get_ident()))
        assert place == thread != threading.get_ident()
        assert place in yard.open


async def test_a_failure_is_the_callers_and_the_thread_works_on() -> None:
    with working(1) as (workers, _):
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda _: 1 // 0)
        assert await workers.run(lambda _: "done") == "done"


async def test_a_workplace_that_cannot_be_opened_fails_one_work_and_not_the_thread() -> None:
    with working(1) as (workers, yard):
        yard.is_shut = True
        with pytest.raises(OSError, match="too many open files"):
            await workers.run(lambda _: "done")
        yard.is_shut = False
        assert await workers.run(lambda _: "done") == "done"


async def test_as_many_works_as_threads_are_done_at_once() -> None:
    both = threading.Barrier(2)
    with working(2) as (workers, _):
        numbers = await asyncio.gather(*(workers.run(lambda _: both.wait(10)) for _ in range(2)))
    assert sorted(numbers) == [0, 1]


async def test_a_cancelled_caller_waits_for_its_work() -> None:
    began, gate = threading.Event(), threading.Event()

    def work(_: int) -> None:
        began.set()
        gate.wait(10)

    with working(1) as (workers, _):
        caller = asyncio.create_task(workers.run(work))
        await eventually(began.is_set, "the work began")
        caller.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not caller.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await caller


async def test_a_caller_cancelled_while_its_answer_is_on_the_way_does_not_wait_for_ever() -> None:
    ended = threading.Event()
    with working(1) as (workers, _):
        caller = asyncio.create_task(workers.run(lambda _: ended.set()))
        await asyncio.sleep(0)
        assert ended.wait(10)  # the loop stands still meanwhile and cannot take the answer
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(caller, 10)


async def test_closing_waits_for_the_works_and_closes_the_workplaces() -> None:
    ended: list[int] = []
    with working(2) as (workers, yard):
        for _ in range(5):
            workers.start(ended.append)
    assert len(ended) == 5
    assert yard.open == set()
    assert yard.threads <= {"worker-0", "worker-1"}


async def test_who_comes_after_the_end_is_told_so() -> None:
    with working(1) as (workers, _):
        pass
    with pytest.raises(RuntimeError, match="have ended"):
        await workers.run(lambda _: "done")
