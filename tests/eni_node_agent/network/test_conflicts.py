"""Which rules of others take pods' packets from their way, as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.nodeippool import Family
from eni_node_agent.network.conflicts import conflicts
from eni_node_agent.network.desired import Address, NetworkSettings, Rule, desired
from eni_node_agent.network.drift import AddressFacts, Observed
from eni_testing.dual import dual_supply
from eni_testing.nodes import PRIMARY, SECONDARY

IFNAMES = {PRIMARY.mac: "eth0", SECONDARY.mac: "eth1"}
STATE = desired(dual_supply([Family.IPV4, Family.IPV6]), NetworkSettings(), IFNAMES)
V6 = Family.IPV6


def told(rules: dict[Rule, bool], *addresses: Address) -> tuple[str, ...]:
    facts = AddressFacts(is_ours=False, has_connected_route=True, is_global=True)
    return conflicts(STATE, Observed({}, dict.fromkeys(addresses, facts), frozenset(), rules, {}, {}))


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Rule(100, 9, "10.0.1.50/32"), id="from a pod of a secondary ENI"),
        pytest.param(Rule(1536, 9, "10.0.1.50/32"), id="beside ours, and older"),
        pytest.param(Rule(100, 9, "10.0.0.0/8"), id="from a network around a pod"),
        pytest.param(Rule(100, 254, "10.0.1.50/32"), id="from a pod of a secondary ENI into main"),
        pytest.param(Rule(5000, 9, "10.0.1.11/32"), id="from a pod of the primary ENI"),
        pytest.param(Rule(100, 254, destination="10.0.1.50/32"), id="to a pod"),
        pytest.param(Rule(900, 9, mark=0x80), id="our mark"),
        pytest.param(Rule(100, 9, "2001:db8:0:1:b::5/128", family=V6), id="from an IPv6 pod"),
        pytest.param(Rule(100, 9, destination="2001:db8:0:1:b::5/128", family=V6), id="to an IPv6 pod"),
    ],
)
def test_rule_that_comes_first_and_leads_elsewhere_is_told(rule: Rule) -> None:
    (sentence,) = told({rule: False})
    assert f"{rule.priority}: " in sentence
    assert f"lookup {rule.table}" in sentence
    assert "stays" in sentence


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Rule(32766, 254), id="the kernel's"),
        pytest.param(Rule(0, 255), id="the kernel's first"),
        pytest.param(Rule(1536, 2, "10.0.1.50/32"), id="VPC CNI's, into the same table"),
        pytest.param(Rule(512, 254, destination="10.0.1.50/32"), id="VPC CNI's to a pod, behind ours"),
        pytest.param(Rule(2000, 9, "10.0.1.50/32"), id="behind ours"),
        pytest.param(Rule(100, 9, "10.0.7.0/24"), id="from somebody else"),
        pytest.param(Rule(100, 255, "10.0.1.50/32"), id="into the local table"),
        pytest.param(Rule(10001, 10001, "10.0.1.11/32"), id="amazon-ec2-net-utils'"),
        pytest.param(Rule(9, 2004, mark=0x200), id="Cilium's mark"),
        pytest.param(Rule(100, 254, mark=0x80), id="our mark into our table"),
        pytest.param(Rule(100, 9, "2001:db8:9::/64", family=V6), id="from IPv6 elsewhere"),
    ],
)
def test_rule_that_takes_nothing_from_pods_is_not_told(rule: Rule) -> None:
    assert told({rule: False}) == ()


def test_ours_are_no_conflict_whatever_they_say() -> None:
    assert told({Rule(100, 9, "10.0.1.50/32"): True}) == ()


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        (Address("eth0", "10.0.1.11/24"), True),
        (Address("lo", "10.0.1.50/32"), True),
        (Address("eth0", "10.0.1.10/24"), False),
        (Address("eth1", "10.0.1.50/24"), False),
    ],
    ids=["a pod's on the primary", "a pod's on loopback", "the primary's own", "on a secondary, where it is removed"],
)
def test_address_of_pods_on_the_host_is_told(*, address: Address, is_told: bool) -> None:
    assert bool(told({}, address)) == is_told


@given(st.integers(0, 32765), st.integers(1, 20000), st.integers(0, 32))
def test_no_rule_is_told_twice_and_none_of_ours_ever(priority: int, table: int, length: int) -> None:
    rule = Rule(priority, table, f"{'10.0.1.50' if length == 32 else '0.0.0.0'}/{length if length in {0, 32} else 0}")
    found = told({rule: False, **{item: True for item in STATE.items if isinstance(item, Rule)}})
    assert len(set(found)) == len(found)
