"""What we believe of subnets: their block, their free addresses as last told, and until when we leave them alone.

Decides how long a subnet rests after it refused; whether to ask at all is ``planning``'s.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Subnet
from eni_operator.ec2.api import Ec2Api

REST_SECONDS: Final = 120.0
"""VPC CNI's back-off after InsufficientFreeAddressesInSubnet and InsufficientCidrBlocks."""


class Subnets:
    """The subnets seen so far; shared by all instances of a process."""

    def __init__(self, ec2: Ec2Api, clock: Callable[[], float]) -> None:
        self._ec2 = ec2
        self._clock = clock
        self._subnets: dict[SubnetId, Subnet] = {}

    def get(self, subnet_id: SubnetId) -> Subnet:
        """Returns a subnet that was looked up before."""
        return self._subnets[subnet_id]

    def cidrs(self) -> dict[SubnetId, str]:
        """Returns the block of every subnet known."""
        return {subnet.id: subnet.cidr for subnet in self._subnets.values()}

    def known(self) -> dict[SubnetId, Subnet]:
        """Returns every subnet looked up so far."""
        return dict(self._subnets)

    async def look_up(self, subnet_ids: Iterable[SubnetId], *, again: bool = False) -> None:
        """Asks EC2 for the subnets not known yet, or for all of them again."""
        wanted = sorted(i for i in set(subnet_ids) if again or i not in self._subnets)
        if not wanted:
            return
        for subnet in await self._ec2.describe_subnets(wanted):
            old = self._subnets.get(subnet.id, subnet)
            self._subnets[subnet.id] = replace(
                subnet, exhausted_until=old.exhausted_until, fragmented_until=old.fragmented_until
            )

    def refused_address(self, subnet_id: SubnetId) -> None:
        """EC2 had no address to give: nothing is asked of this subnet for a while."""
        until = self._clock() + REST_SECONDS
        self._subnets[subnet_id] = replace(self._subnets[subnet_id], exhausted_until=until)

    def refused_prefix(self, subnet_id: SubnetId) -> None:
        """EC2 had no /28 to give; single addresses may still be had."""
        until = self._clock() + REST_SECONDS
        self._subnets[subnet_id] = replace(self._subnets[subnet_id], fragmented_until=until)
