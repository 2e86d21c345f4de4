"""What the inventory asks, of EC2 or of whoever answers in its place.

``ec2.api.Ec2Api`` is one; ``inventory.metadata_source`` the other, where no EC2 call may be made. Errors are those of
``ec2.errors``. The methods are described in ``ec2.api``.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from eni_operator.domain.eni import Eni, InstanceId, SubnetId
from eni_operator.domain.instance import InstanceLimits, Reservation, Subnet
from eni_operator.ec2.api import InstanceFacts, VpcBlocks


class SubnetSource(Protocol):
    """Tells of subnets."""

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        """Returns those of the subnets that exist."""
        ...

    async def find_subnets(self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None) -> list[Subnet]:
        """Returns the VPC's subnets in a zone with all these tags."""
        ...

    async def describe_reservations(self, subnet_id: SubnetId) -> tuple[Reservation, ...]:
        """Returns the IPv4 reservations of a subnet."""
        ...


class TypeSource(Protocol):
    """Tells of instance types."""

    async def describe_limits(self, instance_type: str, /) -> InstanceLimits:
        """Returns what the type can hold; UnknownInstanceTypeError when that is not known."""
        ...


class VpcSource(Protocol):
    """Tells of VPCs."""

    async def describe_vpc(self, vpc_id: str) -> VpcBlocks:
        """Returns the VPC's blocks."""
        ...


class InstanceSource(SubnetSource, TypeSource, VpcSource, Protocol):
    """The reading half of ``Ec2Api``, without the sweep's."""

    async def describe_instances(self, instance_ids: Sequence[InstanceId]) -> list[InstanceFacts]:
        """Returns the facts of those of the instances that are known."""
        ...

    async def describe_attached(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns every ENI attached to, attaching to or detaching from one of the instances."""
        ...

    async def describe_available(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns unattached ENIs that carry our instance tag with one of these ids."""
        ...
