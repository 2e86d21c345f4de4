"""The election's shell on an API server in memory, in virtual time."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eni_operator.controllers.election import CLUSTER
from eni_operator.controllers.kube import KubeError, KubeObject
from eni_operator.controllers.leader import Leader, LeaderSeams
from eni_testing.hours import Hours

Duty = Callable[[], Coroutine[Any, Any, None]]


class Leases:
    """The one Lease. ``down`` names who cannot reach it."""

    def __init__(self) -> None:
        self.lease: KubeObject | None = None
        self.version = 0

    def put(self, lease: KubeObject, over: str | None) -> KubeObject:
        held = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if held != over:
            raise KubeError("update", 409, "the object has been modified")
        self.version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])


class Access:
    """One process's way to it."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.down = False
        self.lose_answers = False
        self.asked = 0

    def _check(self) -> None:
        self.asked += 1
        if self.down:
            raise KubeError("lease", 0, "no route")

    async def get_lease(self) -> KubeObject | None:
        self._check()
        return copy.deepcopy(self._leases.lease)

    async def create_lease(self, lease: KubeObject) -> KubeObject:
        self._check()
        return self._leases.put(lease, None)

    async def update_lease(self, lease: KubeObject) -> KubeObject:
        self._check()
        written = self._leases.put(lease, lease["metadata"]["resourceVersion"])
        if self.lose_answers:
            raise KubeError("lease", 0, "the answer was lost")
        return written


class Process:
    """A candidate whose duty is to note that it works."""

    def __init__(self, name: str, leases: Leases, hours: Hours) -> None:
        self.kube = Access(leases)
        self.working = 0
        self.worked = 0
        seams = LeaderSeams(clock=lambda: hours.now, wall=lambda: hours.now, sleep=hours.sleep, jitter=lambda: 1.0)
        self.leader = Leader(self.kube, name, CLUSTER, seams)
        self.task = asyncio.create_task(self.leader.run(self.duty))

    async def duty(self) -> None:
        self.working += 1
        self.worked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Contest:
    def __init__(self) -> None:
        self.hours = Hours()
        self.leases = Leases()
        self.processes: list[Process] = []

    def start(self, name: str) -> Process:
        self.processes.append(Process(name, self.leases, self.hours))
        return self.processes[-1]

    async def advance(self, seconds: float) -> None:
        """In small steps, so that a moment with two at work would be seen."""
        for _ in range(int(seconds * 4)):
            await self.hours.advance(0.25)
            assert sum(p.working for p in self.processes) <= 1


@asynccontextmanager
async def contest() -> AsyncIterator[Contest]:
    started = Contest()
    try:
        yield started
    finally:
        for process in started.processes:
            await process.stop()


async def test_the_first_leads_and_the_second_waits() -> None:
    async with contest() as held:
        first, second = held.start("first"), held.start("second")
        await held.advance(60)
        assert (first.working, second.working, held.leases.holder) == (1, 0, "first")
        assert (first.worked, second.worked) == (1, 0)


async def test_a_leader_that_is_cut_off_stops_before_another_starts() -> None:
    async with contest() as held:
        first, second = held.start("first"), held.start("second")
        await held.advance(5)
        first.kube.down = True
        await held.advance(10.5)
        assert (first.working, second.working) == (0, 0)
        await held.advance(9)
        assert (first.working, second.working, held.leases.holder) == (0, 1, "second")
        first.kube.down = False
        await held.advance(60)
        assert (first.working, second.working) == (0, 1)


async def test_lost_answers_cost_the_lead_at_most() -> None:
    async with contest() as held:
        first = held.start("first")
        await held.advance(5)
        first.kube.lose_answers = True
        await held.advance(11)
        assert (first.working, held.leases.holder) == (0, "first")
        first.kube.lose_answers = False
        await held.advance(3)
        assert first.working == 1


async def test_an_orderly_stop_hands_the_lead_on_at_once() -> None:
    async with contest() as held:
        first, second = held.start("first"), held.start("second")
        await held.advance(5)
        await first.stop()
        assert (first.working, held.leases.holder) == (0, "")
        await held.advance(2.5)
        assert second.working == 1
        assert held.leases.lease is not None
        assert held.leases.lease["spec"]["leaseTransitions"] == 2


async def test_the_duty_ends_before_the_lease_is_given_up() -> None:
    order: list[str] = []
    async with contest() as held:
        first = held.start("first")
        await held.advance(5)
        update = first.kube.update_lease

        async def note(lease: KubeObject) -> KubeObject:
            order.append(f"{lease['spec']['holderIdentity'] or 'given up'} {first.working}")
            return await update(lease)

        first.kube.update_lease = note  # type: ignore[method-assign]
        await first.stop()
    assert order == ["given up 0"]


async def test_a_duty_that_breaks_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async with contest() as held:
        process = held.start("first")
        process.duty = fail_once(process.duty)  # type: ignore[method-assign]
        await process.stop()
        process.task = asyncio.create_task(process.leader.run(process.duty))
        await held.advance(1)
        assert process.working == 0
        await held.advance(6)
        assert process.working == 1
    assert "the leader's duty ended" in caplog.text


def fail_once(duty: Duty) -> Duty:
    failures = iter([ValueError("by the test")])

    async def fail() -> None:
        for failure in failures:
            raise failure
        await duty()

    return fail
