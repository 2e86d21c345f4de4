"""What can be asked of the host's network, as values. Each holds or does not (``drift``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from eni_crds.nodeippool import Family

SHARED: Final = ""
"""Owner of what serves every ENI."""
PODS: Final = "pods"
"""Owner of the routes to pods, which no ENI waits for."""


class SnatPorts(StrEnum):
    """How source ports of translated connections are chosen (AWS_VPC_K8S_CNI_RANDOMIZESNAT)."""

    PRNG = "prng"
    HASHRANDOM = "hashrandom"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """An ENI's link: up, with this MTU."""

    ifname: str
    mtu: int


@dataclass(frozen=True, slots=True)
class ReversePath:
    """How strictly a link checks IPv4 sources (``rp_filter``: 0 not, 1 strictly, 2 loosely)."""

    ifname: str
    mode: int


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address with its mask on a link, without the kernel's connected route."""

    ifname: str
    interface: str
    """As in ``10.0.1.5/24``."""


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the destination's family; without a gateway the destination is on the link."""

    table: int
    destination: str
    ifname: str
    gateway: str | None = None

    @property
    def family(self) -> Family:
        """The destination's."""
        return family_of(self.destination)


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule: packets from ``source``, to ``destination`` and with all bits of ``mark`` look into ``table``."""

    priority: int
    table: int
    source: str | None = None
    mark: int | None = None
    destination: str | None = None
    family: Family = Family.IPV4


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
class Egress:
    """Translation of pods' node-local addresses of a range; nobody else may open connections to that range."""

    cidr: str
    address: str | None
    """The node's own; None: the one the kernel chooses for the way out."""
    ports: SnatPorts


@dataclass(frozen=True, slots=True)
class Firewall:
    """What our own nftables table of a family does (``ruleset``); when that is nothing there is no table."""

    snat: Snat | None
    node_port: bool
    primary_ifname: str
    veth_prefix: str
    mark: int
    family: Family = Family.IPV4
    egress: Egress | None = None

    @property
    def is_empty(self) -> bool:
        """True when there must be no table."""
        return self.snat is None and self.egress is None and not self.node_port


Item = LinkSetting | ReversePath | Address | Route | Rule | Sysctl | Firewall


@dataclass(frozen=True, slots=True)
class HostState:
    """What must hold, and for which ENI: an ENI is ready when its own items and the shared ones hold."""

    items: Mapping[Item, str]
    """Item to the id of its ENI, ``SHARED`` or ``PODS``."""
    secondary_ifnames: frozenset[str]
    """Links on which only our addresses may be."""
    enis: frozenset[str]
    """ENIs whose link is there; none while the primary's is missing, for nothing reaches the world without it."""
    ways_out: Mapping[str, int] = field(default_factory=dict)
    """Table by which packets of pods leave, by CIDR of the pods' addresses."""


def family_of(cidr: str) -> Family:
    """Returns the family of an address or a CIDR."""
    return Family.IPV6 if ":" in cidr else Family.IPV4
