"""The pod's network in real namespaces: a node, its pods, and what a kernel holds of them."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_cni_shim.plugin.pod_network import REAP_SECONDS, NetnsError, PodNetwork, PodNetworkError
from eni_testing.cni import NODE_ADDRESS, POD_TABLE
from eni_testing.eventually import eventually
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from eni_testing.cni import Pod

pytestmark = pytest.mark.netns

MTU = 9001
KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def assignment(number: int, container_id: str = "") -> Assignment:
    key = SandboxKey("eni", container_id or f"c{number}", "eth0")
    link = PodLink("eth0", f"eni{number:011x}", "eni-1", (f"10.0.1.{number}",))
    return Assignment(Sandbox(key), (link,), POD_TABLE)


WEB = assignment(23)


@pytest.fixture
async def network(node: Host) -> AsyncIterator[PodNetwork]:
    assert node.pid
    pods = PodNetwork()
    yield pods
    await pods.aclose()


@pytest.fixture
def pod(make_pod: Callable[[], Pod]) -> Pod:
    return make_pod()


def state_of(node: Host) -> str:
    """Returns all that a pod could leave behind on a node; of links not the carrier, which comes a moment later."""
    links = [line.split()[0] for line in node.run(["ip", "-br", "link"]).stdout.splitlines()]
    commands = (["-4", "-br", "address"], ["-4", "route", "show", "table", "all"], ["rule"], ["-4", "neigh"])
    return "\n".join([*links, *(node.run(["ip", *command]).stdout for command in commands)])


def reaped(node: Host) -> bool:
    return "eni" not in node.run(["ip", "-br", "link"]).stdout


async def test_node_and_pod_reach_each_other(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    assert node.reaches(WEB.address)
    assert pod.reaches(NODE_ADDRESS)


async def test_pods_of_a_node_reach_each_other_with_the_largest_frame(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    one, other = make_pod(), make_pod()
    await asyncio.gather(network.add(one.netns, WEB, MTU), network.add(other.netns, assignment(24), MTU))
    payload = str(MTU - 28)  # IPv4 and ICMP headers
    one.run(["ping", "-n", "-c1", "-W2", "-M", "do", "-s", payload, "10.0.1.24"])


async def test_the_first_packet_arrives_and_no_arp_is_spoken(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    assert node.reaches(WEB.address)
    for host in (node, pod):
        entries = host.run(["ip", "-4", "neigh"]).stdout.splitlines()
        assert len(entries) == 1
        assert "PERMANENT" in entries[0]


def datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.skipif(KERNEL < (6, 8), reason="rtnl_getlink() synchronises the carrier since Linux 6.8")
async def test_what_a_pod_sends_at_once_arrives(network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    with datagram_socket() as server:
        server.bind((NODE_ADDRESS, 0))
        server.settimeout(2)
        for number in range(30, 40):
            pod = make_pod()
            with pod.call(datagram_socket) as client:
                await network.add(pod.netns, assignment(number), MTU)
                client.sendto(b"first", server.getsockname())
            assert server.recvfrom(16)[1][0] == f"10.0.1.{number}"


async def test_the_pod_has_what_the_data_path_needs_and_one_queue(network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, 1500)
    link = pod.run(["ip", "-d", "link", "show", "eth0"]).stdout
    assert "ea:58:0a:00:01:17" in link
    assert "mtu 1500" in link
    assert "numtxqueues 1 " in link
    assert "numrxqueues 1 " in link
    assert "inet 10.0.1.23/32 scope global eth0" in pod.run(["ip", "-4", "address"]).stdout
    routes = pod.run(["ip", "route"]).stdout
    assert "default via 169.254.1.1 dev eth0" in routes
    assert "169.254.1.1 dev eth0 proto static scope link" in routes


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "loose"])
async def test_pods_are_reached_whatever_reverse_path_filter_new_links_get(
    node: Host, network: PodNetwork, pod: Pod, *, strict: bool
) -> None:
    node.run(["sysctl", "-qw", f"net.ipv4.conf.default.rp_filter={1 if strict else 2}"])
    await network.add(pod.netns, WEB, MTU)
    assert pod.reaches(NODE_ADDRESS)


async def test_del_leaves_nothing(node: Host, network: PodNetwork, pod: Pod) -> None:
    before = state_of(node)
    await network.add(pod.netns, WEB, MTU)
    assert state_of(node) != before
    await network.remove(WEB)
    assert WEB.address not in node.run(["ip", "route", "show", "table", "all"]).stdout
    await eventually(lambda: state_of(node) == before, "the node is as it was")
    assert pod.run(["ip", "-br", "link"]).stdout.count("\n") == 1  # lo


async def test_del_succeeds_when_the_namespace_went_first(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    before = state_of(node)
    with Host() as gone:
        netns = os.open(gone.path, os.O_RDONLY | os.O_CLOEXEC)
        await network.add(netns, WEB, MTU)
        os.close(netns)
    await eventually(lambda: reaped(node), "the veth went with its namespace")
    await network.remove(WEB)
    await network.remove(WEB)
    assert state_of(node) == before
    again = make_pod()
    await network.add(again.netns, WEB, MTU)
    assert node.reaches(WEB.address)


async def test_many_removals_are_reaped_together(node: Host, network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    numbers = range(30, 40)
    pods = [make_pod() for _ in numbers]
    await asyncio.gather(*(network.add(p.netns, assignment(n), MTU) for p, n in zip(pods, numbers, strict=True)))
    start = time.monotonic()
    await asyncio.gather(*(network.remove(assignment(n)) for n in numbers))
    assert time.monotonic() - start < 10 * 0.02, "a removal does not wait for the kernel's 20 ms a veth"
    await eventually(lambda: reaped(node), "all veths are deleted")


async def test_a_sandbox_of_the_same_name_is_set_up_before_the_old_veth_is_reaped(
    node: Host, network: PodNetwork, pod: Pod
) -> None:
    for _ in range(3):
        await network.add(pod.netns, WEB, MTU)
        await network.remove(WEB)
    await network.add(pod.netns, WEB, MTU)
    await asyncio.sleep(3 * REAP_SECONDS)  # the reaper has come by and must have spared the new veth
    assert await network.check(pod.netns, WEB, MTU) == []
    assert node.reaches(WEB.address)


async def test_what_a_dead_agent_left_to_the_reaper_goes_with_the_next(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    one, other = make_pod(), make_pod()
    await network.add(one.netns, WEB, MTU)
    node.run(["ip", "link", "set", WEB.host_ifname, "down", "group", str(0x454E49)])
    await network.add(other.netns, assignment(24), MTU)
    await network.remove(assignment(24))
    await eventually(lambda: reaped(node), "both veths are deleted")


@pytest.mark.parametrize("undone", [f"ip link set {WEB.host_ifname} down", "ip neighbour flush all"])
async def test_what_a_killed_agent_has_half_made_is_made_anew(
    node: Host, network: PodNetwork, pod: Pod, undone: str
) -> None:
    await network.add(pod.netns, WEB, MTU)
    node.run(undone.split())
    pod.run(["ip", "route", "delete", "default"])
    await network.add(pod.netns, WEB, MTU)
    assert await network.check(pod.netns, WEB, MTU) == []
    assert node.reaches(WEB.address)


async def test_add_again_changes_nothing(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    before = state_of(node)
    await network.add(pod.netns, WEB, MTU)
    assert state_of(node) == before


async def test_an_address_that_moved_on_is_routed_to_its_new_pod(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    old, new = make_pod(), make_pod()
    link = PodLink("eth0", "eni-new", "eni-1", WEB.addresses)
    moved = Assignment(Sandbox(SandboxKey("eni", "new", "eth0")), (link,), POD_TABLE)
    await network.add(old.netns, WEB, MTU)
    await network.add(new.netns, moved, MTU)
    await network.remove(WEB)
    assert await network.check(new.netns, moved, MTU) == []
    assert "dev eni-new" in node.run(["ip", "route", "show", "table", str(POD_TABLE)]).stdout


async def test_an_interface_of_someone_else_is_an_error_and_stays(node: Host, network: PodNetwork, pod: Pod) -> None:
    pod.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
    before = state_of(node)
    with pytest.raises(PodNetworkError, match=r"eth0 for 10\.0\.1\.23: File exists"):
        await network.add(pod.netns, WEB, MTU)
    await network.remove(WEB)
    assert state_of(node) == before
    assert "eth0" in pod.run(["ip", "-br", "link"]).stdout


async def test_the_hosts_own_namespace_is_refused(node: Host, network: PodNetwork) -> None:
    netns = os.open(node.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(NetnsError, match="host's own"):
            await network.add(netns, WEB, MTU)
    finally:
        os.close(netns)


@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/ns/mnt", "/dev/null", "/"])
async def test_a_descriptor_of_no_network_namespace_is_refused(network: PodNetwork, path: str) -> None:
    netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(NetnsError, match="Invalid argument"):
            await network.add(netns, WEB, MTU)
    finally:
        os.close(netns)


DAMAGE = {
    "pod link down": ("pod", "ip link set eth0 down", "eth0 is down"),
    "pod link gone": ("pod", "ip link delete eth0", "eth0 does not exist"),
    "pod MAC": ("pod", "ip link set eth0 address 02:00:00:00:00:01", "eth0 has the MAC 02:00:00:00:00:01"),
    "pod MTU": ("pod", "ip link set eth0 mtu 1400", "eth0 has the MTU 1400, not 9001"),
    "pod address": ("pod", "ip address delete 10.0.1.23/32 dev eth0", "lacks the address 10.0.1.23/32"),
    "pod default route": ("pod", "ip route delete default", "lacks the default route"),
    "pod link route": ("pod", "ip route delete 169.254.1.1", "lacks the route 169.254.1.1/32"),
    "pod neighbour": ("pod", "ip neigh delete 169.254.1.1 dev eth0", "lacks the neighbour"),
    "host link down": ("node", f"ip link set {WEB.host_ifname} down", f"{WEB.host_ifname} is down"),
    "host MAC": ("node", f"ip link set {WEB.host_ifname} address 02:00:00:00:00:01", "has the MAC"),
    "host route": ("node", f"ip route flush table {POD_TABLE}", f"table {POD_TABLE} has no route"),
    "host route elsewhere": ("node", f"ip route replace 10.0.1.23 dev lo table {POD_TABLE}", "has no route"),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_check_names_what_differs_in_the_kernel(node: Host, network: PodNetwork, pod: Pod, name: str) -> None:
    where, command, expected = DAMAGE[name]
    await network.add(pod.netns, WEB, MTU)
    assert await network.check(pod.netns, WEB, MTU) == []
    (pod if where == "pod" else node).run(command.split())
    found = await network.check(pod.netns, WEB, MTU)
    assert any(expected in sentence for sentence in found), found


async def test_check_finds_a_veth_that_leads_elsewhere(network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    pod, other = make_pod(), make_pod()
    await network.add(pod.netns, WEB, MTU)
    other.run(["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8"])  # so that the indexes differ
    await network.add(other.netns, assignment(24), MTU)
    found = await network.check(pod.netns, assignment(24), MTU)
    assert f"{assignment(24).host_ifname} does not lead to eth0" in found
    assert "the pod lacks the address 10.0.1.24/32" in found


async def test_a_cancelled_add_is_over_when_its_caller_hears_of_it(node: Host, network: PodNetwork, pod: Pod) -> None:
    before = state_of(node)
    task = asyncio.create_task(network.add(pod.netns, WEB, MTU))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await network.remove(WEB)
    await eventually(lambda: state_of(node) == before, "nothing came after the removal")


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def test_the_threads_come_home_and_no_descriptor_stays_open(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    pods = [make_pod() for _ in range(4)]
    await network.add(pods[0].netns, assignment(30), MTU)
    await network.check(pods[0].netns, assignment(30), MTU)
    before = descriptors()
    for number, one in enumerate(pods[1:], start=31):
        await network.add(one.netns, assignment(number), MTU)
        assert await network.check(one.netns, assignment(number), MTU) == []
    assert descriptors() == before
