"""The EC2 instance behind a node, what it can hold, and the subnet it draws from. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from eni_operator.domain.eni import InstanceId, SecurityGroupId, SubnetId


@dataclass(frozen=True, slots=True)
class InstanceLimits:
    """Limits of an instance type (DescribeInstanceTypes, NetworkInfo)."""

    enis: int
    """ENIs on network card 0."""
    addresses_per_eni: int
    """IPv4 slots an ENI has, its primary address included; a slot holds an address or a /28."""
    prefixes: bool
    """True on Nitro and bare metal: /28 and /80 prefixes can be assigned."""
    cards: tuple[int, ...] = ()
    """ENIs each network card takes, card 0 first; empty means one card."""

    @property
    def slots_per_eni(self) -> int:
        """Slots left for pods."""
        return self.addresses_per_eni - 1

    def enis_on(self, card: int) -> int:
        """Returns the most ENIs on a network card; zero where there is no such card."""
        if not self.cards:
            return self.enis if card == 0 else 0
        return self.cards[card] if card < len(self.cards) else 0


@dataclass(frozen=True, slots=True)
class Instance:
    """Facts of the instance that do not change while it lives, and its primary ENI's groups, which do."""

    id: InstanceId
    type: str
    zone: str
    vpc_id: str
    subnet_id: SubnetId
    security_groups: tuple[SecurityGroupId, ...]
    limits: InstanceLimits
    maximum_pods: int
    """The kubelet's limit (Node.status.capacity.pods), or what the type can address."""


class ReservationKind(StrEnum):
    """EC2's subnet CIDR reservations (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html)."""

    PREFIX = "prefix"
    """Prefixes come from here first, single addresses never."""
    EXPLICIT = "explicit"
    """Nothing is assigned from here unless it is named."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Part of a subnet that EC2 keeps aside."""

    cidr: str
    kind: ReservationKind


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet as DescribeSubnets tells it, and for how long we leave it alone."""

    id: SubnetId
    zone: str
    cidr: str
    free_addresses: int
    exhausted_until: float = 0.0
    """No single address is asked of it before this instant: EC2 said InsufficientFreeAddressesInSubnet."""
    fragmented_until: float = 0.0
    """No prefix is asked of it before this instant: EC2 said InsufficientCidrBlocks."""
    vpc_id: str = ""
    ipv6_cidr: str = ""
    """Its IPv6 block; empty where it has none."""
    tags: Mapping[str, str] = field(default_factory=dict)
    reservations: tuple[Reservation, ...] | None = None
    """None: not known, EC2 was not asked or refused to tell."""
