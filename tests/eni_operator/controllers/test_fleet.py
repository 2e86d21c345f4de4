"""Loops come, go and are replaced with their nodes; events find the right one. In virtual time."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eni_operator.controllers.fleet import (
    COMPUTE_TYPE,
    LOOK_SECONDS,
    POKE_GAP_SECONDS,
    START_GAP_SECONDS,
    Fleet,
    FleetSeams,
    is_former,
    is_served,
)
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, KubeError, KubeObject
from eni_operator.controllers.observed import DELETED, Observed, trim
from eni_operator.controllers.trigger import Trigger
from eni_testing.hours import Hours


def node(name: str = "node-a", uid: str = "uid-1", instance: str = "i-0a", **labels: str) -> KubeObject:
    provider = f"aws:///us-east-1a/{instance}" if instance else ""
    return {"metadata": {"name": name, "uid": uid, "labels": labels}, "spec": {"providerID": provider}, "status": {}}


def pool(name: str = "node-a", uid: str = "pool-1", owner: str | None = "uid-1", **spec: Any) -> KubeObject:
    owners = [{"kind": "Node", "name": name, "uid": owner}] if owner else []
    return {"metadata": {"name": name, "uid": uid, "ownerReferences": owners}, "spec": spec, "status": {}}


def eniconfig(name: str, subnet: str = "subnet-1", **spec: Any) -> KubeObject:
    return {"metadata": {"name": name}, "spec": {"subnet": subnet, **spec}}


class Loop:
    """A loop that notes what happens to it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.observed = Observed(name)
        self.trigger = Trigger()
        self.log = log
        self.closing = asyncio.Event()
        self.closing.set()
        self.pool_at_start: KubeObject | None = None

    def note(self, what: str) -> None:
        assert self.observed.node is not None
        self.log.append(f"{what} {self.observed.node['metadata']['uid']}")

    async def run(self) -> None:
        self.note("run")
        self.pool_at_start = self.observed.pool
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self.closing.wait()
        self.note("close")

    async def pokes(self) -> frozenset[str]:
        return await self.trigger.wait(0.3)


