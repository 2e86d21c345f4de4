"""What the verbs do with the pool and the network, and in which order they undo it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from eni_cni_shim.plugin.addresspool import (
    Assignment,
    NoAddressError,
    PoolUnavailableError,
    Sandbox,
    SandboxKey,
)
from eni_cni_shim.plugin.pod_network import NetnsError, PodNetworkError
from eni_cni_shim.plugin.verbs import Plugin
from eni_cni_shim.protocol import Reply, Request
from eni_testing import cni
from eni_testing.eventually import eventually

NETNS_FD = 9
"""Goes through untouched: no test here reaches the kernel."""
ADDRESS = "10.0.1.20"


@dataclass
class Network:
    """Notes what is done; ``failure`` is raised by every step, ``gate`` holds ``add`` back until it is set."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    there: dict[str, str] = field(default_factory=dict)
    failure: Exception | None = None
    removal_failure: Exception | None = None
    found: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def add(self, netns: int, assignment: Assignment, mtu: int) -> int:
        assert (netns, mtu) == (NETNS_FD, 9001)
        self.there[assignment.host_ifname] = assignment.address
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        self.steps.append(("add", assignment.address))
        if self.failure is not None:
            raise self.failure
        return 0

    async def check(self, netns: int, assignment: Assignment, mtu: int) -> list[str]:
        assert (netns, mtu, assignment.address in self.there.values()) == (NETNS_FD, 9001, True)
        return self.found

    async def remove(self, assignment: Assignment) -> None:
        self.steps.append(("remove", assignment.address))
        if self.removal_failure is not None:
            raise self.removal_failure
        self.there.pop(assignment.host_ifname, None)


@dataclass
class Node:
    pool: cni.MemoryPool
    network: Network
    plugin: Plugin

    async def call(
        self, command: str, container_id: str = "c1", netns: int | None = NETNS_FD, **fields: Any
    ) -> cni.Outcome:
        environ = cni.environ(command, container_id, "/run/netns/x")
        config = {**cni.CONFIG, "cniVersion": "1.1.0", **fields}
        return cni.Outcome(*await self.plugin.handle(Request(environ, json.dumps(config).encode()), netns))

    def is_empty(self) -> bool:
        return not self.pool.held and not self.network.there


@pytest.fixture
async def node() -> Node:
    pool, network = cni.MemoryPool(), Network()
    return Node(pool, network, Plugin(pool, network))


async def test_add_gives_the_pod_an_address(node: Node) -> None:
    outcome = await node.call("ADD")
    assert outcome.exit_code == 0
    assert outcome.json["ips"] == [{"address": f"{ADDRESS}/32", "gateway": "169.254.1.1", "interface": 1}]
    [assignment] = node.pool.assignments()
    assert assignment.sandbox == Sandbox(SandboxKey("eni", "c1", "eth0"), "/run/netns/x", "default", "web-0", "u1")
    assert node.network.there == {assignment.host_ifname: ADDRESS}


async def test_add_again_gives_the_same_result(node: Node) -> None:
    assert await node.call("ADD") == await node.call("ADD")
    assert len(node.pool.held) == 1


async def test_del_takes_the_network_down_before_the_address_is_free(node: Node) -> None:
    await node.call("ADD")
    node.network.removal_failure = PodNetworkError("the kernel refused to remove eni1: Device or resource busy")
    assert (await node.call("DEL")).code == 101
    assert node.pool.find(SandboxKey("eni", "c1", "eth0"))
    node.network.removal_failure = None
    assert await node.call("DEL") == (0, b"")
    assert node.is_empty()


@pytest.mark.parametrize("netns", [NETNS_FD, None], ids=["netns", "netns gone"])
async def test_del_succeeds_however_often_and_without_an_add(node: Node, netns: int | None) -> None:
    assert await node.call("DEL", netns=netns) == (0, b"")
    await node.call("ADD")
    for _ in range(3):
        assert await node.call("DEL", netns=netns) == (0, b"")
    assert node.is_empty()


