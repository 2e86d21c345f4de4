"""Where growth goes: onto attached ENIs, then onto ENIs of ours that lie unattached, then onto new ones.

Decides which ENI gets how much and on which device index a new one sits. Does not decide how much (``capacity``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

from eni_operator.domain.actions import Action, AssignAddresses, AssignPrefixes, AttachEni, CreateEni
from eni_operator.domain.eni import Eni, EniId, SecurityGroupId, SubnetId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning import capacity, supply
from eni_operator.planning.capacity import Target
from eni_operator.planning.grain import Grain
from eni_operator.planning.holdings import Holdings, cidrs_of, is_ours
from eni_operator.planning.ipv6 import takes_ipv6
from eni_operator.planning.subnet_choice import Offers


@dataclass(frozen=True, slots=True)
class Opening:
    """One more ENI on the instance."""

    network_card: int
    device_index: int
    adopted: Eni | None
    """Ours, unattached; None: to be created."""
    subnet_id: SubnetId
    slots: int
    """Slots to fill on it; zero on a bare ENI."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What is asked of EC2 so that the pool grows."""

    slots: Mapping[EniId, int]
    """Slots to fill on attached ENIs."""
    openings: tuple[Opening, ...]

    @property
    def adopted(self) -> frozenset[EniId]:
        """Returns the unattached ENIs that get attached."""
        return frozenset(opening.adopted.id for opening in self.openings if opening.adopted is not None)

    @property
    def slots_filled(self) -> int:
        """Counts the slots to fill on all ENIs."""
        return sum(self.slots.values()) + sum(opening.slots for opening in self.openings)


@dataclass(frozen=True, slots=True)
class _Shortage:
    """What the attached ENIs cannot take."""

    slots: int
    """Slots of the need."""
    burst_slots: int
    """Free slots beyond the need."""

    def __bool__(self) -> bool:
        """Tells whether one more ENI is asked for."""
        return self.slots > 0 or self.burst_slots > 0


NO_GROWTH: Final = Growth({}, ())


def grow(world: World, holdings: Holdings, target: Target, grain: Grain, *, room: int, offers: Offers) -> Growth:
    """Returns what brings the pool to ``wanted`` in one step, and a bare ENI where the burst asks for one.

    Args:
        world: what lies unattached.
        holdings: what is held, handshakes already taken back or begun.
        target: how much to hold.
        grain: what slots are filled with.
        room: ENIs that can still be attached.
        offers: what the subnets give now.
    """
    missing = _slots_missing(holdings, target, grain)
    slots: dict[EniId, int] = {}
    for holding in sorted(holdings.usable, key=lambda holding: (-holding.eni.slots_used, holding.device_index)):
        share = offers.slots(holding.eni.subnet_id, min(holding.slots_free, missing))
        if share > 0:
            slots[holding.eni.id] = share
            missing -= share
            offers = offers.taking(holding.eni.subnet_id, share * grain.size)
    on_the_way = sum(len(holding.let_go) for holding in holdings.usable)
    burst_short = target.burst_slots - capacity.spare_slots(holdings, grain, target) if target.burst_slots else 0
    shortage = _Shortage(missing - on_the_way, burst_short)
    openings = _openings(world, target, grain, shortage, _free_places(holdings, room), offers)
    return Growth(slots, tuple(openings))


