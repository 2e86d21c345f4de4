"""The resources of one Region as immutable values.

They say what is; what may be done with them is decided in the action modules. Times are epoch seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

OWNER_ID = "123456789012"
"""The one account of the stand-in (AWS's own example number)."""

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CidrAssociation:
    """One CIDR block of a VPC."""

    id: str
    cidr: str


@dataclass(frozen=True, slots=True)
class Vpc:
    """A VPC; the first of ``cidrs`` is its primary block."""

    id: str
    cidrs: tuple[CidrAssociation, ...]
    ipv6_cidrs: tuple[CidrAssociation, ...]
    default_group: str
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet; its free addresses are in ``Region.pools`` and ``Region.ipv6_pools``."""

    id: str
    vpc_id: str
    zone: str
    zone_id: str
    cidr: str
    ipv6_cidr: CidrAssociation | None = None
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CidrReservation:
    """A subnet CIDR reservation; ``kind`` is ``prefix`` or ``explicit``."""

    id: str
    subnet_id: str
    cidr: str
    kind: str
    description: str
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A security group; rules are not modelled."""

    id: str
    name: str
    description: str
    vpc_id: str
    tags: Tags = field(default_factory=dict)


class AttachmentState(StrEnum):
    """EC2's words for an attachment that exists."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The tie between an ENI and an instance."""

    id: str
    instance_id: str
    device_index: int
    network_card: int
    since: float
    attached_at: float
    link_at: float
    delete_on_termination: bool
    detached_at: float | None = None
    """When the detachment will be complete; None while nobody asked for it."""

    def state(self, moment: float) -> AttachmentState:
        """Returns the state at a moment."""
        if self.detached_at is not None:
            return AttachmentState.DETACHING
        return AttachmentState.ATTACHED if moment >= self.attached_at else AttachmentState.ATTACHING

    @property
    def is_primary(self) -> bool:
        """Tells whether this is the device the instance was launched with."""
        return (self.device_index, self.network_card) == (0, 0)


@dataclass(frozen=True, slots=True)
class Eni:
    """A network interface; ``addresses`` are its secondary IPv4 addresses."""

    id: str
    subnet_id: str
    vpc_id: str
    mac: str
    primary_ip: str
    """Empty on an EFA-only ENI, which has no IP address at all."""
    groups: tuple[str, ...]
    description: str
    interface_type: str
    created: float
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_prefixes: tuple[str, ...] = ()
    source_dest_check: bool = True
    attachment: Attachment | None = None
    tags: Tags = field(default_factory=dict)

    @property
    def is_efa(self) -> bool:
        """Tells whether it has an EFA device, with or without a network device beside it."""
        return self.interface_type in {"efa", "efa-only"}

    @property
    def has_network(self) -> bool:
        """Tells whether it has a network device, and so addresses and a kernel link."""
        return self.interface_type != "efa-only"

    @property
    def ipv4_addresses(self) -> tuple[str, ...]:
        """Returns the primary address, then the secondary ones."""
        return (self.primary_ip, *self.addresses) if self.primary_ip else ()

    @property
    def slots_used(self) -> int:
        """Counts what the type's IPv4 limit per ENI is compared with: primary, secondaries and prefixes alike."""
        return len(self.ipv4_addresses) + len(self.prefixes)

    @property
    def ipv6_slots_used(self) -> int:
        """Counts what the type's IPv6 limit per ENI is compared with."""
        return len(self.ipv6_addresses) + len(self.ipv6_prefixes)


class InstanceState(StrEnum):
    """EC2's words for an instance's life, as far as the stand-in leads it."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """How the instance's IMDS answers."""

    endpoint: str = "enabled"
    tokens: str = "required"
    hop_limit: int = 1
    ipv6: str = "disabled"


@dataclass(frozen=True, slots=True)
class Instance:
    """A virtual machine; its ENIs point at it, it does not list them."""

    id: str
    reservation_id: str
    launch_index: int
    type: str
    image_id: str
    subnet_id: str
    vpc_id: str
    private_ip: str
    """The primary ENI's address at launch; instance views leave it out once terminated."""
    groups: tuple[str, ...]
    state: InstanceState
    launched: float
    metadata: MetadataOptions = field(default_factory=MetadataOptions)
    role: str = ""
    """Name of the instance profile's role; empty without one."""
    lifecycle: str = ""
    tags: Tags = field(default_factory=dict)
