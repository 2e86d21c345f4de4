import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eni_crds.nodeippool import Releasing, Usage
from eni_node_agent.cluster.api import ApiError, Json, UnreachableError
from eni_node_agent.cluster.usage import BURST_SECONDS, URGENT_SECONDS, Report, UsageWriter, delay, heartbeat_pause

TOKEN = Releasing(cidr="10.0.1.5/32", token="t1")
BASE = Usage(assigned=5, free=3, pending=0)


def report(**changes: Any) -> Report:
    return Report(usage=BASE.replace(**changes), conditions=[])


@pytest.mark.parametrize(
    ("current", "since_write", "expected"),
    [
        pytest.param(report(), 100, None, id="nothing new"),
        pytest.param(report(pending=1), 0, 0.05, id="demand rises: at once, even right after a write"),
        pytest.param(report(pending=1), 100, 0.05, id="demand rises: gathers a burst"),
        pytest.param(report(assigned=6), 0.1, pytest.approx(0.15), id="assigned rises: brisk"),
        pytest.param(report(released=[TOKEN]), 0.1, pytest.approx(0.15), id="a handshake is answered: brisk"),
        pytest.param(report(released=[TOKEN]), 9, 0.05, id="a handshake is answered after a while"),
        pytest.param(report(assigned=4), 1, 2.0, id="demand falls: quiet"),
        pytest.param(report(free=9), 1, 2.0, id="counts a person reads: quiet"),
        pytest.param(report(free=9), 9, 0.05, id="quiet, but long ago"),
    ],
)
def test_a_write_waits_as_long_as_its_news_allows(current: Report, since_write: float, expected: float | None) -> None:
    assert delay(report(), current, since_write) == expected


def test_the_first_report_is_written_at_once() -> None:
    assert delay(None, report(), 0) == 0


