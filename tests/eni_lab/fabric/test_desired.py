"""What the router must hold, decided from ports and nodes alone."""

import dataclasses

import pytest

from eni_lab.fabric.desired import Source, desired, gateway, link_name, node_link_name, owner
from eni_lab.fabric.firewall import DROP_REASONS, Drop, elements, parse_drops
from eni_lab.fabric.namespaces import Namespace
from eni_testing.ports import eni_port

ENI = eni_port("a", addresses=("10.0.1.11",), prefixes=("10.0.1.32/28",))
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


@pytest.mark.parametrize(
    ("address", "found"),
    [("10.0.1.10", True), ("10.0.1.11", True), ("10.0.1.47", True), ("10.0.1.48", False), ("10.0.1.1", False)],
)
def test_owner_is_found_by_primary_secondary_and_prefix(address: str, *, found: bool) -> None:
    assert owner([ENI], address) == (ENI if found else None)


def test_elements_replace_what_was_there_and_may_be_none() -> None:
    assert elements(desired([], {})).splitlines() == [
        "flush set ip eni_fabric sources",
        "flush set ip eni_fabric primaries",
    ]
    text = elements(desired([ENI], {ENI.instance_id: NODE}))
    assert '"v0000000a000" . 02:00:00:00:0a:00 . 10.0.1.10,' in text
    assert '"v0000000a000" . 02:00:00:00:0a:00 . 10.0.1.32/28 }' in text
    assert text.endswith('{ "v0000000a000" . 10.0.1.10 }')


def test_drops_are_read_from_the_counting_sets_only() -> None:
    element = '{"elem": {"val": {"concat": ["vabc", "10.0.1.99"]}, "counter": {"packets": 2, "bytes": 168}}}'
    listing = f"""{{"nftables": [{{"metainfo": {{}}}}, {{"set": {{"name": "sources", "elem": [1]}}}},
      {{"set": {{"name": "no_way_out"}}}}, {{"set": {{"name": "spoofed", "elem": [{element}]}}}}]}}"""
    assert parse_drops(listing) == [Drop("vabc", "10.0.1.99", DROP_REASONS["spoofed"], 2)]
