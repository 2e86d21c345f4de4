"""Puts together what the families, the links and the firewall ask for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

from eni_crds.nodeippool import SERVING_ROLES, EniRole, EniState, Family, Supply, SupplyEni
from eni_node_agent.network.desired import ipv4, ipv6
from eni_node_agent.network.desired.firewall import firewalls, has_egress
from eni_node_agent.network.desired.items import PODS, SHARED, HostState, Item, LinkSetting, Route
from eni_node_agent.network.desired.numbers import POD_TABLE, SMALLEST_IPV6_MTU, table_of
from eni_node_agent.network.desired.settings import NetworkSettings

_SERVING: Final = frozenset({EniState.ATTACHING, EniState.ATTACHED, EniState.RELEASING})


_NO_PODS: Final[Mapping[str, str]] = MappingProxyType({})


def desired(
    supply: Supply, settings: NetworkSettings, ifnames: Mapping[str, str], pods: Mapping[str, str] = _NO_PODS
) -> HostState:
    """Returns the state wanted for a supply.

    Args:
        supply: ENIs that are detaching, or whose role serves no pods, contribute nothing and are left alone. One that
            is excluded or on its way out still serves the pods it has.
        settings: a person's choices; those about source translation stand where the supply makes none.
        ifnames: name of the link by MAC in lower case; an ENI whose link is not there yet contributes nothing.
        pods: name of the host's link, which is there and up, by address of a pod.

    Raises:
        ValueError: an address or a CIDR of the supply or the settings is none, or a setting does not go with it.
    """
    settings = _under(supply, settings)
    present = [(eni, ifnames[eni.mac.lower()]) for eni in supply.enis if _serves(eni) and eni.mac.lower() in ifnames]
    _refuse_what_cannot_be(supply, settings, (ifname for _, ifname in present))
    items: dict[Item, str] = {}
    for eni, ifname in present:
        items |= dict.fromkeys(_eni_items(supply, eni, ifname, settings), eni.id)
    primaries = [(eni, ifname) for eni, ifname in present if eni.role is EniRole.PRIMARY]
    for eni, ifname in primaries:
        items |= dict.fromkeys(firewalls(supply, eni, ifname, settings), SHARED)
    items |= dict.fromkeys(_shared_items(supply, settings, has_primary=bool(primaries)), SHARED)
    items |= dict.fromkeys(_pod_routes(pods), PODS)
    return HostState(
        items=items,
        secondary_ifnames=frozenset(ifname for eni, ifname in present if eni.role is not EniRole.PRIMARY),
        enis=frozenset(eni.id for eni, _ in present) if primaries else frozenset(),
        ways_out={cidr: table_of(eni) for eni, _ in present for cidr in (*ipv4.pods_of(eni), *ipv6.pods_of(eni))},
    )


def _pod_routes(pods: Mapping[str, str]) -> Iterator[Route]:
    for address, ifname in pods.items():
        yield Route(POD_TABLE, f"{address}/{128 if ':' in address else 32}", ifname)


def _serves(eni: SupplyEni) -> bool:
    return eni.role in SERVING_ROLES and eni.state in _SERVING


def _under(supply: Supply, settings: NetworkSettings) -> NetworkSettings:
    """Returns the settings as the supply overrides them; IPv6 destinations are nothing to IPv4's translation."""
    if supply.snat is None:
        return settings
    external, excluded = supply.snat.external, supply.snat.exclude_cidrs
    if external is not None:
        settings = replace(settings, external_snat=external)
    if excluded is not None:
        networks = (ip_network(cidr, strict=False) for cidr in excluded)
        settings = replace(settings, exclude_snat_cidrs=tuple(str(each) for each in networks if each.version == 4))
    return settings


def _refuse_what_cannot_be(supply: Supply, settings: NetworkSettings, ifnames: Iterable[str]) -> None:
    if settings.mtu < SMALLEST_IPV6_MTU and _needs_ipv6(supply, settings):
        raise ValueError(f"AWS_VPC_ENI_MTU is {settings.mtu}; the pool has IPv6, where 1280 to 9001 bytes are allowed")
    alike = [ifname for ifname in ifnames if ifname.startswith(settings.veth_prefix)]
    if alike:
        raise ValueError(
            f"AWS_VPC_K8S_CNI_VETHPREFIX is {settings.veth_prefix}, and so begins {alike[0]}, the link of an ENI, too;"
            " pods could not be told from it"
        )


def _needs_ipv6(supply: Supply, settings: NetworkSettings) -> bool:
    families = frozenset(supply.families)
    return Family.IPV6 in families or has_egress(Family.IPV6, families, settings)


def _eni_items(supply: Supply, eni: SupplyEni, ifname: str, settings: NetworkSettings) -> Iterator[Item]:
    yield LinkSetting(ifname, settings.mtu)
    if eni.role is EniRole.PRIMARY:
        yield from ipv4.primary(ifname)
        if _needs_ipv6(supply, settings):
            yield from ipv6.primary(ifname)
        return
    yield from ipv4.secondary(eni, ifname)
    if Family.IPV6 in supply.families:
        yield from ipv6.secondary(eni, ifname)


def _shared_items(supply: Supply, settings: NetworkSettings, *, has_primary: bool) -> Iterator[Item]:
    yield from ipv4.shared(settings, are_pods_of_the_vpc=Family.IPV4 in supply.families)
    if _needs_ipv6(supply, settings):
        yield from ipv6.shared(settings, are_pods_of_the_vpc=Family.IPV6 in supply.families)
        if has_primary:
            yield from ipv6.forwarding()