class Time:
    """A clock that stands still until told to go on; sleepers wake in their order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        waker = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), waker))
        await waker

    async def go_on(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > until:
                break
            self.now, _, waker = heapq.heappop(self._sleepers)
            if not waker.done():
                waker.set_result(None)
        self.now = until


class World:
    """A writer with an API server of three lines."""

    def __init__(self) -> None:
        self.time = Time()
        self.truth = report()
        self.written: list[tuple[float, Json]] = []
        self.failures: list[Exception] = []
        self.writer = UsageWriter(
            self,
            "node-a",
            lambda: self.truth,
            heartbeat=lambda: 120.0,
            clock=lambda: self.time.now,
            sleep=self.time.sleep,
        )

    async def apply(self, path: str, manifest: Json, field_manager: str) -> None:
        assert path.endswith("/nodeippools/node-a/status")
        assert field_manager == "eni-agent"
        if self.failures:
            raise self.failures.pop(0)
        self.written.append((self.time.now, manifest))

    def say(self, **changes: Any) -> None:
        self.truth = Report(usage=self.truth.usage.replace(**changes), conditions=[])
        self.writer.poke()

    async def settle(self, seconds: float = 10.0) -> None:
        """Lets the writer do all it wants to within this time."""
        await self.time.go_on(seconds)


@asynccontextmanager
async def writing() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.writer.run())
    world.writer.poke()
    await world.settle(0.1)
    yield world
    task.cancel()
    await asyncio.wait([task])


async def test_writes_the_whole_of_our_part_under_our_name() -> None:
    async with writing() as world:
        [(_, manifest)] = world.written
    assert manifest["metadata"] == {"name": "node-a"}
    assert manifest["kind"] == "NodeIPPool"
    assert set(manifest["status"]) == {"usage", "conditions"}
    assert manifest["status"]["usage"]["assigned"] == 5
    assert manifest["status"]["usage"]["reportedAt"]


async def test_writes_nothing_when_nothing_changed() -> None:
    async with writing() as world:
        for _ in range(5):
            world.writer.poke()
            await world.settle()
        assert len(world.written) == 1


async def test_a_burst_of_pods_is_one_write_within_50_milliseconds() -> None:
    async with writing() as world:
        began = world.time.now
        for pods in range(1, 51):
            world.say(pending=pods)
        await world.settle()
        [_, (at, manifest)] = world.written
        assert manifest["status"]["usage"]["pending"] == 50
        assert at - began <= 0.05 + 1e-6


def let_pods_come(world: World, *, every: float, seconds: float) -> None:
    """One pod after the other, from now on for so long."""
    began, before = world.time.now, world.truth

    def now_true() -> Report:
        come = 1 + int(min(world.time.now - began, seconds) / every)
        return Report(usage=before.usage.replace(pending=come), conditions=[])

    world.writer._report = now_true
    world.writer.poke()


async def test_pods_that_keep_coming_are_gathered_into_one_write() -> None:
    async with writing() as world:
        let_pods_come(world, every=0.02, seconds=0.12)
        await world.settle()
        [_, (_, manifest)] = world.written
        assert manifest["status"]["usage"]["pending"] == 7


async def test_a_burst_without_end_is_written_all_the_same() -> None:
    async with writing() as world:
        began = world.time.now
        let_pods_come(world, every=0.02, seconds=60)
        await world.settle()
        _, (at, manifest), *_ = world.written
        assert manifest["status"]["usage"]["pending"] > 1
        assert at - began <= BURST_SECONDS + URGENT_SECONDS + 1e-6


async def test_rising_demand_does_not_wait_behind_quiet_news() -> None:
    async with writing() as world:
        world.say(free=9)
        await world.settle(0.5)
        assert len(world.written) == 1
        began = world.time.now
        world.say(pending=3)
        await world.settle()
        assert world.written[1][0] - began <= 0.05 + 1e-6


async def test_quiet_news_are_gathered() -> None:
    async with writing() as world:
        first_at = world.written[0][0]
        world.say(free=9)
        await world.settle()
        assert world.written[1][0] - first_at == pytest.approx(3.0)


async def test_pods_that_come_one_upon_the_other_are_looked_at_together() -> None:
    async with writing() as world:
        looks = 0

        def look() -> Report:
            nonlocal looks
            looks += 1
            return world.truth

        world.writer._report = look
        for free in range(50):
            world.say(free=free)
            await world.settle(0.001)
        assert 3 <= looks <= 6


@pytest.mark.parametrize("failure", [ApiError(409, "conflict"), ApiError(503, "away"), UnreachableError("gone")])
async def test_tries_again_until_it_is_written(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async with writing() as world:
        world.failures = [failure, failure, failure]
        world.say(pending=1)
        await world.settle()
        assert world.written[-1][1]["status"]["usage"]["pending"] == 1
        assert caplog.text.count("usage cannot be written") == 1


async def test_an_object_that_is_not_there_yet_is_waited_for_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async with writing() as world:
        world.failures = [ApiError(404, "not found")]
        world.say(pending=1)
        await world.settle()
        assert len(world.written) == 2
        assert caplog.text == ""


async def test_a_quiet_node_says_every_two_minutes_that_it_is_there_and_nothing_else() -> None:
    async with writing() as world:
        for _ in range(60):
            world.writer.poke()
            await world.settle(10)
        began, *beats = [at for at, _ in world.written]
        assert beats == [pytest.approx(began + 120 * number) for number in range(1, 6)]
        assert len({manifest["status"]["usage"]["reportedAt"] for _, manifest in world.written}) == 6


async def test_a_write_puts_the_next_heartbeat_off() -> None:
    async with writing() as world:
        await world.settle(100)
        world.say(free=9)
        await world.settle(100)
        assert len(world.written) == 2


async def test_a_heartbeat_that_fails_is_tried_again() -> None:
    async with writing() as world:
        world.failures = [UnreachableError("gone"), UnreachableError("gone")]
        await world.settle(130)
        assert (world.failures, len(world.written)) == ([], 2)


@pytest.mark.parametrize(("random", "expected"), [(0.0, 80.4), (0.5, 120.0), (1.0, 159.6)])
def test_heartbeats_of_many_nodes_do_not_come_together(random: float, expected: float) -> None:
    assert heartbeat_pause(120, random) == pytest.approx(expected)
