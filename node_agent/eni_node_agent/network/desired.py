"""Decides what the host's network must look like for a supply: links, addresses, routes, rules, sysctls, firewall.

Pure: supply, settings and the links found by MAC come in, a value goes out. Does not read or change the kernel
(``host``), does not know pods: their /32 routes in ``POD_TABLE`` are written by the CNI plugin, pod by pod.
Numbers are VPC CNI's where it has one, so that a node looks familiar; ``docs/datapath.md`` walks the packets through.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, collapse_addresses, ip_network
from typing import Final

from eni_crds.nodeippool import SERVING_ROLES, EniRole, EniState, Supply, SupplyEni

POD_TABLE: Final = 512
"""Table that holds a /32 route to each pod of the node and nothing else: no match falls through to the next rule."""
MAIN_TABLE: Final = 254
POD_PRIORITY: Final = 512
MARK_PRIORITY: Final = 1024
POD_SOURCE_PRIORITY: Final = 1536
ENI_SOURCE_PRIORITY: Final = 32765
LOOSE_REVERSE_PATH: Final = 2
"""rp_filter: a reply to a pod of a secondary ENI enters by the primary, where strict mode would drop it."""
SHARED: Final = ""
"""Owner of what serves every ENI."""

_SERVING = frozenset({EniState.ATTACHING, EniState.ATTACHED, EniState.RELEASING})


class SnatPorts(StrEnum):
    """How source ports of translated connections are chosen (AWS_VPC_K8S_CNI_RANDOMIZESNAT)."""

    PRNG = "prng"
    HASHRANDOM = "hashrandom"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What a person may choose about the host's network."""

    mtu: int = 9001
    """Bytes, of every ENI (AWS_VPC_ENI_MTU)."""
    external_snat: bool = False
    """True: something else translates; pods leave by their own ENI (AWS_VPC_K8S_CNI_EXTERNALSNAT)."""
    snat_ports: SnatPorts = SnatPorts.PRNG
    """Randomness of translated source ports (AWS_VPC_K8S_CNI_RANDOMIZESNAT)."""
    exclude_snat_cidrs: tuple[str, ...] = ()
    """Destinations outside the VPC that see the pod's own address (AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS)."""
    node_port_support: bool = True
    """Replies to what entered by the primary ENI leave by it (AWS_VPC_CNI_NODE_PORT_SUPPORT)."""
    connmark: int = 0x80
    """Bit of the connection and packet mark that means: by the primary ENI (AWS_VPC_K8S_CNI_CONNMARK)."""
    veth_prefix: str = "eni"
    """Names of the host's ends of pods begin with this (AWS_VPC_K8S_CNI_VETHPREFIX)."""


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """An ENI's link: up, with this MTU."""

    ifname: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address with its mask on a link, without the kernel's connected route."""

    ifname: str
    interface: str
    """As in ``10.0.1.5/24``."""


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast IPv4 route; without a gateway the destination is on the link."""

    table: int
    destination: str
    ifname: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule: packets from ``source``, packets with all bits of ``mark``, or all packets look into ``table``."""

    priority: int
    table: int
    source: str | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A value under /proc/sys."""

    name: str
    """Path: ``net/ipv4/ip_forward``."""
    value: str


@dataclass(frozen=True, slots=True)
class Snat:
    """Source translation of connections from pods to the world."""

    address: str
    ports: SnatPorts
    exempt: tuple[str, ...]
    """Destinations that see the pod's own address: sorted, disjoint CIDRs."""


@dataclass(frozen=True, slots=True)
class Firewall:
    """What our own nftables table does (``ruleset``); with neither translation nor node ports there is no table."""

    snat: Snat | None
    node_port: bool
    primary_ifname: str
    veth_prefix: str
    mark: int


Item = LinkSetting | Address | Route | Rule | Sysctl | Firewall


@dataclass(frozen=True, slots=True)
class HostState:
    """What must hold, and for which ENI: an ENI is ready when its own items and the shared ones hold."""

    items: Mapping[Item, str]
    """Item to the id of its ENI, or ``SHARED``."""
    secondary_ifnames: frozenset[str]
    """Links on which only our addresses may be."""
    enis: frozenset[str]
    """ENIs whose link is there; none while the primary's is missing, for nothing reaches the world without it."""