async def test_a_late_del_of_the_old_sandbox_leaves_the_new_one_alone(node: Node) -> None:
    await node.call("ADD", "old")
    await node.call("DEL", "old")
    await node.call("ADD", "new")
    assert await node.call("DEL", "old") == (0, b"")
    assert [assignment.sandbox.key.container_id for assignment in node.pool.assignments()] == ["new"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PodNetworkError("the kernel refused to set up eth0: File exists"), 101),
        (NetnsError("it cannot be entered as a network namespace"), 4),
        (RuntimeError("a mistake of ours"), 103),
    ],
)
async def test_a_failed_add_leaves_nothing(node: Node, failure: Exception, code: int) -> None:
    node.network.failure = failure
    assert (await node.call("ADD")).code == code
    assert node.is_empty()
    assert node.network.steps == [("add", ADDRESS), ("remove", ADDRESS)]


async def test_a_failed_repetition_of_add_does_not_take_the_running_pod_down(node: Node) -> None:
    await node.call("ADD")
    node.network.failure = PodNetworkError("the kernel refused")
    assert (await node.call("ADD")).code == 101
    assert not node.is_empty()


async def test_a_failure_that_cannot_be_undone_keeps_the_address_from_others(node: Node) -> None:
    node.network.failure = node.network.removal_failure = PodNetworkError("the kernel refused")
    assert (await node.call("ADD")).code == 101
    assert len(node.pool.held) == 1


async def test_an_internal_error_is_logged_with_its_traceback(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.network.failure = RuntimeError("a mistake of ours")
    outcome = await node.call("ADD")
    assert "mistake" not in outcome.json["msg"]
    assert "a mistake of ours" in caplog.text


async def test_without_an_address_add_says_why_and_to_try_again(node: Node) -> None:
    node.pool.failure = NoAddressError("SubnetExhausted", "subnet-1 has no free address")
    outcome = await node.call("ADD")
    assert outcome.code == 11
    assert outcome.json["msg"] == "subnet-1 has no free address"
    assert outcome.json["details"] == "SubnetExhausted"
    assert node.is_empty()


@pytest.mark.parametrize(
    "failure", [PoolUnavailableError("the journal cannot be written"), NoAddressError("LimitReached", "no more ENIs")]
)
async def test_a_pool_that_cannot_serve_is_told_by_add_and_status(node: Node, failure: Exception) -> None:
    node.pool.failure = failure
    assert (await node.call("ADD")).code == 11
    assert (await node.call("STATUS")).code == 50
    assert str(failure) in (await node.call("STATUS")).json["msg"]


async def test_status_of_a_node_that_can_serve_is_silent(node: Node) -> None:
    assert await node.call("STATUS") == (0, b"")


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
async def test_a_namespace_that_could_not_be_opened_is_named(node: Node, command: str) -> None:
    previous = (await node.call("ADD")).json if command == "CHECK" else None
    outcome = await node.call(command, netns=None, prevResult=previous)
    assert outcome.code == 4
    assert "/run/netns/x" in outcome.json["msg"]


async def test_errors_have_the_version_of_the_configuration(node: Node) -> None:
    node.pool.failure = NoAddressError("LimitReached", "no more ENIs")
    assert (await node.call("ADD", cniVersion="0.4.0")).json["cniVersion"] == "0.4.0"
    assert (await node.call("ADD", cniVersion="9")).json["cniVersion"] == "1.1.0"


async def test_check_compares_result_pool_and_kernel(node: Node) -> None:
    result = (await node.call("ADD")).json
    assert await node.call("CHECK", prevResult=result) == (0, b"")
    node.network.found = ["eth0 is down"]
    outcome = await node.call("CHECK", prevResult={**result, "ips": []})
    assert outcome.code == 102
    assert "eth0 is down" in outcome.json["msg"]
    assert f"not {ADDRESS}/32" in outcome.json["msg"]


async def test_check_of_a_sandbox_found_again_by_its_host_link_looks_at_its_interface(node: Node) -> None:
    result = (await node.call("ADD")).json
    key = SandboxKey("eni", "c1", "eth0")
    found_again = Sandbox(SandboxKey("", node.pool.held[key].host_ifname, ""))
    node.pool.held[key] = dataclasses.replace(node.pool.held[key], sandbox=found_again)
    assert await node.call("CHECK", prevResult=result) == (0, b"")


async def test_the_annotation_asks_the_pool_for_every_card(node: Node) -> None:
    annotations = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}
    await node.call("ADD", "many", runtimeConfig=annotations)
    await node.call("ADD", "one", runtimeConfig={})
    wanted = {given.sandbox.key.container_id: given.sandbox.every_card for given in node.pool.assignments()}
    assert wanted == {"many": True, "one": False}


