"""What has to change, as values: ours to the letter, others' never."""

from dataclasses import replace

import pytest

from eni_crds.nodeippool import Family
from eni_node_agent.network.desired import Address, Firewall, HostState, Item, LinkSetting, Route, Rule, Sysctl
from eni_node_agent.network.drift import AddressFacts, Change, Link, Observed, Verb, changes

ENI = "eni-1"
LINK = LinkSetting("eth1", 9001)
ADDRESS = Address("eth1", "10.0.1.20/24")
ROUTE = Route(2, "0.0.0.0/0", "eth1", "10.0.1.1")
RULE = Rule(1536, 2, "10.0.1.48/28")
SYSCTL = Sysctl("net/ipv4/ip_forward", "1")
FIREWALL = Firewall(None, node_port=True, primary_ifname="eth0", veth_prefix="eni", mark=0x80)
ITEMS: tuple[Item, ...] = (FIREWALL, RULE, ROUTE, ADDRESS, LINK, SYSCTL)
WANTED = HostState(dict.fromkeys(ITEMS, ENI), frozenset({"eth1"}), frozenset({ENI}))
OURS = AddressFacts(is_ours=True, has_connected_route=False, is_global=True)
FOREIGN = AddressFacts(is_ours=False, has_connected_route=True, is_global=True)
AS_WANTED = Observed(
    links={"eth1": Link(2, "eth1", "02:00:00:00:0a:01", 9001, is_up=True, kind="")},
    addresses={ADDRESS: OURS},
    routes=frozenset({ROUTE}),
    rules={RULE: True},
    sysctls={SYSCTL.name: "1"},
    firewalls={Family.IPV4: FIREWALL},
)
EMPTY = Observed({}, {}, frozenset(), {}, {}, {})


def test_nothing_changes_when_all_is_as_wanted() -> None:
    assert changes(WANTED, AS_WANTED) == ()


def test_rules_come_after_the_routes_they_lead_to_and_routes_after_their_link() -> None:
    order = [change.item for change in changes(WANTED, EMPTY)]
    assert order == [LINK, ADDRESS, SYSCTL, ROUTE, RULE, FIREWALL]


def test_each_change_names_the_eni_that_waits_for_it() -> None:
    assert {change.eni for change in changes(WANTED, EMPTY)} == {ENI}


def test_link_that_is_down_or_has_another_mtu_is_changed() -> None:
    for link in (replace(AS_WANTED.links["eth1"], is_up=False), replace(AS_WANTED.links["eth1"], mtu=1500)):
        observed = replace(AS_WANTED, links={"eth1": link})
        assert changes(WANTED, observed) == (Change(Verb.ENSURE, LINK, ENI),)


def test_rule_of_others_is_kept_and_ours_is_removed() -> None:
    others, ours = Rule(1536, 7, "10.0.1.9/32"), Rule(1536, 3, "10.0.1.8/32")
    observed = replace(AS_WANTED, rules={RULE: True, others: False, ours: True})
    assert changes(WANTED, observed) == (Change(Verb.REMOVE, ours, ""),)


def test_same_rule_by_somebody_else_is_as_good() -> None:
    assert changes(WANTED, replace(AS_WANTED, rules={RULE: False})) == ()


def test_route_of_ours_that_is_not_wanted_is_removed() -> None:
    stale = Route(3, "0.0.0.0/0", "eth2", "10.0.1.1")
    observed = replace(AS_WANTED, routes=frozenset({ROUTE, stale}))
    assert changes(WANTED, observed) == (Change(Verb.REMOVE, stale, ""),)


def test_route_to_a_pod_is_kept_though_no_pod_is_known() -> None:
    observed = replace(AS_WANTED, routes=frozenset({ROUTE, Route(512, "10.0.1.21/32", "eni00000015")}))
    assert changes(WANTED, observed) == ()


def test_address_with_a_connected_route_is_removed_first_and_added_again() -> None:
    observed = replace(AS_WANTED, addresses={ADDRESS: FOREIGN})
    assert changes(WANTED, observed) == (Change(Verb.REMOVE, ADDRESS, ENI), Change(Verb.ENSURE, ADDRESS, ENI))


def test_other_address_goes_from_a_secondary_eni_and_stays_elsewhere() -> None:
    on_eni, elsewhere = Address("eth1", "10.0.1.77/24"), Address("docker0", "172.17.0.1/16")
    observed = replace(AS_WANTED, addresses={ADDRESS: OURS, on_eni: FOREIGN, elsewhere: FOREIGN})
    assert changes(WANTED, observed) == (Change(Verb.REMOVE, on_eni, ""),)


def test_link_local_address_on_an_eni_stays() -> None:
    link_local = {Address("eth1", "169.254.3.4/16"): replace(FOREIGN, is_global=False)}
    assert changes(WANTED, replace(AS_WANTED, addresses={ADDRESS: OURS, **link_local})) == ()


def test_address_of_ours_on_a_link_that_left_is_removed() -> None:
    stale = Address("eth2", "10.0.1.30/24")
    observed = replace(AS_WANTED, addresses={ADDRESS: OURS, stale: OURS})
    assert changes(WANTED, observed) == (Change(Verb.REMOVE, stale, ""),)


@pytest.mark.parametrize("there", [{}, {Family.IPV4: None}], ids=["gone", "changed"])
def test_firewall_that_is_gone_or_changed_is_replaced(there: dict[Family, Firewall | None]) -> None:
    assert changes(WANTED, replace(AS_WANTED, firewalls=there)) == (Change(Verb.ENSURE, FIREWALL, ENI),)
