"""The blocks of VPCs: the agent leaves traffic to them untranslated. Blocks may be added while a VPC lives.

Decides when to ask again: for who needs a newer answer than there is, once for all who ask at the same time.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from eni_operator.inventory.source import VpcSource

if TYPE_CHECKING:
    from eni_operator.ec2.api import VpcBlocks

_NEVER: Final = float("-inf")


class Vpcs:
    """The VPCs seen so far; shared by all instances of a process."""

    def __init__(self, source: VpcSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._blocks: dict[str, VpcBlocks] = {}
        self._asked_at: dict[str, float] = {}
        self._asking = asyncio.Lock()

    def cidrs(self, vpc_id: str) -> tuple[str, ...]:
        """Returns the IPv4 blocks as last told."""
        return self._blocks[vpc_id].ipv4 if vpc_id in self._blocks else ()

    def ipv6_cidrs(self, vpc_id: str) -> tuple[str, ...]:
        """Returns the IPv6 blocks as last told."""
        return self._blocks[vpc_id].ipv6 if vpc_id in self._blocks else ()

    def age(self, vpc_id: str) -> float:
        """Returns the seconds since the blocks were asked for; infinite before they were."""
        return self._clock() - self._asked_at.get(vpc_id, _NEVER)

    async def look_up(self, vpc_id: str) -> None:
        """Asks for the blocks; an answer to a question put no earlier than this one will do."""
        wanted_at = self._clock()
        async with self._asking:
            if self._asked_at.get(vpc_id, _NEVER) >= wanted_at:
                return
            asked_at = self._clock()
            self._blocks[vpc_id] = await self._source.describe_vpc(vpc_id)
            self._asked_at[vpc_id] = asked_at
