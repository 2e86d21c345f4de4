"""What the operator needs of EC2, declared by its user and implemented by ``ec2.client`` (and by nothing else in the product).

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

    async def describe_instance(self, instance_id: InstanceId) -> InstanceFacts: ...
    async def describe_limits(self, instance_type: str) -> InstanceLimits: ...
    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]: ...
    async def describe_vpc_cidrs(self, vpc_id: str) -> list[str]: ...
    async def describe_attached(self, instance_id: InstanceId) -> list[Eni]: ...
    async def describe_available(self, instance_id: InstanceId) -> list[Eni]:
        """Returns unattached ENIs that carry our instance tag with this instance's id."""
        ...

    async def create_eni(self, request: EniRequest) -> Eni: ...
    async def attach_eni(self, eni_id: EniId, instance_id: InstanceId, device_index: int) -> AttachmentId: ...
    async def set_delete_on_termination(self, eni_id: EniId, attachment_id: AttachmentId) -> None: ...
    async def detach_eni(self, attachment_id: AttachmentId) -> None: ...
    async def delete_eni(self, eni_id: EniId) -> None: ...
    async def assign(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> Assigned: ...
    async def unassign(self, eni_id: EniId, *, addresses: Sequence[str] = (), prefixes: Sequence[str] = ()) -> None: ...
