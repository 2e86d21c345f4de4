"""What a supply asks of the host's network, as values."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.nodeippool import EniRole, EniState, Family, Releasing, Supply, SupplyEni
from eni_crds.nodeippool import Snat as SupplySnat
from eni_node_agent.network.desired import (
    PODS,
    SHARED,
    Firewall,
    HostState,
    LinkSetting,
    NetworkSettings,
    Route,
    Rule,
    Snat,
    SnatPorts,
    desired,
    table_of,
)
from eni_testing.nodes import PRIMARY, SECONDARY, supply_eni, supply_of

IFNAMES = {PRIMARY.mac: "ens5", SECONDARY.mac: "ens6"}
BOTH = supply_of(PRIMARY, SECONDARY)


def state_of(supply: Supply = BOTH, settings: NetworkSettings | None = None) -> HostState:
    return desired(supply, settings or NetworkSettings(), IFNAMES)


def firewalls_of(settings: NetworkSettings, supply: Supply = BOTH) -> list[Firewall]:
    return [item for item in state_of(supply, settings).items if isinstance(item, Firewall)]


def firewall_of(settings: NetworkSettings, supply: Supply = BOTH) -> Firewall:
    (firewall,) = (item for item in firewalls_of(settings, supply) if item.family is Family.IPV4)
    return firewall


def snat_of(settings: NetworkSettings, supply: Supply = BOTH) -> Snat:
    snat = firewall_of(settings, supply).snat
    assert snat is not None
    return snat


def rules_of(state: HostState) -> set[Rule]:
    return {item for item in state.items if isinstance(item, Rule)}


@pytest.mark.parametrize(
    ("card", "device", "table"),
    [(0, 1, 2), (0, 14, 15), (1, 1, 10101), (2, 3, 10203)],
)
def test_table_has_the_number_vpc_cni_gives_it(card: int, device: int, table: int) -> None:
    eni = supply_eni(SECONDARY).replace(network_card=card, device_index=device)
    assert table_of(eni) == table


def test_primary_uses_the_main_table() -> None:
    assert table_of(supply_eni(PRIMARY)) == 254


def test_primary_brings_no_source_rule_no_route_and_no_address() -> None:
    state = state_of(supply_of(PRIMARY))
    assert rules_of(state) == {Rule(512, 512), Rule(1024, 254, mark=0x80)}
    assert not any(isinstance(item, Route) for item in state.items)


def test_neighbouring_addresses_share_a_rule() -> None:
    eni = supply_eni(SECONDARY).replace(addresses=["10.0.1.32", "10.0.1.33"], prefixes=[])
    assert Rule(1536, 2, "10.0.1.32/31") in rules_of(state_of(supply_of(PRIMARY, eni)))


@given(st.sets(st.integers(0, 255), max_size=40), st.sets(st.integers(0, 15), max_size=4))
def test_source_rules_cover_exactly_what_the_eni_has(hosts: set[int], prefixes: set[int]) -> None:
    update = {
        "addresses": [f"10.0.1.{host}" for host in hosts],
        "prefixes": [f"10.0.3.{16 * prefix}/28" for prefix in prefixes],
    }
    state = state_of(supply_of(PRIMARY, supply_eni(SECONDARY).replace(**update)))
    covered = [rule.source for rule in rules_of(state) if rule.priority == 1536]
    addresses = [str(address) for source in covered if source for address in IPv4Network(source)]
    owned = {*update["addresses"], *(str(each) for prefix in update["prefixes"] for each in IPv4Network(prefix))}
    assert sorted(addresses, key=IPv4Address) == sorted(owned, key=IPv4Address)


@pytest.mark.parametrize(
    "update",
    [
        {"state": EniState.DETACHING},
        {"role": EniRole.UNMANAGED},
        {"role": EniRole.TRUNK},
        {"role": EniRole.EFA_ONLY},
    ],
    ids=str,
)
def test_eni_that_does_not_serve_is_left_alone(update: dict[str, object]) -> None:
    eni = supply_eni(SECONDARY).replace(**update)
    assert state_of(supply_of(PRIMARY, eni)) == state_of(supply_of(PRIMARY))


@pytest.mark.parametrize(
    "update",
    [
        {"state": EniState.ATTACHING},
        {"state": EniState.RELEASING},
        {"releasing": [Releasing(cidr="10.0.1.48/28", token="t1"), Releasing(cidr="10.0.1.21/32", token="t2")]},
        {"excluded": "subnet-1 is tagged kubernetes.io/role/cni=0"},
        {"role": EniRole.EFA},
    ],
    ids=str,
)
def test_eni_that_comes_or_carries_pods_is_set_up(update: dict[str, object]) -> None:
    eni = supply_eni(SECONDARY).replace(**update)
    assert state_of(supply_of(PRIMARY, eni)) == state_of()


def test_eni_without_a_link_yet_contributes_nothing() -> None:
    state = desired(BOTH, NetworkSettings(), {PRIMARY.mac: "ens5"})
    assert state.enis == {PRIMARY.eni_id}
    assert set(state.items.values()) == {SHARED, PRIMARY.eni_id}


def test_mac_in_capitals_finds_its_link() -> None:
    eni = supply_eni(SECONDARY).replace(mac=SECONDARY.mac.upper())
    assert LinkSetting("ens6", 9001) in state_of(supply_of(PRIMARY, eni)).items


def test_no_eni_counts_while_the_primary_has_no_link() -> None:
    state = desired(BOTH, NetworkSettings(), {SECONDARY.mac: "ens6"})
    assert state.enis == frozenset()


def test_vpc_and_excluded_networks_see_the_address_of_the_pod() -> None:
    supply = supply_of(PRIMARY, SECONDARY, vpc_cidrs=("10.0.0.0/16", "100.64.0.0/16"))
    snat = snat_of(NetworkSettings(exclude_snat_cidrs=("192.168.7.9/16", "100.64.8.0/24")), supply)
    assert snat == Snat("10.0.1.10", SnatPorts.PRNG, ("10.0.0.0/16", "100.64.0.0/16", "192.168.0.0/16"))


def test_subnets_count_as_vpc_while_its_networks_are_unknown() -> None:
    assert snat_of(NetworkSettings(), supply_of(PRIMARY, SECONDARY, vpc_cidrs=())).exempt == ("10.0.1.0/24",)


def test_external_snat_leaves_node_ports_marked() -> None:
    settings = NetworkSettings(external_snat=True)
    assert firewall_of(settings).snat is None
    assert Rule(1024, 254, mark=0x80) in rules_of(state_of(BOTH, settings))


def test_mark_rule_goes_when_neither_translation_nor_node_ports_are_ours() -> None:
    settings = NetworkSettings(external_snat=True, node_port_support=False)
    assert {rule.priority for rule in rules_of(state_of(BOTH, settings))} == {512, 1536, 32765}


HOSTS_OWN = NetworkSettings(external_snat=True, exclude_snat_cidrs=("192.168.0.0/16",))


@pytest.mark.parametrize(
    ("snat", "external", "exempt"),
    [
        pytest.param(None, True, None, id="none: the settings'"),
        pytest.param(SupplySnat(), True, None, id="empty: the settings'"),
        pytest.param(SupplySnat(external=False), False, ("10.0.0.0/16", "192.168.0.0/16"), id="translation alone"),
        pytest.param(
            SupplySnat(external=False, exclude_cidrs=["172.16.3.4/12", "2001:db8::/32"]),
            False,
            ("10.0.0.0/16", "172.16.0.0/12"),
            id="both, and IPv6 is nothing to it",
        ),
        pytest.param(SupplySnat(external=False, exclude_cidrs=[]), False, ("10.0.0.0/16",), id="none excluded"),
        pytest.param(SupplySnat(exclude_cidrs=["172.16.0.0/12"]), True, None, id="destinations alone"),
    ],
)
def test_supply_overrides_the_settings_of_translation(
    *, snat: SupplySnat | None, external: bool, exempt: tuple[str, ...] | None
) -> None:
    found = firewall_of(HOSTS_OWN, BOTH.replace(snat=snat)).snat
    assert (found is None) == external
    assert (found.exempt if found else None) == exempt


def test_external_services_are_reached_by_the_primary_from_every_eni() -> None:
    settings = NetworkSettings(external_service_cidrs=("192.0.2.0/25", "192.0.2.128/25", "203.0.113.7/32"))
    found = {rule for rule in rules_of(state_of(BOTH, settings)) if rule.priority == 1535}
    assert found == {
        Rule(1535, 254, destination="192.0.2.0/24"),
        Rule(1535, 254, destination="203.0.113.7/32"),
    }


@pytest.mark.parametrize(
    ("families", "settings", "v4", "v6"),
    [
        ([Family.IPV4], NetworkSettings(), None, None),
        ([Family.IPV4], NetworkSettings(v6_egress=True), None, ("fd00::ac:0/118", None)),
        ([Family.IPV6], NetworkSettings(), ("169.254.172.0/22", "10.0.1.10"), None),
        ([Family.IPV6], NetworkSettings(v4_egress=False), None, None),
        ([Family.IPV4, Family.IPV6], NetworkSettings(v6_egress=True), None, None),
    ],
)
def test_node_lends_its_address_of_the_family_the_pool_has_not(
    families: list[Family],
    settings: NetworkSettings,
    v4: tuple[str, str] | None,
    v6: tuple[str, None] | None,
) -> None:
    supply = BOTH.replace(families=families)
    found = {each.family: each.egress for each in firewalls_of(settings, supply)}
    assert {family: (egress.cidr, egress.address) if egress else None for family, egress in found.items()} == {
        Family.IPV4: v4,
        Family.IPV6: v6,
    }


def test_secondary_eni_without_an_ipv6_prefix_needs_nothing_of_ipv6() -> None:
    both = BOTH.replace(families=[Family.IPV4, Family.IPV6])
    assert not any(isinstance(item, Route) and item.family is Family.IPV6 for item in state_of(both).items)


@pytest.mark.parametrize(("prefix", "link"), [("ens", "ens5"), ("ens6", "ens6"), ("e", "ens5")])
def test_prefix_of_pods_links_that_an_eni_has_too_is_refused(prefix: str, link: str) -> None:
    with pytest.raises(ValueError, match=f"AWS_VPC_K8S_CNI_VETHPREFIX is {prefix}, and so begins {link}"):
        state_of(BOTH, NetworkSettings(veth_prefix=prefix))


@given(st.permutations(BOTH.enis), st.sampled_from([[Family.IPV4], [Family.IPV6], [Family.IPV4, Family.IPV6]]))
def test_order_of_enis_is_nothing_to_the_state(enis: list[SupplyEni], families: list[Family]) -> None:
    one = BOTH.replace(families=families)
    other = one.replace(enis=enis)
    assert dict(state_of(one).items) == dict(state_of(other).items)


def test_routes_to_pods_are_asked_for_and_no_eni_waits_for_them() -> None:
    state = desired(BOTH, NetworkSettings(), IFNAMES, {"10.0.1.21": "eni1", "2001:db8::5": "eni1"})
    assert {item: owner for item, owner in state.items.items() if owner == PODS} == {
        Route(512, "10.0.1.21/32", "eni1"): PODS,
        Route(512, "2001:db8::5/128", "eni1"): PODS,
    }
