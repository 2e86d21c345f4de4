"""The IPv4 blocks of VPCs: the agent leaves traffic to them untranslated. Blocks may be added while a VPC lives."""

from eni_operator.ec2.api import Ec2Api


class Vpcs:
    """The VPCs seen so far; shared by all instances of a process."""

    def __init__(self, ec2: Ec2Api) -> None:
        self._ec2 = ec2
        self._cidrs: dict[str, tuple[str, ...]] = {}

    def cidrs(self, vpc_id: str) -> tuple[str, ...]:
        """Returns the blocks as last told."""
        return self._cidrs.get(vpc_id, ())

    async def look_up(self, vpc_id: str) -> None:
        """Asks EC2 for the blocks again."""
        self._cidrs[vpc_id] = (await self._ec2.describe_vpc(vpc_id)).ipv4
