"""Limits of instance types, asked of EC2 once each: they never change."""

from eni_operator.domain.instance import InstanceLimits
from eni_operator.ec2.api import Ec2Api


class InstanceTypes:
    """The types seen so far; shared by all instances of a process."""

    def __init__(self, ec2: Ec2Api) -> None:
        self._ec2 = ec2
        self._limits: dict[str, InstanceLimits] = {}

    async def limits(self, instance_type: str) -> InstanceLimits:
        """Returns the type's limits; UnknownInstanceTypeError when EC2 does not know it."""
        if instance_type not in self._limits:
            self._limits[instance_type] = await self._ec2.describe_limits(instance_type)
        return self._limits[instance_type]