def desired(supply: Supply, settings: NetworkSettings, ifnames: Mapping[str, str]) -> HostState:
    """Returns the state wanted for a supply.

    Args:
        supply: ENIs that are detaching, or whose role serves no pods, contribute nothing and are left alone. One that
            is excluded or on its way out still serves the pods it has.
        settings: a person's choices; those about source translation stand where the supply makes none.
        ifnames: name of the link by MAC in lower case; an ENI whose link is not there yet contributes nothing.

    Raises:
        ValueError: an address or a CIDR of the supply or the settings is none.
    """
    settings = _under(supply, settings)
    present = [(eni, ifnames[eni.mac.lower()]) for eni in supply.enis if _serves(eni) and eni.mac.lower() in ifnames]
    items: dict[Item, str] = dict.fromkeys(_shared_items(settings), SHARED)
    primaries = [(eni, ifname) for eni, ifname in present if eni.role is EniRole.PRIMARY]
    secondaries = [(eni, ifname) for eni, ifname in present if eni.role is not EniRole.PRIMARY]
    for eni, ifname in primaries:
        items |= dict.fromkeys(_primary_items(ifname, settings), eni.id)
        items[_firewall(supply, eni, ifname, settings)] = SHARED
    for eni, ifname in secondaries:
        items |= dict.fromkeys(_secondary_items(eni, ifname, settings), eni.id)
    enis = frozenset(eni.id for eni, _ in present) if primaries else frozenset()
    return HostState(items, frozenset(ifname for _, ifname in secondaries), enis)


def table_of(eni: SupplyEni) -> int:
    """Returns the ENI's route table, numbered as VPC CNI does: 2 for device 1, 10203 for device 3 of card 2."""
    if eni.role is EniRole.PRIMARY:
        return MAIN_TABLE
    if eni.network_card == 0:
        return eni.device_index + 1
    return 10000 + 100 * eni.network_card + eni.device_index


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


def _shared_items(settings: NetworkSettings) -> Iterator[Item]:
    yield Sysctl("net/ipv4/ip_forward", "1")
    yield Rule(POD_PRIORITY, POD_TABLE)
    if settings.node_port_support or not settings.external_snat:
        yield Rule(MARK_PRIORITY, MAIN_TABLE, mark=settings.connmark)


def _primary_items(ifname: str, settings: NetworkSettings) -> Iterator[Item]:
    # Address and default route come from DHCP, as the image configured them.
    yield LinkSetting(ifname, settings.mtu)
    yield Sysctl(f"net/ipv4/conf/{ifname}/rp_filter", str(LOOSE_REVERSE_PATH))


def _secondary_items(eni: SupplyEni, ifname: str, settings: NetworkSettings) -> Iterator[Item]:
    # ENI eth1 of device 1, 10.0.1.5 in 10.0.1.0/24, with the prefix 10.0.1.16/28:
    #   10.0.1.5/24 on eth1; table 2: 10.0.1.1 dev eth1, default via 10.0.1.1 dev eth1
    #   1536: from 10.0.1.16/28 lookup 2; 32765: from 10.0.1.5 lookup 2
    table = table_of(eni)
    yield LinkSetting(ifname, settings.mtu)
    yield Address(ifname, str(IPv4Interface(f"{eni.primary_ip}/{IPv4Network(eni.subnet_cidr).prefixlen}")))
    yield Route(table, f"{eni.gateway}/32", ifname)
    yield Route(table, "0.0.0.0/0", ifname, eni.gateway)
    for source in _disjoint([*eni.addresses, *eni.prefixes]):
        yield Rule(POD_SOURCE_PRIORITY, table, source)
    yield Rule(ENI_SOURCE_PRIORITY, table, f"{eni.primary_ip}/32")


def _firewall(supply: Supply, primary: SupplyEni, ifname: str, settings: NetworkSettings) -> Firewall:
    # Subnets are inside the VPC: naming them too keeps the VPC whole should its CIDRs not be known.
    subnets = [eni.subnet_cidr for eni in supply.enis]
    exempt = _disjoint([*supply.vpc_cidrs, *subnets, *settings.exclude_snat_cidrs])
    snat = None if settings.external_snat else Snat(str(IPv4Address(primary.primary_ip)), settings.snat_ports, exempt)
    return Firewall(snat, settings.node_port_support, ifname, settings.veth_prefix, settings.connmark)


def _disjoint(cidrs: list[str]) -> tuple[str, ...]:
    # Rules are tried one after the other (12 ns each), so neighbours are merged: 10.0.1.2 and 10.0.1.3 make one /31.
    return tuple(str(network) for network in collapse_addresses(IPv4Network(cidr, strict=False) for cidr in cidrs))
