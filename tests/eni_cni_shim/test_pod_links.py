"""Pods with IPv6, both families, several links and egress, in real namespaces: what they have and what they reach."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from eni_cni_shim import spec
from eni_cni_shim.plugin import netlink, pod_links, sysctls
from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_cni_shim.plugin.pod_network import PodNetwork, PodNetworkError
from eni_testing.cni import NODE_ADDRESS, NODE_ADDRESS_IPV6, POD_TABLE
from eni_testing.eventually import eventually
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from eni_testing.cni import Pod

pytestmark = pytest.mark.netns

MTU = 9001
V4, V6 = "10.0.1.23", "2001:db8:0:1::"
OTHER_V4, OTHER_V6 = "10.0.1.24", "2001:db8:0:1::1"


def link(number: int, *addresses: str, egress: str = "", name: str = "web") -> PodLink:
    ifname = f"mNicIf{number}" if number else "eth0"
    return PodLink(ifname, f"eni{name}{number}", f"eni-{number}", addresses, egress)


def assignment(*links: PodLink, name: str = "web") -> Assignment:
    return Assignment(Sandbox(SandboxKey("eni", name, "eth0")), links, POD_TABLE)


IPV6_ALONE = assignment(link(0, V6))
DUAL = assignment(link(0, V4, V6))
CARDS = assignment(link(0, V4, V6), link(1, "10.0.9.5", "2001:db8:0:9::5"), link(2, "10.0.17.6", "2001:db8:0:17::6"))
V6_EGRESS = assignment(link(0, V4, egress="fd00::ac:2"))
V4_EGRESS = assignment(link(0, V6, egress="169.254.172.2"))
KINDS = {"ipv6": IPV6_ALONE, "dual": DUAL, "cards": CARDS, "v6 egress": V6_EGRESS, "v4 egress": V4_EGRESS}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Assignment:
    return KINDS[request.param]


@pytest.fixture
async def network(node: Host) -> AsyncIterator[PodNetwork]:
    assert node.pid
    pods = PodNetwork()
    yield pods
    await pods.aclose()


@pytest.fixture
def pod(make_pod: Callable[[], Pod]) -> Pod:
    return make_pod()


def all_of(given: Assignment) -> list[str]:
    return [address for each in given.links for address in each.all_addresses]


def state_of(host: Host) -> str:
    """Returns all that a pod could leave behind, of links not the carrier, which comes a moment later."""
    links = [line.split()[0] for line in host.run(["ip", "-br", "link"]).stdout.splitlines()]
    objects = [["route", "show", "table", "all"], ["rule"], ["neigh"], ["-br", "address"]]
    return "\n".join(links + [host.run(["ip", flag, *words]).stdout for flag in ("-4", "-6") for words in objects])


async def test_the_pod_and_its_node_reach_each_other_by_every_address(
    node: Host, network: PodNetwork, pod: Pod, kind: Assignment
) -> None:
    await network.add(pod.netns, kind, MTU)
    assert await network.check(pod.netns, kind, MTU) == []
    for address in all_of(kind):
        assert node.reaches(address), address
        assert pod.reaches(NODE_ADDRESS_IPV6 if ":" in address else NODE_ADDRESS, source=address), address


async def test_nothing_waits_for_duplicate_address_detection(network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    await network.add(pod.netns, kind, MTU)
    pods = [line for line in pod.run(["ip", "-6", "-o", "address"]).stdout.splitlines() if "scope global" in line]
    assert len(pods) == sum(":" in address for address in all_of(kind))
    assert not [line for line in pods if "tentative" in line]


async def test_no_neighbour_is_ever_asked_for(node: Host, network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    await network.add(pod.netns, kind, MTU)
    assert all(node.reaches(address) for address in all_of(kind))
    hops = {spec.gateway(n, ipv6=":" in a) for n, each in enumerate(kind.links) for a in each.all_addresses}
    for host, asked_for in ((node, set(all_of(kind))), (pod, hops)):
        lines = [line.split() for line in host.run(["ip", "neigh"]).stdout.splitlines()]
        assert {line[0] for line in lines if line[-1] == "PERMANENT"} == asked_for, lines
        assert not [line for line in lines if line[0] in asked_for and line[-1] != "PERMANENT"], lines


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


async def test_del_leaves_nothing_of_any_link(node: Host, network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    before = state_of(node)
    await network.add(pod.netns, kind, MTU)
    await network.remove(kind)
    left = "\n".join(node.run(["ip", flag, "route", "show", "table", "all"]).stdout for flag in ("-4", "-6"))
    assert not [address for address in all_of(kind) if f"{address} dev" in left], "traffic ends at once"
    await eventually(lambda: state_of(node) == before, "the node is as it was")
    await network.remove(kind)


async def test_del_succeeds_when_the_namespace_went_first(node: Host, network: PodNetwork, kind: Assignment) -> None:
    before = state_of(node)
    with Host() as gone:
        netns = os.open(gone.path, os.O_RDONLY | os.O_CLOEXEC)
        await network.add(netns, kind, MTU)
        os.close(netns)
    await eventually(lambda: state_of(node) == before, "the veths went with their namespace")
    await network.remove(kind)


async def test_add_again_changes_nothing_and_puts_back_a_link_that_is_gone(
    node: Host, network: PodNetwork, pod: Pod
) -> None:
    await network.add(pod.netns, CARDS, MTU)
    before = state_of(node)
    await network.add(pod.netns, CARDS, MTU)
    assert state_of(node) == before
    node.run(["ip", "link", "delete", CARDS.links[1].host_ifname])
    assert "mNicIf1 does not exist" in await network.check(pod.netns, CARDS, MTU)
    await network.add(pod.netns, CARDS, MTU)
    assert await network.check(pod.netns, CARDS, MTU) == []
    assert all(node.reaches(address) for address in all_of(CARDS))


async def test_each_card_answers_by_its_own_link(network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, CARDS, MTU)
    for number, each in enumerate(CARDS.links):
        for address, world in zip(each.addresses, ("198.51.100.2", "2001:db8:ffff::2"), strict=True):
            chosen = pod.run(["ip", "route", "get", world, "from", address]).stdout
            assert f"dev {each.ifname}" in chosen
            assert (f"via fe80::{number + 1} " if ":" in address else f"via 169.254.1.{number + 1} ") in chosen
    assert "dev eth0" in pod.run(["ip", "route", "get", "198.51.100.2"]).stdout


@pytest.mark.parametrize("where", ["pod", "node", "both"])
async def test_ipv6_that_is_off_is_switched_on_for_the_link(
    node: Host, network: PodNetwork, pod: Pod, where: str
) -> None:
    for host in (pod, node) if where == "both" else (pod,) if where == "pod" else (node,):
        for name in ("default", "lo"):
            host.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"])
    node.run(["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"])
    node.run(["ip", "address", "replace", f"{NODE_ADDRESS_IPV6}/128", "dev", "lo", "nodad"])
    await network.add(pod.netns, DUAL, MTU)
    assert node.reaches(V6)
    assert pod.reaches("::1")


async def test_without_an_ipv6_address_ipv6_stays_off(node: Host, network: PodNetwork, pod: Pod) -> None:
    assert node.pid
    pod.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    await network.add(pod.netns, assignment(link(0, V4)), MTU)
    assert pod.run(["sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6"]).stdout == "1\n"


async def test_a_kernel_without_ipv6_is_told_of_in_one_sentence(node: Host, pod: Pod, tmp_path: Path) -> None:
    assert node.pid
    network = PodNetwork(tmp_path)
    with pytest.raises(PodNetworkError, match=f"the kernel has none: there is no {tmp_path}/net/ipv6"):
        await network.add(pod.netns, IPV6_ALONE, MTU)
    await network.remove(IPV6_ALONE)
    await network.add(pod.netns, assignment(link(0, V4, name="four")), MTU)
    await network.aclose()


@contextlib.contextmanager
def mounted(what: str, where: Path) -> Iterator[None]:
    where.mkdir()
    subprocess.run(["mount", "--bind", what, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


async def test_sysctls_are_written_where_the_folder_is_mounted(node: Host, pod: Pod, tmp_path: Path) -> None:
    """As in the agent's pod, whose own /proc/sys is read-only; the mount shows whichever namespace a thread is in."""
    for host in (node, pod):
        host.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    with mounted("/proc/sys/net", tmp_path / "net"):
        network = PodNetwork(tmp_path)
        await network.add(pod.netns, IPV6_ALONE, MTU)
        await network.aclose()
    assert pod.run(["sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6"]).stdout == "0\n"


