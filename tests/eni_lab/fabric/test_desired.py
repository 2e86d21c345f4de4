"""What the router must hold, decided from ports and nodes alone."""

import dataclasses

import pytest

from eni_lab.fabric.desired import Source, desired, gateway, link_name, node_link_name, owner
from eni_lab.fabric.firewall import DROP_REASONS, Drop, elements, parse_drops
from eni_lab.fabric.namespaces import Namespace
from eni_testing.ports import eni_port

ENI = eni_port("a", addresses=("10.0.1.11",), prefixes=("10.0.1.32/28",))
DUAL = eni_port("a", ipv6_addresses=("2600:1f18::5",), ipv6_prefixes=("2600:1f18::a:0:0:0/80",))
NODE = Namespace("/proc/1/ns/net", 4026531840)


def test_link_names_fit_the_kernel_and_keep_the_enis_apart() -> None:
    assert link_name("eni-0123456789abcdef0") == "v6789abcdef0"
    assert len(link_name("eni-0123456789abcdef0")) < 16


@pytest.mark.parametrize(
    ("device_index", "network_card", "name"), [(0, 0, "eth0"), (3, 0, "eth3"), (1, 1, "eth1x1"), (2, 1, "eth1x2")]
)
def test_name_in_the_node_follows_card_and_device(device_index: int, network_card: int, name: str) -> None:
    assert node_link_name(device_index, network_card) == name


@pytest.mark.parametrize(
    ("subnet", "address"), [("10.0.1.0/24", "10.0.1.1"), ("10.0.1.128/25", "10.0.1.129"), ("10.0.16.0/20", "10.0.16.1")]
)
def test_gateway_is_the_second_address_of_its_subnet(subnet: str, address: str) -> None:
    assert gateway(subnet) == address


def test_eni_of_an_unregistered_instance_has_nothing() -> None:
    state = desired([ENI], {})
    assert (state.links, state.routes, state.sources, state.primaries) == ({}, {}, frozenset(), frozenset())


def test_every_owned_cidr_is_a_route_and_an_accepted_source() -> None:
    state = desired([ENI], {ENI.instance_id: NODE})
    cidrs = {"10.0.1.10/32", "10.0.1.11/32", "10.0.1.32/28"}
    assert state.routes == dict.fromkeys(cidrs, "v0000000a000")
    assert state.sources == {Source("v0000000a000", ENI.mac, cidr) for cidr in cidrs}
    assert state.primaries == {("v0000000a000", "10.0.1.10")}


def test_only_the_boot_eni_is_configured() -> None:
    second = dataclasses.replace(ENI, eni_id="eni-1123456789abcdef1", device_index=1, primary_ip="10.0.1.20")
    other_card = dataclasses.replace(ENI, eni_id="eni-2123456789abcdef2", network_card=1, primary_ip="10.0.1.30")
    links = desired([ENI, second, other_card], {ENI.instance_id: NODE}).links.values()
    assert [link.address for link in links] == ["10.0.1.10/24", None, None]


def test_ipv6_is_owned_like_ipv4_but_for_the_way_out() -> None:
    state = desired([DUAL], {DUAL.instance_id: NODE})
    cidrs = {"10.0.1.10/32", "2600:1f18::5/128", "2600:1f18::a:0:0:0/80"}
    assert state.routes == dict.fromkeys(cidrs, "v0000000a000")
    assert {source.cidr for source in state.sources} == cidrs
    assert {address for _, address in state.primaries} == {"10.0.1.10"}


def test_only_the_boot_eni_is_given_its_ipv6_address() -> None:
    second = dataclasses.replace(DUAL, eni_id="eni-1123456789abcdef1", device_index=1, primary_ip="10.0.1.20")
    links = desired([DUAL, second], {ENI.instance_id: NODE}).links.values()
    assert [link.ipv6_address for link in links] == ["2600:1f18::5/128", None]


def test_an_ipv6_address_that_comes_later_makes_no_other_link() -> None:
    before, after = (desired([eni], {ENI.instance_id: NODE}).links for eni in (ENI, DUAL))
    assert before == after


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.1.10", True),
        ("10.0.1.11", True),
        ("10.0.1.47", True),
        ("10.0.1.48", False),
        ("10.0.1.1", False),
        ("2600:1f18::5", False),
    ],
)
def test_owner_is_found_by_primary_secondary_and_prefix(address: str, *, found: bool) -> None:
    assert owner([ENI], address) == (ENI if found else None)


@pytest.mark.parametrize(
    ("address", "found"), [("2600:1f18::5", True), ("2600:1f18::a:0:0:77", True), ("2600:1f18::6", False)]
)
def test_owner_is_found_by_ipv6_address_and_prefix(address: str, *, found: bool) -> None:
    assert owner([DUAL], address) == (DUAL if found else None)


def test_elements_replace_what_was_there_and_may_be_none() -> None:
    assert elements(desired([], {})).splitlines() == [
        "flush set ip eni_fabric sources",
        "flush set ip6 eni_fabric sources",
        "flush set ip eni_fabric primaries",
    ]
    assert elements(desired([DUAL], {DUAL.instance_id: NODE})).splitlines()[3] == (
        'add element ip6 eni_fabric sources { "v0000000a000" . 02:00:00:00:0a:00 . 2600:1f18::5, '
        '"v0000000a000" . 02:00:00:00:0a:00 . 2600:1f18::a:0:0:0/80 }'
    )
    text = elements(desired([ENI], {ENI.instance_id: NODE}))
    assert '"v0000000a000" . 02:00:00:00:0a:00 . 10.0.1.10,' in text
    assert '"v0000000a000" . 02:00:00:00:0a:00 . 10.0.1.32/28 }' in text
    assert text.endswith('{ "v0000000a000" . 10.0.1.10 }')


def test_drops_are_read_from_the_counting_sets_only() -> None:
    element = '{"elem": {"val": {"concat": ["vabc", "10.0.1.99"]}, "counter": {"packets": 2, "bytes": 168}}}'
    listing = f"""{{"nftables": [{{"metainfo": {{}}}}, {{"set": {{"name": "sources", "elem": [1]}}}},
      {{"set": {{"name": "no_way_out"}}}}, {{"set": {{"name": "spoofed", "elem": [{element}]}}}}]}}"""
    assert parse_drops(listing) == [Drop("vabc", "10.0.1.99", DROP_REASONS["spoofed"], 2)]
