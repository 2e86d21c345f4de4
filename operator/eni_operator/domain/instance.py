"""The EC2 instance behind a node, what it can hold, and the subnet it draws from. Values only."""

from dataclasses import dataclass

from eni_operator.domain.eni import InstanceId, SecurityGroupId, SubnetId


@dataclass(frozen=True, slots=True)
class InstanceLimits:
    """Limits of an instance type (DescribeInstanceTypes, NetworkInfo)."""

    enis: int
    """ENIs on network card 0."""
    addresses_per_eni: int
    """IPv4 slots an ENI has, its primary address included; a slot holds an address or a /28."""
    prefixes: bool
    """True on Nitro and bare metal: /28 prefixes can be assigned."""

    @property
    def slots_per_eni(self) -> int:
        """Slots left for pods."""
        return self.addresses_per_eni - 1


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
