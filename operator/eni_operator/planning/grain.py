"""What slots are filled with: single addresses or /28 prefixes.

Decides the grain of a pool from its mode, its type, and in mode ``auto`` from what the subnets give. Does not decide
how many slots (``capacity``) or where (``placement``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eni_crds.nodeippool import Mode
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX, SubnetId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning import subnet_choice
from eni_operator.planning.holdings import Holdings, size


@dataclass(frozen=True, slots=True)
class Grain:
    """What one slot of an ENI is filled with."""

    size: int
    """Pod addresses a slot gives: one or sixteen."""
    exclusive: bool
    """True: CIDRs of the other size are not wanted and leave."""

    def in_prefixes(self) -> "Grain":
        """Returns the grain of a pool that minds no kind when prefixes can be had, every other one as it is."""
        return self if self.exclusive else Grain(ADDRESSES_PER_PREFIX, exclusive=False)

    def is_wrong(self, cidr: str) -> bool:
        """Tells whether the mode does not want this CIDR."""
        return self.exclusive and size(cidr) != self.size

    def slots(self, addresses: int) -> int:
        """Returns the slots that give this many addresses; negative when there are too many."""
        return -(-addresses // self.size)

    def whole(self, addresses: int) -> int:
        """Returns the addresses in the slots that give at least this many."""
        return self.slots(addresses) * self.size


def choose(world: World, policy: Policy, holdings: Holdings, *, room: int, now: float) -> Grain:
    """Returns the grain; ``auto`` minds neither kind.

    It takes prefixes as long as any place the pool can grow in gives them, single addresses where none does but one
    gives those, and asks for prefixes again as soon as a back-off ends.
    """
    if not world.instance.limits.prefixes or policy.mode is Mode.SECONDARY:
        return Grain(1, exclusive=True)
    if policy.mode is Mode.PREFIX:
        return Grain(ADDRESSES_PER_PREFIX, exclusive=True)
    places = frozenset(_places(world, holdings, room)) or frozenset(h.eni.subnet_id for h in holdings.usable)
    gives = {grain: any(subnet_choice.gives(world, p, grain, now) for p in places) for grain in (1, 16)}
    return Grain(1 if gives[1] and not gives[16] else ADDRESSES_PER_PREFIX, exclusive=False)


def _places(world: World, holdings: Holdings, room: int) -> Iterator[SubnetId]:
    """Yields the subnets that growth can come from: those of ENIs with free slots, and candidates for one more ENI."""
    yield from (holding.eni.subnet_id for holding in holdings.usable if holding.slots_free)
    if room:
        yield from world.candidates