class Api:
    """What there is, whatever a watch says. ``outage`` fails every call."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, KubeObject]] = {NODES: {}, POOLS: {}, ENICONFIGS: {}}
        self.deleted: list[tuple[str, str]] = []
        self.outage = False
        self.calls: list[str] = []

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.outage:
            raise KubeError(what, 0, "outage")

    def put(self, plural: str, item: KubeObject) -> KubeObject:
        self.objects[plural][item["metadata"]["name"]] = item
        return item

    async def get(self, plural: str, name: str) -> KubeObject | None:
        self._call(f"get {plural} {name}")
        return copy.deepcopy(self.objects[plural].get(name))

    async def names(self, plural: str, only: str | None = None) -> frozenset[str]:
        self._call(f"names {plural}")
        return frozenset(name for name in self.objects[plural] if only in (None, name))

    async def list_eniconfigs(self) -> list[KubeObject]:
        self._call("list eniconfigs")
        return list(self.objects[ENICONFIGS].values())

    async def delete_pool(self, name: str, uid: str) -> None:
        self._call(f"delete {name}")
        if self.objects[POOLS].get(name, {}).get("metadata", {}).get("uid") != uid:
            raise KubeError("delete", 409, "another uid")
        del self.objects[POOLS][name]
        self.deleted.append((name, uid))


class Running:
    def __init__(self, only: str | None) -> None:
        self.hours = Hours()
        self.api = Api()
        self.log: list[str] = []
        self.made: list[Loop] = []
        self.fleet = Fleet(self.api, self._make, self._seams(), only)
        self.task: asyncio.Task[None] | None = None

    def _seams(self) -> FleetSeams:
        return FleetSeams(sleep=self.hours.sleep, chance=lambda: 0.5)

    def _make(self, name: str) -> Loop:
        self.made.append(Loop(name, self.log))
        return self.made[-1]

    async def start(self) -> None:
        self.task = asyncio.create_task(self.fleet.run())
        await self.hours.settle()

    async def see(self, plural: str, item: KubeObject, event: str | None = None) -> None:
        """An object as it is now, and the watch that tells."""
        if event == DELETED:
            self.api.objects[plural].pop(item["metadata"]["name"], None)
        else:
            self.api.put(plural, item)
        self.fleet.take(plural, event, copy.deepcopy(item))
        await self.hours.advance(0.1)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def running(only: str | None = None, *, started: bool = True) -> AsyncIterator[Running]:
    run = Running(only)
    try:
        if started:
            await run.start()
        yield run
    finally:
        await run.stop()


async def test_a_node_gets_a_loop_and_loses_it_when_it_goes() -> None:
    async with running() as run:
        await run.see(NODES, node())
        await run.see(NODES, node("node-b", "uid-2"))
        assert (run.log, sorted(run.fleet.loops)) == (["run uid-1", "run uid-2"], ["node-a", "node-b"])
        await run.see(NODES, node(), DELETED)
        assert (run.log[2:], list(run.fleet.loops)) == (["close uid-1"], ["node-b"])
        assert not run.fleet.ended()


@pytest.mark.parametrize(
    "successor", [node(uid="uid-2"), node(instance="i-0b")], ids=["another Node", "another instance"]
)
async def test_a_replaced_node_gets_a_loop_of_its_own_when_the_old_one_has_closed(successor: KubeObject) -> None:
    async with running() as run:
        await run.see(NODES, node())
        run.made[0].closing.clear()
        await run.see(NODES, successor)
        await run.see(NODES, node(uid="uid-3"))
        assert run.log == ["run uid-1"]
        run.made[0].closing.set()
        await run.hours.advance(0.1)
        assert run.log == ["run uid-1", "close uid-1", "run uid-3"]


async def test_a_providerid_that_comes_late_replaces_nothing() -> None:
    async with running("node-a") as run:
        await run.see(NODES, node(instance=""))
        await run.see(NODES, node())
        assert run.log == ["run uid-1"]
        assert await run.made[0].pokes() == {NODES}


@pytest.mark.parametrize("told", [True, False], ids=["by a watch", "by asking"])
async def test_the_pool_of_a_former_node_is_deleted_before_the_loop_runs(told: bool) -> None:  # noqa: FBT001 - a table's column
    async with running() as run:
        run.api.put(POOLS, pool(owner="uid-0"))
        if told:
            await run.see(POOLS, pool(owner="uid-0"))
        await run.see(NODES, node())
        assert run.api.deleted == [("node-a", "pool-1")]
        assert run.log == ["run uid-1"]
        assert run.made[0].pool_at_start is None


async def test_a_pool_made_anew_meanwhile_is_kept() -> None:
    async with running() as run:
        await run.see(POOLS, pool(owner="uid-0"))
        run.api.put(POOLS, pool(uid="pool-2"))
        await run.see(NODES, node())
        await run.hours.advance(2)
        assert run.api.deleted == []
        start = run.made[0].pool_at_start
        assert start is not None
        assert start["metadata"]["uid"] == "pool-2"


async def test_the_end_of_a_former_pool_says_nothing_of_the_one_after_it() -> None:
    async with running() as run:
        await run.see(NODES, node())
        await run.see(POOLS, pool(uid="pool-2"))
        await run.see(POOLS, pool(uid="pool-1", owner="uid-0"), DELETED)
        assert run.made[0].observed.pool is not None


async def test_a_pools_event_wakes_its_own_loop_only() -> None:
    async with running() as run:
        await run.see(NODES, node())
        await run.see(NODES, node("node-b", "uid-2"))
        await run.see(POOLS, pool("node-b", owner="uid-2", paused=True))
        assert await run.made[1].pokes() == {POOLS}
        assert await run.made[0].pokes() == frozenset()


async def test_an_eniconfig_wakes_whom_it_may_concern() -> None:
    async with running() as run:
        await run.see(NODES, node("labelled", "uid-1", **{"k8s.amazonaws.com/eniConfig": "az-a"}))
        await run.see(NODES, node("other", "uid-2"))
        await run.see(ENICONFIGS, eniconfig("az-a"))
        assert await run.made[0].pokes() == {ENICONFIGS}
        assert await run.made[1].pokes() == frozenset()
        assert list(run.made[1].observed.eniconfigs) == ["az-a"]
        await run.see(ENICONFIGS, {**eniconfig("az-a"), "status": {"nodes": 1}})
        assert await run.made[0].pokes() == frozenset()
        await run.see(ENICONFIGS, eniconfig("az-b", nodeSelector={}))
        assert all(loop.trigger._event.is_set() for loop in run.made)


async def test_no_loop_runs_before_the_eniconfigs_are_known() -> None:
    async with running(started=False) as run:
        run.api.put(ENICONFIGS, eniconfig("az-a"))
        run.api.outage = True
        await run.see(POOLS, pool())
        await run.see(NODES, node())
        await run.start()
        await run.hours.advance(30)
        assert run.log == []
        run.api.outage = False
        await run.hours.advance(11)
        assert run.log == ["run uid-1"]
        assert list(run.made[0].observed.eniconfigs) == ["az-a"]


async def test_one_node_does_not_wait_for_its_watches() -> None:
    async with running("node-a", started=False) as run:
        run.api.put(NODES, node())
        run.api.put(POOLS, pool())
        run.api.put(NODES, node("node-b", "uid-2"))
        await run.start()
        await run.hours.advance(START_GAP_SECONDS)
        assert run.log == ["run uid-1"]
        await run.see(NODES, node("node-b", "uid-2"))
        assert list(run.fleet.loops) == ["node-a"]


async def test_what_the_watches_missed_is_found() -> None:
    async with running() as run:
        await run.see(NODES, node())
        await run.see(NODES, node("node-b", "uid-2"))
        await run.see(NODES, node("node-f", "uid-f", **{COMPUTE_TYPE: "fargate"}))
        await run.see(ENICONFIGS, eniconfig("az-a"))
        del run.api.objects[NODES]["node-a"], run.api.objects[ENICONFIGS]["az-a"]
        run.api.put(NODES, node("node-c", "uid-3"))
        run.api.calls.clear()
        await run.hours.advance(1.5 * LOOK_SECONDS)
        assert sorted(run.fleet.loops) == ["node-b", "node-c"]
        assert dict(run.fleet.eniconfigs) == {}
        assert [c for c in run.api.calls if c.startswith("get nodes")] == ["get nodes node-a", "get nodes node-c"]


async def test_a_thousand_loops_start_one_after_the_other() -> None:
    async with running() as run:
        for number in range(1000):
            run.fleet.take(NODES, None, node(f"node-{number}", f"uid-{number}"))
        await run.hours.advance(10.5 * START_GAP_SECONDS)
        assert len(run.log) == 10
        await run.hours.advance(1000 * START_GAP_SECONDS)
        assert len(run.log) == 1000


async def test_a_change_for_all_wakes_one_after_the_other() -> None:
    async with running() as run:
        for number in range(50):
            await run.see(NODES, node(f"node-{number}", f"uid-{number}"))
        run.api.put(ENICONFIGS, eniconfig("default"))
        run.fleet.take(ENICONFIGS, None, eniconfig("default"))
        await run.hours.advance(9.5 * POKE_GAP_SECONDS)
        assert sum(loop.trigger._event.is_set() for loop in run.made) == 10
        await run.hours.advance(50 * POKE_GAP_SECONDS)
        assert all(loop.trigger._event.is_set() for loop in run.made)


async def test_all_loops_are_closed_when_the_fleet_ends() -> None:
    async with running() as run:
        for number in range(3):
            await run.see(NODES, node(f"node-{number}", f"uid-{number}"))
        await run.hours.advance(1)
        await run.stop()
        assert sorted(run.log[3:]) == ["close uid-0", "close uid-1", "close uid-2"]


async def test_a_loop_that_closes_when_the_fleet_ends_is_not_disturbed() -> None:
    async with running() as run:
        await run.see(NODES, node())
        run.made[0].closing.clear()
        await run.see(NODES, node(), DELETED)
        stop = asyncio.create_task(run.stop())
        await run.hours.settle()
        run.made[0].closing.set()
        await stop
        assert run.log == ["run uid-1", "close uid-1"]


async def test_pools_are_paged_from_memory() -> None:
    async with running() as run:
        for number in range(250):
            run.fleet.take(POOLS, None, pool(f"node-{number}"))
        assert [len(page) async for page in run.fleet.pool_pages()] == [100, 100, 50]


@pytest.mark.parametrize(
    ("seen", "served"),
    [
        (node(), True),
        (node(instance=""), False),
        (node(**{COMPUTE_TYPE: "ec2"}), True),
        (node(**{COMPUTE_TYPE: "fargate"}), False),
        (node(**{COMPUTE_TYPE: "auto"}), False),
        (node(**{"kubernetes.io/os": "windows"}), False),
    ],
)
def test_the_cluster_serves_linux_nodes_on_instances(seen: KubeObject, *, served: bool) -> None:
    assert is_served(seen) is served


def test_a_pool_without_an_owner_belongs_to_whoever_comes() -> None:
    assert not is_former(pool(owner=None), node())
    assert not is_former(pool(), node())
    assert is_former(pool(owner="uid-0"), node())


def test_a_node_is_kept_without_what_nobody_reads() -> None:
    whole = node()
    whole["metadata"]["managedFields"] = ["long"]
    whole["status"] = {"images": ["many"], "conditions": ["heartbeats"], "capacity": {"pods": "110"}}
    trimmed = trim(NODES, whole)
    assert trimmed["status"] == {"capacity": {"pods": "110"}}
    assert "managedFields" not in trimmed["metadata"]
    assert "images" in whole["status"]
