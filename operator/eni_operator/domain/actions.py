"""What a plan asks to be done in EC2.

Values; ``execution.executor`` performs them, in parallel across ENIs, in order within one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eni_operator.domain.eni import AttachmentId, EniId, SecurityGroupId, SubnetId


@dataclass(frozen=True, slots=True)
class CreateEni:
    """Create an ENI with its addresses or prefixes, attach it, let it die with the instance: three calls."""

    device_index: int
    subnet_id: SubnetId
    security_groups: tuple[SecurityGroupId, ...]
    addresses: int
    prefixes: int
    client_token: str
    """Deterministic: the same intent after a crash gives the same ENI."""
    tags: Mapping[str, str]
    network_card: int = 0
    ipv6_prefixes: int = 0


@dataclass(frozen=True, slots=True)
class AttachEni:
    """Adopt an ENI of ours that a predecessor created and left unattached."""

    eni_id: EniId
    device_index: int
    network_card: int = 0


@dataclass(frozen=True, slots=True)
class EnsureDeleteOnTermination:
    """Let an attached ENI die with its instance, so that termination leaks nothing."""

    eni_id: EniId
    attachment_id: AttachmentId


@dataclass(frozen=True, slots=True)
class AssignAddresses:
    """Assign this many secondary addresses in one call."""

    eni_id: EniId
    count: int


@dataclass(frozen=True, slots=True)
class AssignPrefixes:
    """Assign this many /28 prefixes in one call."""

    eni_id: EniId
    count: int


@dataclass(frozen=True, slots=True)
class AssignIpv6Prefix:
    """Assign one /80."""

    eni_id: EniId


@dataclass(frozen=True, slots=True)
class SetSecurityGroups:
    """Put these groups on an ENI in place of those it has."""

    eni_id: EniId
    security_groups: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True)
class SetTags:
    """Add or change these tags of an ENI in one call; others stay."""

    eni_id: EniId
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unassign:
    """Give addresses and prefixes back that the agent has let go: one call."""

    eni_id: EniId
    addresses: tuple[str, ...]
    """Without mask."""
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveEni:
    """Detach where attached, wait until EC2 is done, delete: an ENI whose CIDRs are all released, or that leaked."""

    eni_id: EniId
    attachment_id: AttachmentId | None


Action = (
    CreateEni
    | AttachEni
    | EnsureDeleteOnTermination
    | AssignAddresses
    | AssignPrefixes
    | AssignIpv6Prefix
    | SetSecurityGroups
    | SetTags
    | Unassign
    | RemoveEni
)
