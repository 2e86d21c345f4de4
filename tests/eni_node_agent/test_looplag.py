import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from eni_node_agent import looplag
from eni_node_agent.looplag import LoopWatch, Stall

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures every 50 ms, and asyncio as it was afterwards."""
    monkeypatch.setattr(looplag, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(asyncio.Handle, "_run", vars(asyncio.Handle)["_run"])


def watched(work: Callable[[], Awaitable[object]], caplog: pytest.LogCaptureFixture) -> tuple[list[float], list[Stall]]:
    """Runs the work on a watched loop; returns figures, and stalls as the log has them."""
    figures: list[float] = []
    watch = LoopWatch()

    async def main() -> None:
        task = asyncio.create_task(watch.run(figures.append))
        await asyncio.sleep(0.1)
        await work()
        await asyncio.sleep(0.15)
        task.cancel()

    with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=watch.new_loop) as runner:
        runner.run(main())
    told = [vars(record) for record in caplog.records if record.message == "event loop stalled"]
    return figures, [Stall(each["seconds"], each["seconds"] - each["own_seconds"], each["ran"]) for each in told]


async def asleep_at_the_wheel() -> None:
    time.sleep(0.06)  # noqa: ASYNC251  that is the point


def test_a_stall_is_measured_and_named(caplog: pytest.LogCaptureFixture) -> None:
    figures, stalls = watched(lambda: asyncio.create_task(asleep_at_the_wheel()), caplog)
    assert max(figures) >= 0.06
    [stall] = stalls
    assert stall.ran == "asleep_at_the_wheel"
    assert stall.seconds >= 0.06


def test_a_stall_that_sleeps_is_ours_though_it_takes_no_processor(caplog: pytest.LogCaptureFixture) -> None:
    async def many() -> None:
        for _ in range(10):  # one of them at least while the machine is quiet
            await asyncio.create_task(asleep_at_the_wheel())

    _, [stall, *_] = watched(many, caplog)
    assert stall.own > looplag.STALL_SECONDS


def test_many_small_callbacks_in_one_turn_are_a_stall_too(caplog: pytest.LogCaptureFixture) -> None:
    async def crowd() -> None:
        for _ in range(30):
            asyncio.get_running_loop().call_soon(time.sleep, 0.002)

    figures, stalls = watched(crowd, caplog)
    assert max(figures) >= 0.06
    assert [stall.ran for stall in stalls] == ["sleep"]


def test_waiting_is_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    _, stalls = watched(lambda: asyncio.sleep(0.2), caplog)
    assert [stall for stall in stalls if stall.own > looplag.STALL_SECONDS] == []


def test_what_came_before_the_watch_counts_for_nothing() -> None:
    watch = LoopWatch()

    async def main() -> None:
        await asleep_at_the_wheel()

    with asyncio.Runner(loop_factory=watch.new_loop) as runner:
        runner.run(main())
    assert watch._stalls == 0


def test_a_thread_that_had_no_processor_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    """The thread shares one processor with four others that are never idle."""
    processor = min(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(processor)]) for _ in range(4)]
    home = os.sched_getaffinity(0)

    async def work() -> None:
        os.sched_setaffinity(threading.get_native_id(), {processor})
        for _ in range(6):
            await asyncio.create_task(work_for(0.03))

    async def work_for(seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    try:
        _, stalls = watched(work, caplog)
    finally:
        os.sched_setaffinity(threading.get_native_id(), home)
        for process in busy:
            process.kill()
            process.wait()
    assert stalls
    assert stalls[0].queued > stalls[0].seconds / 3


BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
