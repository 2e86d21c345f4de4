"""Addresses noted on pods: each one at last, none in the way of an ADD, and nobody else's word is touched."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_node_agent.cluster import pod_ips
from eni_node_agent.cluster.api import ApiError, Json, PatchKind, UnreachableError
from eni_node_agent.cluster.pod_ips import NotingPool, PodIps
from eni_node_agent.cluster.pods import Pod
from eni_testing import cni
from eni_testing.eventually import eventually


def assignment(pod: str = "web", address: str = "10.0.1.23", *, container: str = "c1", uid: str = "u1") -> Assignment:
    sandbox = Sandbox(SandboxKey("eni", container, "eth0"), "", "default", pod, uid)
    return assigned(sandbox, address)


def assigned(sandbox: Sandbox, *addresses: str) -> Assignment:
    return Assignment(sandbox, (PodLink("eth0", f"eni{sandbox.key.container_id}", "eni-1", addresses),), 512)


class World:
    """Pods with their annotation at an API server that may fail."""

    def __init__(self) -> None:
        self.annotations: dict[str, str] = {}
        self.uids: dict[str, str] = {}
        self.failures: list[Exception] = []
        self.outcomes: list[str] = []
        self.pauses: list[float] = []
        self.paths: list[str] = []
        self.notes = PodIps(self.outcomes.append, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def patch(self, path: str, document: Json | Sequence[Json], kind: PatchKind) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.paths.append(path)
        name = path.rpartition("/")[2]
        body: Any = document
        if kind is PatchKind.MERGE:
            if body["metadata"].get("uid", "u1") != self.uids.get(name, "u1"):
                raise ApiError(422, "metadata.uid: field is immutable")
            self.annotations[name] = body["metadata"]["annotations"][pod_ips.ANNOTATION]
            return
        identity, test, replace = body
        assert test["path"] == replace["path"] == "/metadata/annotations/vpc.amazonaws.com~1pod-ips"
        found = (self.uids.get(name, "u1"), self.annotations.get(name))
        if found != (identity["value"], test["value"]):
            raise ApiError(422, "a test failed")
        self.annotations[name] = replace["value"]

    async def settles(self) -> None:
        await eventually(lambda: not self.notes._notes, "all is written")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.notes.run(made))
    yield made
    running.cancel()


async def test_an_address_is_noted_and_taken_off_again(world: World) -> None:
    world.notes.assigned(assignment())
    await world.settles()
    assert world.annotations == {"web": "10.0.1.23"}
    assert world.paths == ["/api/v1/namespaces/default/pods/web"]
    world.notes.released(assignment())
    await world.settles()
    assert world.annotations == {"web": ""}
    assert world.outcomes == ["written", "emptied"]


async def test_several_addresses_are_separated_by_commas(world: World) -> None:
    world.notes.assigned(assigned(assignment().sandbox, "10.0.1.23", "2001:db8::17"))
    await world.settles()
    assert world.annotations == {"web": "10.0.1.23,2001:db8::17"}


async def test_what_somebody_else_wrote_stays(world: World) -> None:
    world.annotations["web"] = "of somebody else"
    world.notes.released(assignment())
    await world.settles()
    assert (world.annotations, world.outcomes) == ({"web": "of somebody else"}, ["gone"])


async def test_a_pod_of_the_same_name_that_came_later_is_left_alone(world: World) -> None:
    world.uids["web"] = "u2"
    world.notes.assigned(assignment(uid="u1"))
    await world.settles()
    assert (world.annotations, world.outcomes) == ({}, ["gone"])


async def test_a_late_del_does_not_undo_the_next_sandboxs_note() -> None:
    world = World()
    world.notes.assigned(assignment(address="10.0.1.24", container="c2"))
    world.notes.released(assignment(address="10.0.1.23", container="c1"))
    running = asyncio.create_task(world.notes.run(world))
    await world.settles()
    running.cancel()
    assert world.annotations == {"web": "10.0.1.24"}


async def test_a_pod_that_went_before_it_was_noted_is_not_noted() -> None:
    world = World()
    world.notes.assigned(assignment())
    world.notes.released(assignment())
    running = asyncio.create_task(world.notes.run(world))
    await world.settles()
    running.cancel()
    assert (world.annotations, world.outcomes) == ({}, ["gone"])


@pytest.mark.parametrize("failure", [UnreachableError("gone"), ApiError(429, "slow down"), ApiError(503, "no leader")])
async def test_what_the_api_server_does_not_take_is_tried_again_ever_more_slowly(
    world: World, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.failures = [failure] * 9
    world.notes.assigned(assignment())
    world.notes.assigned(assignment("api", "10.0.1.24", container="c2"))
    await world.settles()
    assert world.annotations == {"web": "10.0.1.23", "api": "10.0.1.24"}
    assert world.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(caplog.records) == 1


async def test_a_missing_right_is_told_once_and_with_its_remedy(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.failures = [ApiError(403, "pods is forbidden")] * 3
    for number in range(3):
        world.notes.assigned(assignment(f"web-{number}", container=f"c{number}"))
    await world.settles()
    assert world.outcomes == ["refused"] * 3
    assert [str(vars(record)["error"]) for record in caplog.records] == [
        "API server answered 403: pods is forbidden; deploy/annotate-pod-ip has the right it needs"
    ]


async def test_a_crowd_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_ips, "REMEMBERED", 3)
    for number in range(5):
        world.notes.assigned(assignment(f"web-{number}"))
    assert world.outcomes == ["dropped"] * 2
    await world.settles()
    assert set(world.annotations) == {"web-2", "web-3", "web-4"}


async def test_a_sandbox_that_is_no_pods_is_no_concern(world: World) -> None:
    world.notes.assigned(assignment(""))
    await asyncio.sleep(0)
    assert world.outcomes == []


async def test_after_a_restart_only_what_is_missing_is_made_up_for(world: World) -> None:
    pods = {
        "u1": Pod("default", "web", "u1", "", "10.0.1.23"),
        "u2": Pod("default", "api", "u2", "", ""),
        "mirror": Pod("kube-system", "static", "hash", "", ""),
    }
    world.uids = {"api": "u2", "static": "mirror"}
    static = Sandbox(SandboxKey("eni", "c3", "eth0"), "", "kube-system", "static", "hash")
    held = [
        assignment(),
        assignment("api", "10.0.1.24", container="c2", uid="u2"),
        assigned(static, "10.0.1.25"),
        assignment("gone", "10.0.1.26", container="c4", uid="u4"),
    ]
    world.notes.see_pods(pods, held)
    await world.settles()
    assert world.annotations == {"api": "10.0.1.24", "static": "10.0.1.25"}
    world.notes.see_pods(pods, held)
    assert not world.notes._notes


async def test_the_pool_notes_what_it_gives_and_takes(world: World) -> None:
    pool = NotingPool(cni.MemoryPool(), world.notes)
    sandbox = assignment().sandbox
    given = await pool.assign(sandbox)
    await world.settles()
    assert world.annotations == {"web": given.address}
    assert (pool.find(sandbox.key), list(pool.assignments())) == (given, [given])
    pool.check_ready()
    assert await pool.release(sandbox.key) == given
    await world.settles()
    assert world.annotations == {"web": ""}
    assert await pool.release(sandbox.key) is None
