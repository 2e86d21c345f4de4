"""What pods reach and who reaches them: from the first packet on, by every address, without a question."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim import spec
from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_testing.assignments import CARDS, MTU, OTHER_V4, OTHER_V6, V4, V6, WEB, all_of, assignment, link, one_link
from eni_testing.cni import NODE_ADDRESS, NODE_ADDRESS_IPV6, POD_TABLE, Pod
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eni_cni_shim.plugin.pod_network import PodNetwork

pytestmark = pytest.mark.netns

KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


async def test_node_and_pod_reach_each_other(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    assert node.reaches(WEB.address)
    assert pod.reaches(NODE_ADDRESS)


async def test_the_pod_and_its_node_reach_each_other_by_every_address(
    node: Host, network: PodNetwork, pod: Pod, kind: Assignment
) -> None:
    await network.add(pod.netns, kind, MTU)
    assert await network.check(pod.netns, kind, MTU) == []
    for address in all_of(kind):
        assert node.reaches(address), address
        assert pod.reaches(NODE_ADDRESS_IPV6 if ":" in address else NODE_ADDRESS, source=address), address


async def test_pods_of_a_node_reach_each_other_with_the_largest_frame(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    one, other = make_pod(), make_pod()
    await asyncio.gather(network.add(one.netns, WEB, MTU), network.add(other.netns, one_link(24), MTU))
    payload = str(MTU - 28)  # IPv4 and ICMP headers
    one.run(["ping", "-n", "-c1", "-W2", "-M", "do", "-s", payload, "10.0.1.24"])


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "loose"])
async def test_pods_are_reached_whatever_reverse_path_filter_new_links_get(
    node: Host, network: PodNetwork, pod: Pod, *, strict: bool
) -> None:
    node.run(["sysctl", "-qw", f"net.ipv4.conf.default.rp_filter={1 if strict else 2}"])
    await network.add(pod.netns, WEB, MTU)
    assert pod.reaches(NODE_ADDRESS)


async def test_each_card_answers_by_its_own_link(network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, CARDS, MTU)
    for number, each in enumerate(CARDS.links):
        for address, world in zip(each.addresses, ("198.51.100.2", "2001:db8:ffff::2"), strict=True):
            chosen = pod.run(["ip", "route", "get", world, "from", address]).stdout
            assert f"dev {each.ifname}" in chosen
            assert (f"via fe80::{number + 1} " if ":" in address else f"via 169.254.1.{number + 1} ") in chosen
    assert "dev eth0" in pod.run(["ip", "route", "get", "198.51.100.2"]).stdout


async def test_the_first_packet_arrives_and_no_arp_is_spoken(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    assert node.reaches(WEB.address)
    for host in (node, pod):
        entries = host.run(["ip", "-4", "neigh"]).stdout.splitlines()
        assert len(entries) == 1
        assert "PERMANENT" in entries[0]


async def test_no_neighbour_is_ever_asked_for(node: Host, network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    await network.add(pod.netns, kind, MTU)
    assert all(node.reaches(address) for address in all_of(kind))
    hops = {spec.gateway(n, ipv6=":" in a) for n, each in enumerate(kind.links) for a in each.all_addresses}
    for host, asked_for in ((node, set(all_of(kind))), (pod, hops)):
        lines = [line.split() for line in host.run(["ip", "neigh"]).stdout.splitlines()]
        assert {line[0] for line in lines if line[-1] == "PERMANENT"} == asked_for, lines
        assert not [line for line in lines if line[0] in asked_for and line[-1] != "PERMANENT"], lines


async def test_nothing_waits_for_duplicate_address_detection(network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    await network.add(pod.netns, kind, MTU)
    pods = [line for line in pod.run(["ip", "-6", "-o", "address"]).stdout.splitlines() if "scope global" in line]
    assert len(pods) == sum(":" in address for address in all_of(kind))
    assert not [line for line in pods if "tentative" in line]


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
                await network.add(pod.netns, one_link(number), MTU)
                client.sendto(b"first", server.getsockname())
            assert server.recvfrom(16)[1][0] == f"10.0.1.{number}"


def server(family: socket.AddressFamily, address: str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((address, 0))
    made.settimeout(2)
    return made


async def test_what_a_pod_sends_at_once_arrives_by_either_family(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    listening = [server(socket.AF_INET, NODE_ADDRESS), server(socket.AF_INET6, NODE_ADDRESS_IPV6)]
    for number in range(40, 50):
        pod, own = make_pod(), (f"10.0.1.{number}", f"2001:db8:0:1::{number:x}")
        clients = [pod.call(socket.socket, each.family, socket.SOCK_DGRAM) for each in listening]
        await network.add(pod.netns, assignment(link(0, *own, name=str(number)), name=str(number)), MTU)
        for client, each in zip(clients, listening, strict=True):
            client.sendto(b"first", each.getsockname())
        assert tuple(each.recvfrom(16)[1][0] for each in listening) == own
        for client in clients:
            client.close()
    for each in listening:
        each.close()


async def test_what_is_sent_to_a_pod_at_once_arrives_by_either_family(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    everywhere = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
    clients = [socket.socket(family, socket.SOCK_DGRAM) for family in everywhere]
    for number in range(40, 50):
        pod, own = make_pod(), (f"10.0.1.{number}", f"2001:db8:0:1::{number:x}")
        listening = [pod.call(server, family, address) for family, address in everywhere.items()]
        await network.add(pod.netns, assignment(link(0, *own, name=str(number)), name=str(number)), MTU)
        for client, each, address in zip(clients, listening, own, strict=True):
            client.sendto(b"first", (address, each.getsockname()[1]))
        assert [each.recv(16) for each in listening] == [b"first", b"first"]
        for each in listening:
            each.close()
    for each in clients:
        each.close()


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


@pytest.fixture
def neighbour(node: Host) -> Iterator[Host]:
    """Another host on the node's wire, with a cache of neighbours of its own."""
    with Host() as other:
        node.run(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", other.path])
        for host, end, last in ((node, "wire0", 1), (other, "wire1", 2)):
            host.run(["ip", "link", "set", end, "up"])
            host.run(["ip", "address", "add", f"192.0.2.{last}/24", "dev", end])
            host.run(["ip", "address", "add", f"2001:db8:2::{last}/64", "dev", end, "nodad"])
        for target, hop in (("10.0.0.0/8", "192.0.2.1"), ("2001:db8::/48", "2001:db8:2::1")):
            other.run(["ip", "route", "add", target, "via", hop])
        yield other


@pytest.mark.parametrize("address", [V4, V6])
async def test_an_address_that_moves_to_another_pod_is_reached_at_once(
    node: Host, neighbour: Host, network: PodNetwork, make_pod: Callable[[], Pod], address: str
) -> None:
    """From the node, from a host behind it and from a pod beside it, each of which had spoken to the old pod."""
    beside = make_pod()
    await network.add(beside.netns, assignment(link(0, OTHER_V4, OTHER_V6, name="beside"), name="beside"), MTU)
    for turn in range(4):
        pod, given = make_pod(), assignment(link(0, address, name=f"turn{turn}"), name=f"turn{turn}")
        await network.add(pod.netns, given, MTU)
        token = f"turn {turn}".encode()
        with pod.call(server, socket.AF_INET6 if ":" in address else socket.AF_INET, address) as listening:
            target = (address, listening.getsockname()[1])
            for asking in (node, neighbour, beside):
                with asking.call(socket.socket, listening.family, socket.SOCK_DGRAM) as client:
                    client.sendto(token, target)
                assert listening.recv(16) == token
        await network.remove(given)