async def test_the_node_takes_no_router_advertisement_from_a_pod(node: Host, network: PodNetwork, pod: Pod) -> None:
    """Also where no pod has IPv6: a node that does not forward it would believe its pods."""
    node.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"])
    only_ipv4 = assignment(link(0, V4))
    await network.add(pod.netns, only_ipv4, MTU)
    veth = only_ipv4.host_ifname
    await eventually(
        lambda: "fe80" in node.run(["ip", "-6", "address", "show", "dev", veth, "-tentative"]).stdout,
        "the host's end listens to IPv6",
    )
    before = node.run(["ip", "-6", "route"]).stdout
    pod.call(advertise, "eth0")
    assert node.run(["ip", "-6", "route"]).stdout == before
    node.run(["sysctl", "-qw", f"net.ipv6.conf.{veth}.accept_ra=1"])
    pod.call(advertise, "eth0")  # so that the above is certain to have meant something
    await eventually(lambda: "proto ra" in node.run(["ip", "-6", "route"]).stdout, "else it would believe it")


def advertise(ifname: str) -> None:
    """Says to be a router of 2001:db8:bad::/64, as RFC 4861, 4.2 has it."""
    option = bytes([3, 4, 64, 0xC0, *b"\xff" * 8, *bytes(4)]) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    message = bytes([134, 0, 0, 0, 64, 0, 0x07, 0x08, *bytes(8)]) + option
    deadline = time.monotonic() + 5
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        while time.monotonic() < deadline:
            try:
                sender.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(ifname)))
            except OSError as error:  # the pod's link-local address is not there yet
                if error.errno not in {errno.EADDRNOTAVAIL, errno.ENETUNREACH}:
                    raise
                time.sleep(0.05)
            else:
                return
    pytest.fail("the pod has had no link-local address for 5 seconds")


