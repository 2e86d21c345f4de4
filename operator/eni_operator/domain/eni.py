"""What we believe of an elastic network interface in EC2.

A value: ``inventory`` makes it from EC2's answers, ``planning`` reads it. Says nothing of the host's links
(counterpart: the agent's ``network``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

EniId = NewType("EniId", str)
SubnetId = NewType("SubnetId", str)
SecurityGroupId = NewType("SecurityGroupId", str)
InstanceId = NewType("InstanceId", str)
AttachmentId = NewType("AttachmentId", str)

ADDRESSES_PER_PREFIX = 16
"""A /28 (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html)."""


class InterfaceType(StrEnum):
    """EC2's interface types that mean something to a pool; every other one is somebody else's."""

    INTERFACE = "interface"
    EFA = "efa"
    """Carries IP traffic beside its own: pods may use it, but it is never taken off."""
    EFA_ONLY = "efa-only"
    """Has no addresses."""
    TRUNK = "trunk"
    """Carries branch interfaces."""


class AttachmentState(StrEnum):
    """EC2's own words, plus the absence of an attachment."""

    DETACHED = "detached"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The tie between an ENI and an instance."""

    id: AttachmentId
    instance_id: InstanceId
    device_index: int
    network_card: int
    state: AttachmentState
    delete_on_termination: bool


@dataclass(frozen=True, slots=True)
class Eni:
    """One ENI.

    ``addresses`` are secondary addresses without mask, ``prefixes`` /28s as CIDR, both as EC2 lists them.
    """

    id: EniId
    mac: str
    subnet_id: SubnetId
    primary_ip: str
    security_groups: tuple[SecurityGroupId, ...] = ()
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    attachment: Attachment | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    ipv6_prefixes: tuple[str, ...] = ()
    """/80s as CIDR."""
    interface_type: str = InterfaceType.INTERFACE
    """EC2's own word; see ``InterfaceType``."""

    @property
    def is_primary(self) -> bool:
        """Tells whether this is the instance's device 0 on card 0."""
        return self.attachment is not None and (self.attachment.device_index, self.attachment.network_card) == (0, 0)

    @property
    def network_card(self) -> int:
        """Returns the card it is on; 0 while it is on none."""
        return self.attachment.network_card if self.attachment is not None else 0

    @property
    def is_attached(self) -> bool:
        """Tells whether EC2 has finished attaching it."""
        return self.attachment is not None and self.attachment.state is AttachmentState.ATTACHED

    @property
    def slots_used(self) -> int:
        """Counts what is charged against the instance type's addresses per ENI, the primary address included."""
        return 1 + len(self.addresses) + len(self.prefixes)

    @property
    def pod_addresses(self) -> int:
        """Counts the addresses pods may have."""
        return len(self.addresses) + ADDRESSES_PER_PREFIX * len(self.prefixes)
