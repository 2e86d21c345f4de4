"""What is told of a pod that lacks an address, and how often."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.cluster.api import ApiError, Json, UnreachableError
from eni_node_agent.cluster.pod_events import BURST, PodEvents
from eni_node_agent.cluster.pods import Pod
from eni_node_agent.sandbox.pool import Shortage

FULL = "no address came free: subnet-1 has 0 free addresses"


def shortage(pod: str, container: str = "c1", *, reason: str = "SubnetFull", uid: str = "") -> Shortage:
    sandbox = Sandbox(SandboxKey("eni", container, "eth0"), "", "default", pod, uid or f"uid-{pod}")
    return Shortage(sandbox, reason, FULL, is_final=False)


class World:
    """A poster with an API server that keeps what it is given."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.applied: list[tuple[str, Json]] = []
        self.failures: list[Exception] = []
        self.events = PodEvents(self, "node-a", clock=lambda: self.now)

    async def apply(self, path: str, manifest: Json, field_manager: str) -> None:
        assert field_manager == "eni-agent"
        if self.failures:
            raise self.failures.pop(0)
        self.applied.append((path, manifest))

    async def post(self, *shortages: Shortage) -> None:
        for each in shortages:
            self.events.post(each)
        for _ in range(10 * BURST):
            await asyncio.sleep(0)

    @property
    def counts(self) -> list[tuple[str, int]]:
        return [(manifest["involvedObject"]["name"], manifest["count"]) for _, manifest in self.applied]


@asynccontextmanager
async def posting() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.events.run())
    yield world
    task.cancel()
    await asyncio.wait([task])


async def test_an_event_names_pod_reason_sentence_and_us() -> None:
    async with posting() as world:
        await world.post(shortage("web"))
    [(path, event)] = world.applied
    assert path == f"/api/v1/namespaces/default/events/{event['metadata']['name']}"
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "default",
        "name": "web",
        "uid": "uid-web",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "SubnetFull", FULL)
    assert event["source"] == {"component": "eni-agent", "host": "node-a"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:20Z"


async def test_a_repeat_bumps_the_count_of_the_same_event() -> None:
    async with posting() as world:
        await world.post(shortage("web", "c1"), shortage("web", "c1"))
        world.now += 60
        await world.post(shortage("web", "c2"))
    (first, before), (second, after) = world.applied
    assert (first, before["count"], after["count"]) == (second, 1, 2)
    assert (after["firstTimestamp"], after["lastTimestamp"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")


async def test_another_reason_and_another_pod_of_the_name_have_events_of_their_own() -> None:
    async with posting() as world:
        await world.post(
            shortage("web"), shortage("web", "c1", reason="Growing"), shortage("web", "c2", uid="uid-of-the-next")
        )
    assert len({path for path, _ in world.applied}) == 3


async def test_a_static_pod_is_known_to_the_api_server_by_its_mirrors_uid() -> None:
    async with posting() as world:
        world.events.see_pods(
            {
                "mirror": Pod("default", "static", "hash-of-its-file", ""),
                "other": Pod("kube-system", "static", "hash-of-its-file", ""),
            }
        )
        await world.post(shortage("static", uid="hash-of-its-file"), shortage("unseen"))
    assert [event["involvedObject"]["uid"] for _, event in world.applied] == ["mirror", "uid-unseen"]


async def test_a_sandbox_outside_kubernetes_has_no_pod_to_tell_of() -> None:
    async with posting() as world:
        await world.post(Shortage(Sandbox(SandboxKey("eni", "c1", "eth0")), "SubnetFull", FULL, is_final=True))
    assert world.applied == []


async def test_there_are_never_more_than_a_few_and_new_ones_come_before_repeats() -> None:
    async with posting() as world:
        await world.post(*(shortage(f"web-{number}") for number in range(BURST - 5)))
        await world.post(*(shortage(f"web-{number}", "c2") for number in range(BURST)))
        assert len(world.applied) == BURST
        assert [count for _, count in world.counts] == [1] * BURST
        world.now += 3600
        await world.post(shortage("web-0", "c3"))
    assert world.counts[-1] == ("web-0", 3)


@pytest.mark.parametrize("failure", [ApiError(403, "events is forbidden"), UnreachableError("gone")])
async def test_what_cannot_be_sent_is_dropped_and_said_once(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with posting() as world:
        world.failures = [failure, failure]
        await world.post(shortage("a"), shortage("b"), shortage("c"))
    assert world.counts == [("c", 1)]
    assert caplog.text.count("Event on a pod dropped") == 1


async def test_while_nothing_can_be_sent_no_more_than_a_few_are_kept() -> None:
    world = World()
    for number in range(3 * BURST):
        world.now += 100
        world.events.post(shortage(f"web-{number}"))
    task = asyncio.create_task(world.events.run())
    await world.post()
    task.cancel()
    await asyncio.wait([task])
    assert len(world.applied) == BURST


async def test_long_names_and_sentences_are_cut_to_what_the_api_server_takes() -> None:
    async with posting() as world:
        long = shortage("a" * 229 + "." + "b" * 23)
        await world.post(long._replace(message="ä" * 1000))
    [(_, event)] = world.applied
    name = event["metadata"]["name"]
    assert len(name) <= 253
    assert ".." not in name
    assert len(event["message"].encode()) == 1024