def _slots_missing(holdings: Holdings, target: Target, grain: Grain) -> int:
    """Counts slots to fill now; addresses in a handshake still count against the ceiling on what is held."""
    missing = grain.slots(target.wanted - supply.most(holdings, grain))
    if target.maximum_ips is not None:
        missing = min(missing, (target.maximum_ips - holdings.addresses) // grain.size)
    return max(0, missing)


def _openings(
    world: World,
    target: Target,
    grain: Grain,
    shortage: _Shortage,
    places: Iterator[tuple[int, int]],
    offers: Offers,
) -> Iterator[Opening]:
    """Yields the ENIs to attach, all at once and each on its own device index.

    Ours that lie unattached come first: they ask nothing of a subnet. A new one takes its primary address too.
    """
    slots_per_eni = world.instance.limits.slots_per_eni
    unattached = _adoptable(world, grain)
    for network_card, device_index in places:
        if not shortage:
            return
        adopted = unattached.pop(0) if unattached else None
        held = 0 if adopted is None else len(cidrs_of(adopted))
        right = 0 if adopted is None else _right(adopted, grain)
        asked = max(0, min(slots_per_eni - held, shortage.slots - right))
        best = offers.best(asked, least=0 if asked else target.bare_least) if adopted is None else adopted.subnet_id
        if best is None:
            return
        slots = offers.slots(best, asked, besides=int(adopted is None))
        yield Opening(network_card, device_index, adopted, best, slots)
        offers = offers.taking(best, slots * grain.size + int(adopted is None))
        shortage = _Shortage(shortage.slots - slots - right, shortage.burst_slots - slots_per_eni + held - right)


def _adoptable(world: World, grain: Grain) -> list[Eni]:
    """Returns our unattached ENIs that would do for a new one, the richest first.

    One whose removal was begun is not revived: its handshakes are over.
    """
    candidates = (
        eni
        for eni in world.enis
        if eni.attachment is None
        and is_ours(eni, world.instance)
        and eni.subnet_id in world.candidates
        and eni.id not in world.draining
        and eni.id not in world.excluded
    )
    return sorted(candidates, key=lambda eni: (-_right(eni, grain), eni.id))


def _right(eni: Eni, grain: Grain) -> int:
    return sum(1 for cidr in cidrs_of(eni) if not grain.is_wrong(cidr))


def _free_places(holdings: Holdings, room: int) -> Iterator[tuple[int, int]]:
    """Yields card and the lowest device indexes that nobody has, as many as ENIs can still be attached.

    Index 0 of card 0 is the primary's.
    """
    first = 1 if holdings.card == 0 else 0
    free = ((holdings.card, index) for index in count(first) if index not in holdings.devices_taken)
    return islice(free, room)


def actions(growth: Growth, world: World, policy: Policy, grain: Grain, generation: int) -> Iterator[Action]:
    """Yields the calls of a growth, those that serve pods soonest first.

    Args:
        growth: what is asked for.
        world: what new ENIs are made like.
        policy: which families pods get.
        grain: what slots are filled with.
        generation: part of client tokens; see ``eni_crds.nodeippool.Supply.generation``.
    """
    for eni_id, slots in growth.slots.items():
        yield _assign(eni_id, slots, grain)
    for opening in growth.openings:
        if opening.adopted is None:
            yield _create(opening, world, policy, grain, generation)
            continue
        yield AttachEni(opening.adopted.id, opening.device_index, opening.network_card)
        if opening.slots:
            yield _assign(opening.adopted.id, opening.slots, grain)


def _assign(eni_id: EniId, slots: int, grain: Grain) -> AssignAddresses | AssignPrefixes:
    return AssignAddresses(eni_id, slots) if grain.size == 1 else AssignPrefixes(eni_id, slots)


def _create(opening: Opening, world: World, policy: Policy, grain: Grain, generation: int) -> CreateEni:
    card = f"{opening.network_card}-" if opening.network_card else ""
    return CreateEni(
        device_index=opening.device_index,
        subnet_id=opening.subnet_id,
        security_groups=tuple(SecurityGroupId(group) for group in world.security_groups),
        addresses=opening.slots if grain.size == 1 else 0,
        prefixes=opening.slots if grain.size > 1 else 0,
        client_token=f"{world.instance.id}-{card}{opening.device_index}-{generation}",
        tags=world.tags,
        network_card=opening.network_card,
        ipv6_prefixes=int(takes_ipv6(world, policy, opening.subnet_id)),
    )
