"""What the metadata service tells that we do not believe: reason to look at EC2, never reason to believe it.

So ENIs attached by others, changed security groups and new VPC blocks are noticed within a minute though EC2 is asked
once an hour. Decides which difference is worth a look: a new one at once, a list that is merely short when it stays so
(metadata comes in late), one that stays ever more seldom. Counterpart: ``InstanceInventory.hinted``.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from eni_operator.domain.eni import Eni
from eni_operator.inventory import metadata
from eni_operator.inventory.instance import Ask, InstanceInventory
from eni_operator.inventory.metadata import Metadata, MetadataError

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 30.0

_MACS: Final = "network/interfaces/macs/"

Difference = frozenset[str]
"""What one side has and the other has not."""


class Hints:
    """The metadata service beside the belief about one instance."""

    def __init__(
        self,
        service: Metadata,
        inventory: InstanceInventory,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._service = service
        self._inventory = inventory
        self._clock = clock
        self._jitter = jitter
        self._differences: dict[str, tuple[Difference, int]] = {}
        """By item what differs, and in how many polls on end."""
        self._asks_ipv6 = False
        self.poll_at = 0.0
        """When to poll next."""

    async def poll(self) -> bool:
        """Asks for three items when it is time to; tells whether they are reason to look at EC2. Never fails."""
        primary = self._inventory.attachments.primary
        if self._clock() < self.poll_at or primary is None or not self._inventory.known:
            return False
        self.poll_at = self._clock() + POLL_SECONDS * self._jitter()
        try:
            return await self._poll(primary)
        except MetadataError as error:
            log.debug("no hint", extra={"error": str(error)})
            return False

    async def _poll(self, primary: Eni) -> bool:
        folder, belief = f"{_MACS}{primary.mac.lower()}/", self._inventory.attachments
        macs = await self._service.items(_MACS, metadata.mac)
        groups = await self._service.items(folder + "security-group-ids", metadata.security_group)
        is_new_block = await self._compare_blocks(folder)
        believed_macs = (eni.mac.lower() for eni in belief.enis if eni.attachment is not None)
        believed_groups = (belief.primary or primary).security_groups
        is_new_eni = self._is_worth_a_look("macs", macs, believed_macs)
        is_new_group = self._is_worth_a_look("groups", groups, believed_groups)
        if is_new_eni or is_new_group:
            self._inventory.hinted(Ask.ATTACHED)
        if is_new_block:
            self._inventory.hinted(Ask.VPC)
        return is_new_eni or is_new_group or is_new_block

    async def _compare_blocks(self, folder: str) -> bool:
        """IPv4 and IPv6 take turns."""
        inventory, asks_ipv6 = self._inventory, self._asks_ipv6
        self._asks_ipv6 = not asks_ipv6
        item = "vpc-ipv6-cidr-blocks" if asks_ipv6 else "vpc-ipv4-cidr-blocks"
        told = await self._service.items(folder + item, metadata.cidr)
        believed = inventory.vpc_ipv6_cidrs if asks_ipv6 else inventory.vpc_cidrs
        return self._is_worth_a_look(item, told, map(metadata.cidr, believed))

    def _is_worth_a_look(self, item: str, told: Iterable[str], believed: Iterable[str]) -> bool:
        """Counts polls that differ alike: the 1st, 2nd, 4th, 8th … of them counts, of a short list not the 1st."""
        shown, known = frozenset(told), frozenset(believed)
        before, polls = self._differences.get(item, (frozenset(), 0))
        difference = shown ^ known
        polls = polls + 1 if difference == before else 1
        self._differences[item] = (difference, polls)
        is_short = shown < known
        return bool(difference) and polls & (polls - 1) == 0 and not (is_short and polls == 1)
