"""IPv6 on the host: tables, rules and settings as ``ip -6`` shows them, and packets of pods on a strict router."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_crds.nodeippool import Family
from eni_node_agent.network.converge import Convergence, Converger
from eni_node_agent.network.desired import NetworkSettings
from eni_testing.dual import (
    NODE_V4,
    NODE_V6,
    ON_PRIMARY_V6,
    ON_SECONDARY_V6,
    WORLD_V4,
    WORLD_V6,
    DualNode,
    asks,
    dual_supply,
)
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.nodes import PRIMARY, SECONDARY, Node

pytestmark = pytest.mark.netns

BOTH, ONLY_V4, ONLY_V6 = [Family.IPV4, Family.IPV6], [Family.IPV4], [Family.IPV6]
V4_EGRESS, V6_EGRESS = "169.254.172.5", "fd00::ac:5"
READY = frozenset({PRIMARY.eni_id, SECONDARY.eni_id})


@pytest.fixture
def converger(node: Node) -> Iterator[Converger]:
    made = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    yield made
    node.do(made.host.close)


@pytest.fixture
def dual() -> Iterator[DualNode]:
    with DualNode() as made:
        yield made


def converge(node: Node, families: list[Family], settings: NetworkSettings | None = None) -> Convergence:
    converger = node.do(Converger, settings or NetworkSettings(), Path("/proc/sys"))
    convergence = node.do(converger.converge, dual_supply(families))
    node.do(converger.host.close)
    assert convergence.state.problems == ()
    return convergence


def rules(node: Node) -> set[str]:
    """Returns the IPv6 rules but the kernel's own, as ``ip`` writes them."""
    lines = node.run(["ip", "-6", "rule"]).stdout.splitlines()
    said = {" ".join(line.split()).removesuffix(" proto 169") for line in lines}
    return {line for line in said if not line.startswith(("0:", "32766:"))}


def routes(node: Node, table: int) -> set[str]:
    listing = node.run(["ip", "-6", "route", "show", "table", str(table)], check=False).stdout
    return {line.split(" metric")[0] for line in listing.splitlines()}


def values(node: Node, *names: str) -> list[str]:
    return node.run(["sysctl", "-n", *(f"net.ipv6.conf.{name}" for name in names)]).stdout.split()


def test_secondary_eni_gets_table_and_rule_of_its_prefix(node: Node, converger: Converger) -> None:
    state = node.do(converger.converge, dual_supply(BOTH)).state
    assert not state.problems
    assert state.ready == READY
    assert rules(node) == {
        "512: from all lookup 512",
        "1024: from all fwmark 0x80/0x80 lookup main",
        "1536: from 2001:db8:0:1:b::/80 lookup 2",
    }
    assert routes(node, 2) == {"fe80:ec2::1 dev eth1 proto 169", "default via fe80:ec2::1 dev eth1 proto 169"}


def test_node_forwards_and_still_hears_the_router(node: Node, converger: Converger) -> None:
    node.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
    node.do(converger.converge, dual_supply(BOTH))
    names = ("all.disable_ipv6", "eth0.disable_ipv6", "eth1.disable_ipv6", "all.forwarding", "eth0.accept_ra")
    assert values(node, *names) == ["0", "0", "0", "1", "2"]


async def test_default_route_the_router_told_of_outlives_the_start_of_forwarding(dual: DualNode) -> None:
    def told() -> bool:
        return "proto ra" in dual.run(["ip", "-6", "route", "show", "default"]).stdout

    dual.run(["ip", "-6", "route", "delete", "default"])
    dual.advertise("eth0")
    await eventually(told, "the node has heard the router")
    converge(dual, BOTH)
    assert told()
    assert values(dual, "all.forwarding") == ["1"]


def test_second_round_changes_nothing(node: Node, converger: Converger) -> None:
    node.do(converger.converge, dual_supply(BOTH))
    convergence = node.do(converger.converge, dual_supply(BOTH))
    assert (convergence.changed, convergence.repairs) == (0, ())


def test_family_that_leaves_the_pool_leaves_no_rule_route_or_table(node: Node, converger: Converger) -> None:
    node.do(converger.converge, dual_supply(BOTH))
    node.do(converger.converge, dual_supply(ONLY_V4))
    assert (rules(node), routes(node, 2)) == (set(), set())
    assert "table ip6" not in node.run(["nft", "list", "tables"]).stdout


def test_pool_of_ipv4_leaves_ipv6_alone(node: Node, converger: Converger) -> None:
    node.do(converger.converge, dual_supply(ONLY_V4))
    assert rules(node) == set()
    assert values(node, "all.forwarding") == ["0"]


def test_pool_of_ipv6_translates_and_marks_no_ipv4_of_the_vpc(node: Node, converger: Converger) -> None:
    node.do(converger.converge, dual_supply(ONLY_V6))
    listing = node.run(["nft", "list", "table", "ip", "eni-agent"]).stdout
    assert [word for word in ("arriving", "leaving", "translating", "lending", "shielding") if word in listing] == [
        "lending",
        "shielding",
    ]


