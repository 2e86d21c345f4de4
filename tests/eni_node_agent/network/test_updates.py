"""While a supply changes, no packet finds less than before: no wrong source, nothing lost, a hundred times over."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.nodeippool import Family, Snat, Supply
from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import HostState, NetworkSettings, Rule, desired
from eni_node_agent.network.drift import Observed, Verb, changes
from eni_testing.flows import Flow, answering
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, VPC, Node, supply_eni, supply_of
from eni_testing.routed import RoutedLab

UPDATES = 100
ON_ADDRESS, ON_PREFIX, FAR = "10.0.1.24", "10.0.1.50", "10.0.2.11"
NODE = PRIMARY.primary_ip
IFNAMES = {PRIMARY.mac: "eth0", SECONDARY.mac: "eth1"}


def supply_after(update: int) -> Supply:
    """Returns supplies that differ in all that may change while pods run, in periods of 2, 3, 4 and 5 updates."""
    grown = ["10.0.1.25", "10.0.1.26", "10.0.1.27"] if update % 2 else []
    prefixes = [*SECONDARY.prefixes, *(["10.0.1.32/28"] if update % 3 else [])]
    eni = supply_eni(SECONDARY).replace(addresses=[*SECONDARY.addresses, *grown], prefixes=prefixes)
    cidrs = (VPC, *(["100.64.0.0/16"] if update % 4 else []))
    snat = Snat(exclude_cidrs=["203.0.113.0/24"]) if update % 5 else None
    return supply_of(PRIMARY, eni, vpc_cidrs=cidrs).replace(snat=snat)


@pytest.fixture
def node(lab: RoutedLab, node_a: Node, node_b: Node) -> Node:
    """Node a on the fabric, and its neighbour ready."""
    lab.apply([PRIMARY, SECONDARY, NEIGHBOUR])
    with converging(node_b) as neighbour:
        node_b.do(neighbour.converge, supply_of(NEIGHBOUR))
    return node_a


@contextmanager
def converging(node: Node) -> Iterator[Converger]:
    """One life of an agent on the node."""
    made = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    yield made
    node.do(made.host.close)


@pytest.mark.netns
@pytest.mark.timeout(120)
def test_traffic_of_pods_notices_nothing_of_a_hundred_updates_and_ten_restarts(
    lab: RoutedLab, node: Node, node_b: Node
) -> None:
    with converging(node) as converger:
        node.do(converger.converge, supply_after(0))
    with ExitStack() as stack:
        pods = {address: stack.enter_context(node.add_pod(address)) for address in (ON_ADDRESS, ON_PREFIX)}
        far = stack.enter_context(node_b.add_pod(FAR))
        for path in (lab.fabric._outside.path, far.path):
            stack.enter_context(answering(path))
        flows = {
            (kind, address, peer): stack.enter_context(Flow(pods[address].path, kind, peer))
            for kind, address, peer in (
                ("udp", ON_PREFIX, OUTSIDE),
                ("tcp", ON_ADDRESS, OUTSIDE),
                ("udp", ON_ADDRESS, FAR),
                ("tcp", ON_PREFIX, FAR),
            )
        }
        for life in range(0, UPDATES, 10):
            with converging(node) as converger:
                for update in range(life + 1, life + 11):
                    convergence = node.do(converger.converge, supply_after(update))
                    assert (convergence.state.problems, convergence.repairs) == ((), ())
                    assert convergence.changed > 0
                    for flow in flows.values():
                        flow.wait_for(3)
    expected = {key: NODE if key[2] == OUTSIDE else key[1] for key in flows}
    assert {key: dict(flow.seen) for key, flow in flows.items()} == {
        key: {address: flows[key].exchanges} for key, address in expected.items()
    }
    assert lab.drops() == []


@pytest.mark.netns
def test_vpc_cidr_added_while_running_sees_the_pods_own_address(lab: RoutedLab, node: Node) -> None:
    with (
        node.add_pod(ON_ADDRESS) as pod,
        answering(lab.fabric._outside.path),
        converging(node) as converger,
    ):
        node.do(converger.converge, supply_after(0))
        with Flow(pod.path, "udp", OUTSIDE) as before:
            before.wait_for(1)
        assert set(before.seen) == {NODE}
        node.do(converger.converge, supply_of(PRIMARY, SECONDARY, vpc_cidrs=(VPC, "198.51.100.0/24")))
        assert not pod.reaches(OUTSIDE)
    assert {drop.source for drop in lab.drops()} == {ON_ADDRESS}  # with its own address, as inside a VPC


hosts = st.frozensets(st.integers(0, 31), min_size=1)


@given(hosts, hosts)
def test_no_step_between_two_supplies_takes_a_pod_its_rule(before: frozenset[int], after: frozenset[int]) -> None:
    old, new = state_with(before), state_with(after)
    rules = {item for item in old.items if isinstance(item, Rule)}
    there = Observed({}, {}, frozenset(), dict.fromkeys(rules, True), {}, {})  # ours
    for change in changes(new, there):
        if isinstance(change.item, Rule):
            (rules.add if change.verb is Verb.ENSURE else rules.remove)(change.item)
            assert all(table_for(host, rules) == 2 for host in before & after)
    assert rules == {item for item in new.items if isinstance(item, Rule)}


def state_with(hosts: frozenset[int]) -> HostState:
    eni = supply_eni(SECONDARY).replace(addresses=[f"10.0.1.{32 + host}" for host in hosts])
    return desired(supply_of(PRIMARY, eni.replace(prefixes=[])), NetworkSettings(), IFNAMES)


def table_for(host: int, rules: set[Rule]) -> int | None:
    """Returns the table the rules for sources lead the host's packets to."""
    address = IPv4Address(f"10.0.1.{32 + host}")
    found = (rule for rule in sorted(rules, key=lambda rule: rule.priority) if rule.family is Family.IPV4)
    return next((rule.table for rule in found if rule.source and address in IPv4Network(rule.source)), None)
