"""Packets of pods on a fabric that loses what AWS would lose: who is reached, and which address is seen."""

import subprocess
import sys

import pytest

from eni_lab.fabric.firewall import DROP_REASONS
from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_node_agent.network.desired import NetworkSettings, SnatPorts
from eni_testing.datapath import (
    FAR,
    NODE,
    ON_ADDRESS,
    ON_PREFIX,
    PODS,
    World,
    converge,
    seen_by,
    seen_from,
)
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node
from eni_testing.routed import RoutedLab

pytestmark = pytest.mark.netns


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
    assert seen_from(lab.fabric._outside.path, NODE, 30080) == OUTSIDE


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


def test_external_service_is_reached_by_the_primary_from_a_pod_of_another_eni(world: World, lab: RoutedLab) -> None:
    cidrs = ("198.51.100.0/24",)
    converge(world.node, NetworkSettings(exclude_snat_cidrs=cidrs, external_service_cidrs=cidrs), PRIMARY, SECONDARY)
    assert not world.pods[ON_ADDRESS].reaches(OUTSIDE)  # with its own address, as a VPN behind the VPC would see it
    (drop,) = lab.drops()
    # The fabric refuses the address at the primary's link, where the test above has it come by the secondary's.
    assert (drop.source, drop.reason) == (ON_ADDRESS, DROP_REASONS["spoofed"])


def test_another_mark_does_what_the_usual_one_does(world: World) -> None:
    converge(world.node, NetworkSettings(connmark=0x100), PRIMARY, SECONDARY)
    assert {seen_by(world.pods[address], OUTSIDE, 80) for address in PODS} == {NODE}
    dnat(world.node, f"ip daddr {NODE} tcp dport 30080", f"{ON_PREFIX}:8080")
    assert [rule["fwmark"] for rule in world.node.ip("rule") if "fwmark" in rule] == ["0x100"]


def test_pods_are_told_by_the_prefix_of_their_links(world: World) -> None:
    converge(world.node, NetworkSettings(veth_prefix="pod"), PRIMARY, SECONDARY)
    assert seen_by(world.pods[ON_ADDRESS], OUTSIDE, 80) == ""
    world.node.run(["ip", "link", "set", "eni00000015", "name", "pod00000015"])
    assert seen_by(world.pods[ON_ADDRESS], OUTSIDE, 80) == NODE


SOURCE_PORT = 40000
CALL = f"""
import socket, sys
asked = socket.socket()
asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
asked.bind(("", {SOURCE_PORT}))
asked.settimeout(3)
asked.connect((sys.argv[1], int(sys.argv[2])))
print(asked.makefile().read())
"""
TELL_PORT = """
import socket
listener = socket.create_server(("0.0.0.0", 9001))
print("ready", flush=True)
while True:
    asked, peer = listener.accept()
    asked.sendall(str(peer[1]).encode())
    asked.close()
"""


@pytest.mark.parametrize(
    ("ports", "is_kept"), [(SnatPorts.NONE, True), (SnatPorts.HASHRANDOM, False), (SnatPorts.PRNG, False)]
)
def test_source_ports_are_kept_or_random_as_asked(
    *, world: World, lab: RoutedLab, ports: SnatPorts, is_kept: bool
) -> None:
    converge(world.node, NetworkSettings(snat_ports=ports), PRIMARY, SECONDARY)
    command = ["nsenter", f"--net={lab.fabric._outside.path}", sys.executable, "-IS", "-c", TELL_PORT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            call = [sys.executable, "-IS", "-c", CALL, OUTSIDE, "9001"]
            seen = {int(world.pods[address].run(call).stdout) for address in (ON_ADDRESS, ON_PREFIX)}
        finally:
            server.kill()
    # Both pods cannot keep one port towards one server: the second gets another one even when none is random.
    assert (SOURCE_PORT in seen) == is_kept