DAMAGE = {
    "IPv6 address": ("pod", f"ip address delete {V6}/128 dev eth0", f"lacks the address {V6}/128"),
    "IPv6 default route": ("pod", "ip -6 route delete default dev eth0", "lacks the default route via fe80::1"),
    "IPv6 neighbour": ("pod", "ip neigh delete fe80::1 dev eth0", "lacks the neighbour fe80::1"),
    "rule": ("pod", "ip rule delete from 10.0.9.5", "lacks the rule from 10.0.9.5/32"),
    "IPv6 rule": ("pod", "ip -6 rule delete from 2001:db8:0:9::5", "lacks the rule from 2001:db8:0:9::5/128"),
    "table of the card": ("pod", "ip route flush table 2", "lacks the default route via 169.254.1.3"),
    "second link": ("pod", "ip link set mNicIf1 down", "mNicIf1 is down"),
    "host route": ("node", f"ip -6 route flush table {POD_TABLE}", f"table {POD_TABLE} has no route {V6}/128"),
    "host neighbour": ("node", f"ip neigh delete {V6} dev eniweb0", f"the host lacks the neighbour {V6}"),
    "host end of a card": ("node", "ip link delete eniweb2", "eniweb2 does not exist"),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_check_names_what_differs(node: Host, network: PodNetwork, pod: Pod, name: str) -> None:
    where, command, expected = DAMAGE[name]
    await network.add(pod.netns, CARDS, MTU)
    assert await network.check(pod.netns, CARDS, MTU) == []
    (pod if where == "pod" else node).run(command.split())
    found = await network.check(pod.netns, CARDS, MTU)
    assert any(expected in sentence for sentence in found), found


def test_no_two_pods_have_a_mac_in_common() -> None:
    """An IPv6 pod's follows from an address too, and /80s of two ENIs begin alike."""
    blocks = [f"2001:db8:0:{block}:1::" for block in (1, 2)]
    addresses = [f"{block}{offset:x}" for block in blocks for offset in range(500)]
    addresses += [f"10.0.{third}.{fourth}" for third in (1, 2) for fourth in range(250)]
    made = [end for address in addresses for end in pod_links.ends(link(0, address))[:2]]
    assert len({end.mac for end in made}) == len(made)
    assert all(int(end.mac[:2], 16) & 0b11 == 0b10 for end in made), "locally administered, unicast"
    assert pod_links.ends(link(0, V6)) == pod_links.ends(link(0, V6))


class Refusing:
    """Lets a socket's n-th request of all fail as if the kernel had refused it, half done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.countdown = -1
        request = netlink.Socket.request

        def refuse(socket_: netlink.Socket, *messages: netlink.Message) -> list[netlink.Message]:
            self.countdown -= 1
            if self.countdown == 0:
                request(socket_, *messages[: len(messages) // 2 + 1])
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            return request(socket_, *messages)

        monkeypatch.setattr(netlink.Socket, "request", refuse)


async def test_whatever_step_the_kernel_refuses_the_removal_leaves_nothing(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod], monkeypatch: pytest.MonkeyPatch, kind: Assignment
) -> None:
    refusing = Refusing(monkeypatch)
    before = state_of(node)
    for step in itertools.count(1):
        pod = make_pod()
        untouched = beside_lo(pod)
        refusing.countdown = step
        try:
            await network.add(pod.netns, kind, MTU)
        except PodNetworkError:
            refusing.countdown = -1
        else:
            break
        await network.remove(kind)
        await eventually(lambda: state_of(node) == before, f"step {step} is undone")
        await eventually(functools.partial(is_like, pod, untouched), f"step {step} is undone in the pod")
    assert step >= len(kind.links) + 3, "each link's veth, the pod's end, the host's end, the carrier"


async def test_what_an_agent_left_that_died_at_any_step_is_completed_or_taken_away_by_the_next(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod], monkeypatch: pytest.MonkeyPatch, kind: Assignment
) -> None:
    refusing = Refusing(monkeypatch)
    before = state_of(node)
    for step in itertools.count(1):
        pods = make_pod(), make_pod()
        for pod, then in zip(pods, ("ADD", "DEL"), strict=True):
            refusing.countdown = step
            with contextlib.suppress(PodNetworkError):
                await network.add(pod.netns, kind, MTU)
            was_reached = refusing.countdown <= 0
            refusing.countdown = -1
            if then == "ADD":
                await network.add(pod.netns, kind, MTU)
                assert await network.check(pod.netns, kind, MTU) == []
                assert all(node.reaches(address) for address in all_of(kind))
            await network.remove(kind)
            await eventually(lambda: state_of(node) == before, f"nothing is left of step {step}")
        if not was_reached:
            break


def is_like(host: Host, state: str) -> bool:
    return beside_lo(host) == state


def beside_lo(host: Host) -> str:
    """Returns a pod's state without what comes and goes with IPv6 on its loopback."""
    return "\n".join(line for line in state_of(host).splitlines() if " lo " not in line and not line.startswith("lo"))


async def test_a_sysctl_that_cannot_be_written_is_told_of_and_undone(
    node: Host, network: PodNetwork, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])

    def refuse(path: str, _: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(sysctls, "_write", refuse)
    before = state_of(node)
    with pytest.raises(
        PodNetworkError, match=r"IPv6 is off for eth0 and cannot be switched on .*Read-only file system"
    ):
        await network.add(pod.netns, DUAL, MTU)
    await network.remove(DUAL)
    await eventually(lambda: state_of(node) == before, "the node is as it was")


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


async def test_many_links_are_removed_together(node: Host, network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    before = state_of(node)
    given: list[tuple[Any, Assignment]] = []
    for number in range(5):
        links = [
            link(card, f"10.0.{card}.{number}", f"2001:db8:0:{card}::{number:x}", name=str(number)) for card in range(4)
        ]
        given.append((make_pod(), assignment(*links, name=str(number))))
    await asyncio.gather(*(network.add(pod.netns, each, MTU) for pod, each in given))
    assert all(node.reaches(address) for _, each in given for address in all_of(each))
    await asyncio.gather(*(network.remove(each) for _, each in given))
    await eventually(lambda: state_of(node) == before, "the node is as it was")
