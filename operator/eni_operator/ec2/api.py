"""What the operator needs of EC2, declared by its user; in the product ``ec2.client`` alone implements it.

Every method raises the errors of ``ec2.errors`` only.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from eni_operator.domain.eni import AttachmentId, Eni, EniId, InstanceId, SecurityGroupId, SubnetId
from eni_operator.domain.instance import InstanceLimits, Reservation, Subnet


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """DescribeInstances, cut to what we use."""

    id: InstanceId
    type: str
    zone: str
    vpc_id: str
    subnet_id: SubnetId
    security_groups: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True)
class EniRequest:
    """CreateNetworkInterface's input."""

    subnet_id: SubnetId
    security_groups: tuple[SecurityGroupId, ...]
    description: str
    tags: Mapping[str, str]
    client_token: str
    addresses: int = 0
    prefixes: int = 0
    ipv6_prefixes: int = 0


@dataclass(frozen=True, slots=True)
class VpcBlocks:
    """A VPC's associated blocks, the first one first."""

    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assigned:
    """What one Assign call added, and only that."""

    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    ipv6_prefixes: tuple[str, ...] = ()


MANY: Final = 200
"""Instances named in one call at most: EC2 takes so many values of a filter."""


class Ec2Api(Protocol):
    """The calls used; https://docs.aws.amazon.com/AWSEC2/latest/APIReference/ under the same names."""

    async def describe_instances(self, instance_ids: Sequence[InstanceId]) -> list[InstanceFacts]:
        """Returns the facts of those of the instances that EC2 knows; at most ``MANY``."""
        ...

    async def describe_limits(self, instance_type: str) -> InstanceLimits:
        """Returns what the type can hold; UnknownInstanceTypeError when EC2 does not know it."""
        ...

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        """Returns those of the subnets that exist."""
        ...

    async def find_subnets(self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None) -> list[Subnet]:
        """Returns the VPC's subnets in a zone (any: empty) with all these tags; an empty value matches any."""
        ...

    async def describe_reservations(self, subnet_id: SubnetId) -> tuple[Reservation, ...]:
        """Returns the IPv4 reservations of a subnet."""
        ...

    async def describe_vpc(self, vpc_id: str) -> VpcBlocks:
        """Returns the VPC's blocks."""
        ...

    async def describe_attached(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns every ENI attached to, attaching to or detaching from one of the instances, ours or not."""
        ...

    async def describe_available(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns unattached ENIs that carry our instance tag with one of these ids."""
        ...

    def available_pages(self, vpc_id: str, cluster_name: str) -> AsyncIterator[list[Eni]]:
        """Yields page by page the VPC's unattached ENIs that carry our instance tag, whoever's id it names.

        With a cluster's name only those that carry it too. For the sweep, which must not hold thousands at a time.
        """
        ...

    async def create_eni(self, request: EniRequest) -> Eni:
        """Creates an ENI with its addresses or prefixes and tags; the same token gives the same ENI again."""
        ...

    async def attach_eni(
        self, eni_id: EniId, instance_id: InstanceId, device_index: int, network_card: int = 0
    ) -> AttachmentId:
        """Starts attaching; EC2 needs about a second to finish."""
        ...

    async def set_delete_on_termination(self, eni_id: EniId, attachment_id: AttachmentId) -> None:
        """Lets the ENI die with its instance."""
        ...

    async def detach_eni(self, attachment_id: AttachmentId) -> None:
        """Starts detaching; EC2 needs seconds to finish."""
        ...

    async def delete_eni(self, eni_id: EniId) -> None:
        """Deletes an unattached ENI; BusyError while it is still in use."""
        ...

    async def assign(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> Assigned:
        """Assigns so many addresses or prefixes, all or none; not idempotent."""
        ...

    async def assign_ipv6_prefix(self, eni_id: EniId) -> Assigned:
        """Assigns one /80; not idempotent."""
        ...

    async def set_security_groups(self, eni_id: EniId, security_groups: Sequence[SecurityGroupId]) -> None:
        """Replaces an ENI's groups; UnknownSecurityGroupError when there is none of that id in the VPC."""
        ...

    async def set_tags(self, eni_id: EniId, tags: Mapping[str, str]) -> None:
        """Adds or changes tags of an ENI."""
        ...

    async def unassign(self, eni_id: EniId, *, addresses: Sequence[str] = (), prefixes: Sequence[str] = ()) -> None:
        """Gives addresses and prefixes back; NotAssignedError when one is not there."""
        ...
