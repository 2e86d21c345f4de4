"""Our table as text: nftables takes every combination of settings, and what is not asked for is not there."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from eni_crds.nodeippool import Family
from eni_node_agent.network import ruleset
from eni_node_agent.network.desired import EGRESS_CIDRS, Egress, Firewall, Snat, SnatPorts
from eni_node_agent.network.firewall import FirewallTables
from eni_node_agent.network.libnftables import NftablesError
from eni_testing.nodes import Node

EXEMPT: tuple[tuple[str, ...], ...] = ((), ("10.0.0.0/16",), ("0.0.0.0/0",), ("10.0.0.0/16", "192.168.1.1/32"))
SNATS = [None, *(Snat("10.0.1.10", ports, exempt) for ports, exempt in product(SnatPorts, EXEMPT))]
COMBINATIONS = [
    Firewall(snat, node_port=node_port, primary_ifname="eth0", veth_prefix="eni", mark=mark)
    for snat, node_port, mark in product(SNATS, (True, False), (0x80, 0xFFFFFFFF))
]
COMBINATIONS += [
    Firewall(None, node_port, "eth0", "eni", 0x80, family, egress)
    for family, node_port in product(Family, (True, False))
    for egress in (None, *(Egress(EGRESS_CIDRS[family], None, ports) for ports in SnatPorts))
]
USUAL = Firewall(
    snat=Snat("10.0.1.10", SnatPorts.PRNG, ("10.0.0.0/16",)),
    node_port=True,
    primary_ifname="eth0",
    veth_prefix="eni",
    mark=0x80,
)


@pytest.fixture
def table(node: Node) -> Iterator[FirewallTables]:
    made = node.do(FirewallTables)
    yield made
    node.do(made.close)


@pytest.mark.netns
def test_nftables_takes_every_combination_and_shows_it_unchanged(node: Node, table: FirewallTables) -> None:
    for firewall in COMBINATIONS:
        node.do(table.replace, [firewall])
        assert node.do(table.current).get(firewall.family) == (None if firewall.is_empty else firewall)


@pytest.mark.netns
def test_change_by_somebody_else_is_seen(node: Node, table: FirewallTables) -> None:
    node.do(table.replace, [USUAL])
    node.run(["nft", "flush", "chain", "ip", "eni-agent", "translating"])
    assert node.do(table.current) == {Family.IPV4: None}


@pytest.mark.netns
@pytest.mark.parametrize(
    "damage",
    [
        "add chain ip eni-agent arriving { type nat hook prerouting priority 5; }",
        "add set ip eni-agent exempt-1 { type inet_service; }",
        "add set ip eni-agent exempt-2 { type inet_service; }",
        "add chain ip eni-agent stranger",
        "add chain ip eni-agent lending { type nat hook postrouting priority 7; }",
    ],
)
def test_what_others_put_under_our_name_is_no_obstacle(node: Node, table: FirewallTables, damage: str) -> None:
    node.run(["nft", "add table ip eni-agent"])
    node.run(["nft", damage])
    for firewall in (USUAL, replace(USUAL, node_port=False), USUAL):
        node.do(table.replace, [firewall])
        assert node.do(table.current) == {Family.IPV4: firewall}
    assert "10.0.0.0/16" in node.run(["nft", "list", "table", "ip", "eni-agent"]).stdout


@pytest.mark.netns
def test_update_keeps_the_table_and_its_chains(node: Node, table: FirewallTables) -> None:
    def handles() -> list[str]:
        listing = node.run(["nft", "-a", "list", "table", "ip", "eni-agent"]).stdout
        return [line.strip() for line in listing.splitlines() if line.strip().startswith(("table", "chain"))]

    node.do(table.replace, [USUAL])
    before = handles()
    node.do(table.replace, [replace(USUAL, snat=Snat("10.0.1.10", SnatPorts.NONE, ("192.168.0.0/16",)))])
    assert handles() == before
    assert len(before) == 4


@pytest.mark.netns
def test_refused_table_leaves_the_old_one_in_place(node: Node, table: FirewallTables) -> None:
    node.do(table.replace, [USUAL])
    before = node.run(["nft", "list", "ruleset"]).stdout
    with pytest.raises(NftablesError, match="syntax error"):
        node.do(table.replace, [replace(USUAL, veth_prefix='"')])
    assert node.run(["nft", "list", "ruleset"]).stdout == before


@pytest.mark.parametrize(
    ("ports", "flag"), [(SnatPorts.PRNG, " fully-random"), (SnatPorts.HASHRANDOM, " random"), (SnatPorts.NONE, "\n")]
)
def test_source_ports_are_chosen_as_asked(ports: SnatPorts, flag: str) -> None:
    text = ruleset.replacement(replace(USUAL, snat=Snat("10.0.1.10", ports, ())))
    assert f"snat to 10.0.1.10{flag}" in text


def test_without_translation_nothing_is_marked_for_the_primary() -> None:
    text = ruleset.replacement(replace(USUAL, snat=None))
    assert "snat" not in text
    assert "ct state new" not in text


def test_without_node_ports_arrivals_are_not_marked() -> None:
    text = ruleset.replacement(replace(USUAL, node_port=False))
    assert "arriving" not in text


def test_with_neither_there_is_no_table() -> None:
    assert ruleset.replacement(replace(USUAL, snat=None, node_port=False)) == ruleset.removal(Family.IPV4)


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (Family.IPV4, "10.0.1.10", "ip saddr 169.254.172.0/22 ip daddr != 224.0.0.0/4 snat to 10.0.1.10 fully-random"),
        (Family.IPV6, None, "ip6 saddr fd00::ac:0/118 ip6 daddr != ff00::/8 masquerade fully-random"),
    ],
)
def test_multicast_of_node_local_addresses_is_not_translated(
    family: Family, address: str | None, expected: str
) -> None:
    egress = Egress(EGRESS_CIDRS[family], address, SnatPorts.PRNG)
    text = ruleset.replacement(replace(USUAL, snat=None, node_port=False, family=family, egress=egress))
    assert expected in text
    assert "arriving" not in text
