"""What all instances of one Region share: the EC2 client and what was learnt of subnets, instance types and VPCs."""

from collections.abc import Callable

from eni_operator.ec2.api import Ec2Api
from eni_operator.inventory.instance_types import InstanceTypes
from eni_operator.inventory.subnets import Subnets
from eni_operator.inventory.vpc import Vpcs


class Region:
    """One for a process."""

    def __init__(self, ec2: Ec2Api, clock: Callable[[], float]) -> None:
        self.ec2 = ec2
        self.subnets = Subnets(ec2, clock)
        self.types = InstanceTypes(ec2)
        self.vpcs = Vpcs(ec2)
