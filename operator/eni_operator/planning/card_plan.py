"""Plans the pool of one network card: what to hold, what to let go, what to ask for.

Decides the order: handshakes are taken back before anything is released or asked for. Its world is one card's
(``cards``); what all cards come to, ENIs' upkeep and conditions are ``plan``'s.
"""

from dataclasses import dataclass
from typing import Final

from eni_crds.nodeippool import Family
from eni_operator.domain.actions import Action, RemoveEni
from eni_operator.domain.eni import EniId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning import capacity, grain, holdings, placement, release, subnet_choice, supply
from eni_operator.planning.capacity import Target
from eni_operator.planning.grain import Grain
from eni_operator.planning.holdings import Holdings
from eni_operator.planning.placement import Growth
from eni_operator.planning.subnet_choice import Offers

SPREAD: Final = 0.2
"""Part of ``releaseAfterSeconds`` over which the nodes of a fleet are spread."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is the same for every card of one plan."""

    now: float
    nonce: str
    due: float
    """When a surplus has lasted long enough."""


@dataclass(frozen=True, slots=True)
class CardPlan:
    """One card's part of a plan."""

    world: World
    """What the card sees."""
    policy: Policy
    grain: Grain
    target: Target
    held: Holdings
    """What is held once the plan's handshakes are begun."""
    supply: int
    """Addresses pods may have, before anything new is released."""
    room: int
    """ENIs that can still be attached."""
    offers: Offers
    growth: Growth
    ending: tuple[Action, ...]
    """What ends handshakes in EC2."""
    begun: int
    """CIDRs whose handshake begins in this plan."""
    surplus: bool
    """Something could leave and waits to fall due."""
    postponed: bool
    """Something could leave now but for the batch."""


@dataclass(frozen=True, slots=True)
class _Released:
    """What is left of the holdings once handshakes are begun."""

    held: Holdings
    begun: int = 0
    surplus: bool = False
    postponed: bool = False


def due(world: World, policy: Policy, now: float) -> float:
    """Returns when the surplus of now has lasted long enough to leave, later on some nodes than on others."""
    since = now if world.surplus_since is None else world.surplus_since
    return since + policy.release_after_seconds * (1 + SPREAD * world.spread)


def decide(card: int, world: World, policy: Policy, turn: Turn) -> CardPlan:
    """Returns the plan of one card.

    Args:
        card: the network card.
        world: what the card sees.
        policy: what is asked of the card; ``release_batch`` is what other cards have left of it.
        turn: the plan's instant and nonce.
    """
    held = holdings.sort(world, card)
    room = capacity.eni_room(world, policy, held)
    filling = grain.choose(world, policy, held, room=room, now=turn.now)
    target = capacity.target(world, policy, filling, held)
    held = release.take_back(held, target, filling)
    have = supply.most(held, filling)
    released = _release(world, policy, held, target, filling, turn)
    offers = subnet_choice.offers(world, policy, filling.size, turn.now)
    growth = _grow(world, policy, released.held, target, filling, offers)
    return CardPlan(
        world=world,
        policy=policy,
        grain=filling,
        target=target,
        held=released.held,
        supply=have,
        room=room,
        offers=offers,
        growth=growth,
        ending=_end(world, policy, released.held, growth),
        begun=released.begun,
        surplus=released.surplus,
        postponed=released.postponed,
    )


def _release(world: World, policy: Policy, held: Holdings, target: Target, grain: Grain, turn: Turn) -> _Released:
    """Begins handshakes: for what is excluded at once, for a surplus when it is due, no more than the batch at a time.

    What is left over of a batch waits for its own turn: it falls due anew.
    """
    if not _may_begin(world, policy):
        return _Released(held)
    barred = release.excluded(held)
    over = release.surplus(held, target, grain, room=capacity.eni_room(world, policy, held))
    is_due = turn.due <= turn.now
    asked = (*barred, *over) if is_due else barred
    chosen = asked if policy.release_batch is None else asked[: policy.release_batch]
    held = release.begin(held, chosen, turn.nonce)
    enis = _empty_enis(world, policy, release.begin(held, () if is_due else over, turn.nonce), target, grain)
    if is_due:
        held = release.drain(held, enis)
    return _Released(
        held=held,
        begun=len(chosen),
        surplus=not is_due and bool(over or enis),
        postponed=len(chosen) < len(asked),
    )


def _may_begin(world: World, policy: Policy) -> bool:
    """Nothing more is released while halted or leaving, or while no agent says what is in use."""
    usage = world.usage
    return not policy.is_halted and not world.leaving and usage.reported and usage.silent_since is None


def _empty_enis(world: World, policy: Policy, held: Holdings, target: Target, grain: Grain) -> frozenset[EniId]:
    """A cordoned node keeps its ENIs; under IPv6 alone nobody says whether an ENI's /80 is in use."""
    if world.unschedulable or Family.IPV4 not in policy.families:
        return frozenset()
    return release.empty_enis(held, target, grain)


def _grow(world: World, policy: Policy, held: Holdings, target: Target, grain: Grain, offers: Offers) -> Growth:
    if policy.is_halted or world.leaving or world.unschedulable:
        return placement.NO_GROWTH
    return placement.grow(world, held, target, grain, room=capacity.eni_room(world, policy, held), offers=offers)


def _end(world: World, policy: Policy, held: Holdings, growth: Growth) -> tuple[Action, ...]:
    """Ends handshakes in EC2; a cordoned node keeps its ENIs, a leaving one is left as it is."""
    if policy.is_halted or world.leaving or not world.usage.reported:
        return ()
    ending = release.finish(held, growing=frozenset(growth.slots))
    return tuple(action for action in ending if not (world.unschedulable and isinstance(action, RemoveEni)))
