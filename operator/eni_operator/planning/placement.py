"""Where growth goes: onto attached ENIs, then onto ENIs of ours that lie unattached, then onto new ones.

Decides which ENI gets how much and on which device index a new one sits. Does not decide how much (``capacity``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice

from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    EnsureDeleteOnTermination,
    RemoveEni,
)
from eni_operator.domain.eni import Eni, EniId, SecurityGroupId
from eni_operator.domain.pool import World
from eni_operator.planning import capacity
from eni_operator.planning.capacity import Grain, Target
from eni_operator.planning.holdings import SERVING_STATES, Holdings, cidrs_of, is_ours


@dataclass(frozen=True, slots=True)
class Opening:
    """One more ENI on the instance."""

    device_index: int
    adopted: Eni | None
    """Ours, unattached; None: to be created."""
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

    def actions(self, world: World, grain: Grain, generation: int) -> Iterator[Action]:
        """Yields the calls, those that serve pods soonest first."""
        for eni_id, slots in self.slots.items():
            yield _assign(eni_id, slots, grain)
        for opening in self.openings:
            yield from _open(world, grain, opening, generation)


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


def grow(world: World, holdings: Holdings, target: Target, grain: Grain, *, room: int, now: float) -> Growth:
    """Returns what brings the pool to ``wanted`` in one step, and a bare ENI where the burst asks for one.

    Args:
        world: where new ENIs go and what lies unattached.
        holdings: what is held, handshakes already taken back or begun.
        target: how much to hold.
        grain: what slots are filled with.
        room: ENIs that can still be attached.
        now: the instant, for the subnet's back-offs.
    """
    refused = now < refused_until(world, grain)
    missing = _slots_missing(holdings, target, grain)
    slots = _assign_slots(world, holdings, missing, refused=refused)
    on_the_way = sum(len(holding.let_go) for holding in holdings.staying)
    shortage = _Shortage(missing - sum(slots.values()) - on_the_way, _burst_short(world, holdings, target, grain))
    return Growth(slots, tuple(_openings(world, grain, shortage, _free_devices(holdings, room), refused=refused)))


def _burst_short(world: World, holdings: Holdings, target: Target, grain: Grain) -> int:
    """Counts free slots short of the burst; a subnet that is nearly full keeps its last addresses for pods."""
    if not target.burst_slots or world.subnet.free_addresses < capacity.BURST:
        return 0
    return target.burst_slots - capacity.spare_slots(holdings, grain, target)


def refused_until(world: World, grain: Grain) -> float:
    """Returns from which instant on the subnet for new ENIs may be asked for one slot's worth."""
    subnet = world.subnet
    return max(subnet.exhausted_until, subnet.fragmented_until) if grain.size > 1 else subnet.exhausted_until


def _assign_slots(world: World, holdings: Holdings, missing: int, *, refused: bool) -> dict[EniId, int]:
    """Returns the slots to fill by ENI, the fullest first: so pods end up on few ENIs.

    The back-off is the subnet's; an ENI in another subnet may still grow.
    """
    slots: dict[EniId, int] = {}
    for holding in sorted(holdings.staying, key=lambda holding: (-holding.eni.slots_used, holding.device_index)):
        share = min(holding.slots_free, missing)
        if share > 0 and not (refused and holding.eni.subnet_id == world.subnet.id):
            slots[holding.eni.id] = share
            missing -= share
    return slots


def _slots_missing(holdings: Holdings, target: Target, grain: Grain) -> int:
    """Counts slots to fill now; addresses in a handshake still count against the ceiling on what is held."""
    missing = grain.slots(target.wanted - capacity.supply(holdings, grain))
    if target.maximum_ips is not None:
        missing = min(missing, (target.maximum_ips - holdings.addresses) // grain.size)
    return max(0, missing)


def _openings(
    world: World, grain: Grain, shortage: _Shortage, devices: Iterable[int], *, refused: bool
) -> Iterator[Opening]:
    """Yields the ENIs to attach, all at once and each on its own device index.

    Ours that lie unattached come first: they ask nothing of a subnet that refuses.
    """
    slots_per_eni = world.instance.limits.slots_per_eni
    unattached = _adoptable(world, grain)
    for device_index in devices:
        if not shortage or (refused and not unattached):
            return
        adopted = unattached.pop(0) if unattached else None
        held = 0 if adopted is None else len(cidrs_of(adopted))
        right = 0 if adopted is None else _right(adopted, grain)
        slots = 0 if refused else max(0, min(slots_per_eni - held, shortage.slots - right))
        yield Opening(device_index, adopted, slots)
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
        and eni.subnet_id == world.subnet.id
        and eni.id not in world.draining
    )
    return sorted(candidates, key=lambda eni: (-_right(eni, grain), eni.id))


def _right(eni: Eni, grain: Grain) -> int:
    return sum(1 for cidr in cidrs_of(eni) if not grain.is_wrong(cidr))


def _free_devices(holdings: Holdings, room: int) -> Iterator[int]:
    """Yields the lowest device indexes on card 0 that nobody has, as many as ENIs can still be attached."""
    return islice((index for index in count(1) if index not in holdings.devices_taken), room)


def _assign(eni_id: EniId, slots: int, grain: Grain) -> AssignAddresses | AssignPrefixes:
    return AssignAddresses(eni_id, slots) if grain.size == 1 else AssignPrefixes(eni_id, slots)


def _open(world: World, grain: Grain, opening: Opening, generation: int) -> Iterator[Action]:
    """Yields what brings one more ENI: created with its addresses, or attached and then filled."""
    if opening.adopted is None:
        yield _create(world, grain, opening, generation)
        return
    yield AttachEni(opening.adopted.id, opening.device_index)
    if opening.slots:
        yield _assign(opening.adopted.id, opening.slots, grain)


def _create(world: World, grain: Grain, opening: Opening, generation: int) -> CreateEni:
    return CreateEni(
        device_index=opening.device_index,
        subnet_id=world.subnet.id,
        security_groups=tuple(SecurityGroupId(group) for group in world.security_groups),
        addresses=opening.slots if grain.size == 1 else 0,
        prefixes=opening.slots if grain.size > 1 else 0,
        client_token=f"{world.instance.id}-{opening.device_index}-{generation}",
        tags=world.tags,
    )


def remove_unattached(world: World, adopted: frozenset[EniId]) -> Iterator[RemoveEni]:
    """Yields the removal of unattached ENIs of ours that are not adopted: termination would not free them."""
    for eni in world.enis:
        if eni.attachment is None and is_ours(eni, world.instance) and eni.id not in adopted:
            yield RemoveEni(eni.id, None)


def let_die_with_instance(world: World) -> Iterator[EnsureDeleteOnTermination]:
    """Yields the attached ENIs of ours that would outlive their instance."""
    for eni in world.enis:
        attachment = eni.attachment
        if (
            attachment is None
            or eni.is_primary
            or attachment.delete_on_termination
            or attachment.state not in SERVING_STATES
        ):
            continue
        if is_ours(eni, world.instance) and attachment.instance_id == world.instance.id:
            yield EnsureDeleteOnTermination(eni.id, attachment.id)