async def test_check_of_an_unknown_container_says_so(node: Node) -> None:
    assert (await node.call("CHECK", prevResult={})).code == 3


def attachments(*container_ids: str) -> dict[str, Any]:
    return {"cni.dev/valid-attachments": [{"containerID": name, "ifname": "eth0"} for name in container_ids]}


async def test_gc_releases_what_does_not_live(node: Node) -> None:
    for name in ("a", "b", "c"):
        await node.call("ADD", name)
    assert await node.call("GC", **attachments("b", "unheard-of")) == (0, b"")
    assert [assignment.sandbox.key.container_id for assignment in node.pool.assignments()] == ["b"]


async def test_gc_leaves_other_networks_alone(node: Node) -> None:
    await node.call("ADD", name="other")
    assert await node.call("GC", **attachments()) == (0, b"")
    assert len(node.pool.held) == 1


async def test_gc_goes_on_after_a_failure_and_reports_it(node: Node) -> None:
    for name in ("a", "b"):
        await node.call("ADD", name)
    node.network.removal_failure = PodNetworkError("the kernel refused to remove eni1")
    assert (await node.call("GC", **attachments())).code == 101
    assert [step for step, _ in node.network.steps] == ["add", "add", "remove", "remove"]
    node.network.removal_failure = None
    assert await node.call("GC", **attachments()) == (0, b"")
    assert node.is_empty()


async def begin_add(node: Node) -> asyncio.Task[cni.Outcome]:
    """Returns an ADD that has its address and waits in the network's hands."""
    node.network.gate.clear()
    task = asyncio.create_task(node.call("ADD"))
    await eventually(lambda: node.network.waiting > 0, "ADD waits in the network's hands")
    return task


async def test_a_runtime_that_hangs_up_gets_its_add_undone(node: Node) -> None:
    task = await begin_add(node)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.is_empty()


async def test_del_ends_an_add_under_way(node: Node) -> None:
    task = await begin_add(node)
    assert await node.call("DEL") == (0, b"")
    assert (await task).code == 11
    assert node.is_empty()


async def test_add_again_ends_the_add_under_way_and_serves(node: Node) -> None:
    task = await begin_add(node)
    again = asyncio.create_task(node.call("ADD"))
    assert (await task).code == 11
    node.network.gate.set()
    assert (await again).exit_code == 0
    assert len(node.pool.held) == 1


async def test_gc_leaves_an_add_under_way_alone(node: Node) -> None:
    task = await begin_add(node)
    assert await node.call("GC", **attachments()) == (0, b"")
    node.network.gate.set()
    assert (await task).exit_code == 0


async def test_many_pods_at_once_get_different_addresses(node: Node) -> None:
    outcomes = await asyncio.gather(*(node.call("ADD", f"c{number}") for number in range(50)))
    assert len({outcome.json["ips"][0]["address"] for outcome in outcomes}) == 50
    await asyncio.gather(*(node.call("DEL", f"c{number}") for number in range(50)))
    assert node.is_empty()


async def test_garbage_is_answered_in_the_runtimes_language(node: Node) -> None:
    reply = await node.plugin.handle(Request({}, b"\xff"), None)
    assert cni.Outcome(*reply).code == 4
    assert isinstance(reply, Reply)
