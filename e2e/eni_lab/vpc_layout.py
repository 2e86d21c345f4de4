"""The laboratory's VPC as values: its blocks, zones, subnets and security groups. ``cloud_client`` makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

REGION = "us-east-1"
VPC_BLOCKS = ("10.0.0.0/16", "100.64.0.0/16")
"""The first one, and one for pods where a company's addresses are scarce (RFC 6598)."""


@dataclass(frozen=True)
class Zone:
    """An availability zone; the subnet and the security group of its nodes are called ``lab-`` and its letter."""

    letter: str

    @property
    def name(self) -> str:
        """Such as ``us-east-1a``."""
        return REGION + self.letter

    @property
    def node_subnet(self) -> str:
        """The name of the subnet its instances are launched in."""
        return f"lab-{self.letter}"


ZONES = (Zone("a"), Zone("b"))


@dataclass(frozen=True)
class SubnetPlan:
    """One subnet, found again by its name."""

    name: str
    zone: Zone
    cidr: str
    reserved: str = ""
    """A range kept for prefixes by a subnet CIDR reservation."""
    ipv6: int | None = None
    """Which of the VPC's /64s it has, if any."""
    tags: Mapping[str, str] = field(default_factory=dict)


def subnets(zone: Zone, *, dual_stack: bool = False) -> tuple[SubnetPlan, ...]:
    """Returns a zone's subnets: the nodes' own, and those that tests choose for pods.

    ``pods`` and ``more`` are of ordinary size, the second in the VPC's other block; ``small`` (11 addresses, no prefix)
    and ``tight`` (27 addresses, no prefix) run out; ``kept`` has half of it reserved for prefixes; ``dual`` has IPv6,
    and so has the nodes' own in a ``dual_stack`` cluster.
    """
    number = ZONES.index(zone) + 1
    return (
        SubnetPlan(zone.node_subnet, zone, f"10.0.{number}.0/24", ipv6=10 + number if dual_stack else None),
        SubnetPlan(f"pods-{zone.letter}", zone, f"10.0.{10 + number}.0/24"),
        SubnetPlan(f"more-{zone.letter}", zone, f"100.64.{number}.0/24"),
        SubnetPlan(f"small-{zone.letter}", zone, f"10.0.{20 + number}.0/28"),
        SubnetPlan(f"tight-{zone.letter}", zone, f"10.0.{30 + number}.0/27"),
        SubnetPlan(f"kept-{zone.letter}", zone, f"10.0.{40 + number}.0/24", reserved=f"10.0.{40 + number}.128/25"),
        SubnetPlan(f"dual-{zone.letter}", zone, f"10.0.{50 + number}.0/24", ipv6=number),
    )


SUBNETS = tuple(plan for zone in ZONES for plan in subnets(zone))
DUAL_STACK_SUBNETS = tuple(plan for zone in ZONES for plan in subnets(zone, dual_stack=True))
GROUPS = (*(zone.node_subnet for zone in ZONES), "pods", "other")
"""Security groups by name: each zone's nodes have the one called like their subnet, the rest are for tests."""
