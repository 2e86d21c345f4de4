"""What the operator needs of EC2, declared by its user; in the product ``ec2.client`` alone implements it.

Every method raises the errors of ``ec2.errors`` only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eni_operator.domain.eni import AttachmentId, Eni, EniId, InstanceId, SecurityGroupId, SubnetId
from eni_operator.domain.instance import InstanceLimits, Subnet


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


@dataclass(frozen=True, slots=True)
class Assigned:
    """What one Assign call added, and only that."""

    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Ec2Api(Protocol):
    """The calls used; https://docs.aws.amazon.com/AWSEC2/latest/APIReference/ under the same names."""

    async def describe_instance(self, instance_id: InstanceId) -> InstanceFacts:
        """Returns the instance's facts; NotFoundError when EC2 does not know it."""
        ...

    async def describe_limits(self, instance_type: str) -> InstanceLimits:
        """Returns what the type can hold; UnknownInstanceTypeError when EC2 does not know it."""
        ...

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        """Returns those subnets; NotFoundError when one is missing."""
        ...

    async def describe_vpc_cidrs(self, vpc_id: str) -> list[str]:
        """Returns the VPC's IPv4 blocks."""
        ...

    async def describe_attached(self, instance_id: InstanceId) -> list[Eni]:
        """Returns every ENI attached, attaching or detaching, ours or not."""
        ...

    async def describe_available(self, instance_id: InstanceId) -> list[Eni]:
        """Returns unattached ENIs that carry our instance tag with this instance's id."""
        ...

    async def create_eni(self, request: EniRequest) -> Eni:
        """Creates an ENI with its addresses or prefixes and tags; the same token gives the same ENI again."""
        ...

    async def attach_eni(self, eni_id: EniId, instance_id: InstanceId, device_index: int) -> AttachmentId:
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

    async def unassign(self, eni_id: EniId, *, addresses: Sequence[str] = (), prefixes: Sequence[str] = ()) -> None:
        """Gives addresses and prefixes back; NotAssignedError when one is not there."""
        ...