def test_mtu_too_small_for_ipv6_is_a_sentence(node: Node) -> None:
    converger = node.do(Converger, NetworkSettings(mtu=1279), Path("/proc/sys"))
    with pytest.raises(ValueError, match="AWS_VPC_ENI_MTU is 1279; the pool has IPv6, where 1280 to 9001"):
        node.do(converger.converge, dual_supply(BOTH))
    assert node.do(converger.converge, dual_supply(ONLY_V4)).state.ready == READY
    node.do(converger.host.close)


def test_pods_are_listed_with_their_addresses_of_both_families(dual: DualNode) -> None:
    dual.plug_pod("eni00000015", "10.0.1.50", ON_SECONDARY_V6)
    converger = dual.do(Converger, NetworkSettings(), Path("/proc/sys"))
    assert dual.do(converger.host.pod_routes) == {"10.0.1.50": "eni00000015", ON_SECONDARY_V6: "eni00000015"}
    dual.do(converger.host.close)


def test_every_pod_and_the_world_see_the_pods_own_address(dual: DualNode) -> None:
    converge(dual, BOTH)
    pods = {address: dual.plug_pod(f"eni{n}", address) for n, address in enumerate((ON_PRIMARY_V6, ON_SECONDARY_V6))}
    dual.tell(pods[ON_PRIMARY_V6])
    assert {address: asks(pod, WORLD_V6) for address, pod in pods.items()} == {address: address for address in pods}
    assert asks(pods[ON_SECONDARY_V6], ON_PRIMARY_V6) == ON_SECONDARY_V6
    assert asks(dual.router, ON_PRIMARY_V6) == WORLD_V6


def test_pod_of_both_families_uses_its_own_eni_with_each(dual: DualNode) -> None:
    converge(dual, BOTH)
    pod = dual.plug_pod("eni1", "10.0.1.50", ON_SECONDARY_V6)
    assert (asks(pod, WORLD_V6), asks(pod, WORLD_V4)) == (ON_SECONDARY_V6, NODE_V4)


@pytest.mark.parametrize("node_port", [True, False])
def test_node_port_of_ipv6_answers_by_the_primary_while_it_is_supported(*, dual: DualNode, node_port: bool) -> None:
    converge(dual, BOTH, NetworkSettings(node_port_support=node_port))
    dual.tell(dual.plug_pod("eni1", ON_SECONDARY_V6))
    chain = f"type nat hook prerouting priority dstnat; tcp dport 30080 dnat to [{ON_SECONDARY_V6}]:8080;"
    dual.run(["nft", f"table ip6 kube-proxy {{\nchain services {{ {chain}\n}}\n}}"])
    dual.router.run(["ip", "-6", "route", "replace", NODE_V6, "via", "fe80::2", "dev", "eth0", "src", WORLD_V6])
    assert asks(dual.router, NODE_V6, 30080) == (WORLD_V6 if node_port else "")


def world_and_neighbours(dual: DualNode, address: str) -> tuple[Host, Host]:
    """Returns a pod with the node-local address, which answers on its port, and one beside it."""
    pod, beside = dual.plug_pod("eni1", address), dual.plug_pod("eni2", address[:-1] + "6")
    dual.tell(pod)
    return pod, beside


@pytest.mark.parametrize(
    ("families", "settings", "address", "world", "seen"),
    [
        pytest.param(ONLY_V6, NetworkSettings(), V4_EGRESS, WORLD_V4, NODE_V4, id="IPv4 for IPv6 pods"),
        pytest.param(ONLY_V4, NetworkSettings(v6_egress=True), V6_EGRESS, WORLD_V6, NODE_V6, id="IPv6 for IPv4 pods"),
    ],
)
def test_node_lends_its_address_and_shields_the_pods_own(
    dual: DualNode, families: list[Family], settings: NetworkSettings, address: str, world: str, seen: str
) -> None:
    converge(dual, families, settings)
    pod, beside = world_and_neighbours(dual, address)
    assert asks(pod, world) == seen
    assert asks(beside, address) == ""
    assert asks(dual, address) != ""
    dual.router.run(["ip", "route", "add", address, "via", NODE_V6 if ":" in address else NODE_V4], check=False)
    assert asks(dual.router, address) == ""


@pytest.mark.parametrize(
    ("families", "settings", "address", "world"),
    [
        pytest.param(ONLY_V6, NetworkSettings(v4_egress=False), V4_EGRESS, WORLD_V4, id="switched off"),
        pytest.param(ONLY_V4, NetworkSettings(), V6_EGRESS, WORLD_V6, id="not switched on"),
        pytest.param(BOTH, NetworkSettings(v6_egress=True), V6_EGRESS, WORLD_V6, id="the pool has both"),
    ],
)
def test_nothing_is_lent_unasked(
    dual: DualNode, families: list[Family], settings: NetworkSettings, address: str, world: str
) -> None:
    converge(dual, families, settings)
    assert asks(dual.plug_pod("eni1", address), world) == ""
