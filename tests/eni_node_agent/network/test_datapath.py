"""Packets of pods on a fabric that loses what AWS would lose: who is reached, and which address is seen."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from eni_lab.aws.engine.ports import Port
from eni_lab.fabric.firewall import DROP_REASONS
from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import NetworkSettings
from eni_testing.hosts import Host
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node, supply_of
from eni_testing.routed import RoutedLab

pytestmark = pytest.mark.netns

NODE = PRIMARY.primary_ip
ON_PRIMARY, ON_ADDRESS, ON_PREFIX, FAR = "10.0.1.11", "10.0.1.21", "10.0.1.50", "10.0.2.11"
PODS = (ON_PRIMARY, ON_ADDRESS, ON_PREFIX)
STRICT = ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1"]

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as asked:
    asked.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(asked.makefile().read().split()[-1])
"""
TELL = """
import socket
listener = socket.create_server(("0.0.0.0", 8080))
print("ready", flush=True)
while True:
    asked, peer = listener.accept()
    asked.recv(99)
    asked.sendall(peer[0].encode())
    asked.close()
"""


@dataclass
class World:
    """A node with pods on both its ENIs, and a neighbour with a pod on its only one; both check sources strictly."""

    node: Node
    neighbour: Node
    pods: dict[str, Host]


def converge(node: Node, settings: NetworkSettings, *ports: Port) -> None:
    converger = node.do(Converger, settings, Path("/proc/sys"))
    state = node.do(converger.converge, supply_of(*ports)).state
    node.do(converger.host.close)
    assert (state.problems, len(state.ready)) == ((), len(ports))


def seen_by(asker: Host, address: str, port: int) -> str:
    """Returns the source address a server sees, or nothing when it is not reached."""
    return asker.run([sys.executable, "-IS", "-c", ASK, address, str(port)], check=False).stdout.strip()


@pytest.fixture
def world(lab: RoutedLab, node_a: Node, node_b: Node) -> Iterator[World]:
    for node in (node_a, node_b):
        node.run(STRICT)
    lab.apply([PRIMARY, SECONDARY, NEIGHBOUR])
    converge(node_a, NetworkSettings(), PRIMARY, SECONDARY)
    converge(node_b, NetworkSettings(), NEIGHBOUR)
    with ExitStack() as stack:
        pods = {address: stack.enter_context(node_a.add_pod(address)) for address in PODS}
        pods[FAR] = stack.enter_context(node_b.add_pod(FAR))
        yield World(node_a, node_b, pods)


@pytest.fixture
def telling(world: World) -> Iterator[None]:
    """Every pod tells who calls on port 8080 what address it sees."""
    with ExitStack() as stack:
        for pod in world.pods.values():
            command = ["nsenter", f"--net={pod.path}", sys.executable, "-IS", "-c", TELL]
            server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield


@pytest.mark.usefixtures("telling")
def test_every_pod_reaches_every_pod_with_its_own_address(world: World) -> None:
    addresses = list(world.pods)
    seen = {(a, b): seen_by(world.pods[a], b, 8080) for a in addresses for b in addresses if a != b}
    assert seen == {(a, b): a for a, b in seen}


def test_pods_and_nodes_reach_each_other(world: World) -> None:
    for address in PODS:
        assert world.pods[address].reaches(NODE)
        assert world.pods[address].reaches(NEIGHBOUR.primary_ip)
        assert world.node.reaches(address)
        assert world.neighbour.reaches(address)


def test_the_world_sees_the_primary_address_of_the_node(world: World) -> None:
    seen = {address: seen_by(pod, OUTSIDE, 80) for address, pod in world.pods.items()}
    assert seen == {**dict.fromkeys(PODS, NODE), FAR: NEIGHBOUR.primary_ip}


def test_traffic_of_the_node_itself_is_as_before(world: World) -> None:
    assert seen_by(world.node, OUTSIDE, 80) == NODE
    assert world.node.reaches(NEIGHBOUR.primary_ip)
    assert world.node.reaches(NEIGHBOUR.primary_ip, source=SECONDARY.primary_ip)
    assert world.neighbour.reaches(SECONDARY.primary_ip)


def dnat(node: Node, match: str, target: str) -> None:
    """Does what kube-proxy does, at its priority and in a table of its own."""
    chain = f"type nat hook prerouting priority dstnat; {match} dnat to {target};"
    node.run(["nft", f"table ip kube-proxy {{\nchain services {{ {chain}\n}}\n}}"])


@pytest.mark.usefixtures("telling")
@pytest.mark.parametrize("target", PODS)
def test_node_port_answers_by_the_primary_whichever_eni_the_pod_is_on(
    world: World, lab: RoutedLab, target: str
) -> None:
    dnat(world.node, f"ip daddr {NODE} tcp dport 30080", f"{target}:8080")
    assert seen_by(world.neighbour, NODE, 30080) == NEIGHBOUR.primary_ip
    outside = ["nsenter", f"--net={lab.fabric._outside.path}", sys.executable, "-IS", "-c", ASK, NODE, "30080"]
    assert subprocess.run(outside, text=True, capture_output=True, check=True).stdout.strip() == OUTSIDE


@pytest.mark.usefixtures("telling")
def test_node_port_without_the_mark_is_lost(world: World) -> None:
    converge(world.node, NetworkSettings(node_port_support=False), PRIMARY, SECONDARY)
    dnat(world.node, f"ip daddr {NODE} tcp dport 30080", f"{ON_ADDRESS}:8080")
    assert seen_by(world.neighbour, NODE, 30080) == ""


@pytest.mark.usefixtures("telling")
def test_service_keeps_the_address_of_the_pod_inside_the_vpc(world: World) -> None:
    dnat(world.node, "ip daddr 172.20.0.10 tcp dport 80", f"{FAR}:8080")
    seen = {address: seen_by(world.pods[address], "172.20.0.10", 80) for address in PODS}
    assert seen == {address: address for address in PODS}


def test_service_with_an_endpoint_outside_the_vpc_leaves_by_the_primary(world: World) -> None:
    dnat(world.node, "ip daddr 172.20.0.10 tcp dport 80", f"{OUTSIDE}:80")
    assert {seen_by(world.pods[address], "172.20.0.10", 80) for address in PODS} == {NODE}


@pytest.mark.parametrize(
    "settings",
    [NetworkSettings(external_snat=True), NetworkSettings(exclude_snat_cidrs=("198.51.100.0/24",))],
    ids=["external", "excluded"],
)
def test_untranslated_pod_leaves_by_its_own_eni_and_address(
    world: World, lab: RoutedLab, settings: NetworkSettings
) -> None:
    converge(world.node, settings, PRIMARY, SECONDARY)
    assert not world.pods[ON_ADDRESS].reaches(OUTSIDE)
    # The router knew address and link for the ENI's; only the internet gateway, which knows primaries, dropped it.
    assert {(drop.source, drop.reason) for drop in lab.drops()} == {(ON_ADDRESS, DROP_REASONS["no_way_out"])}
