"""Composes the plan of one pool: what to ask of EC2, what to hand over, and why.

Decides nothing of its own but the order and when to look again. The plan depends on the world only; once it is
performed and the world has followed, the next plan has no action. Counterparts: ``controllers`` write ``releasing``,
``draining`` and ``generation``, and only then ``execution`` performs the actions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from eni_operator.domain.actions import Action, RemoveEni
from eni_operator.domain.eni import EniId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import Handover, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import capacity, card_plan, cards, ipv6, placement, reasons, upkeep
from eni_operator.planning.card_plan import CardPlan, Turn
from eni_operator.planning.holdings import is_managed


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole decision; ``releasing`` and ``draining`` replace what was written before."""

    actions: tuple[Action, ...]
    """In parallel across ENIs, in this order within one."""
    wanted: int
    """Pod addresses the pool grows or shrinks to, on all network cards."""
    cards: tuple[int, ...]
    """Network cards that have ENIs for pods or are to have them."""
    releasing: Mapping[EniId, tuple[Handover, ...]]
    """Every handshake under way, complete: one that is missing is cancelled."""
    draining: frozenset[EniId]
    """ENIs on their way out."""
    verdicts: tuple[Verdict, ...]
    recheck_at: float | None
    """When to plan again though nothing changes; None: only when something does."""
    surplus: bool
    """True while something could leave and waits for ``release_after_seconds``; the shell keeps since when."""
    maximum_pods: int
    """Pods the instance can address under the policy, those of the host's network included."""
    generation: int
    """To be written before the actions are performed; see ``eni_crds.nodeippool.Supply.generation``."""


def plan(world: World, policy: Policy, now: float, nonce: str) -> Plan:
    """Returns what to do now.

    Args:
        world: everything the decision depends on.
        policy: the policy in force.
        now: the instant, in Unix seconds, on the clock of ``surplus_since`` and of the subnets' back-offs.
        nonce: never used before; makes the tokens of new handshakes fresh.
    """
    turn = Turn(now, nonce, card_plan.due(world, policy, now))
    parts = tuple(_by_card(world, policy, turn))
    ending = (*(action for part in parts for action in part.ending), *_outliving(world, policy, parts))
    generation = world.generation + any(isinstance(action, RemoveEni) for action in ending)
    maximum_pods = capacity.addressable_pods(parts[0].world, policy, parts[0].grain)
    return Plan(
        actions=(*_growth(parts, generation), *ending, *_upkeep(world, policy, now)),
        wanted=sum(part.target.wanted for part in parts),
        cards=tuple(part.held.card for part in parts if _has_enis(part)),
        releasing=_releasing(world, parts),
        draining=_draining(world, parts),
        verdicts=reasons.verdicts(world, policy, parts, now, maximum_pods=maximum_pods),
        recheck_at=_recheck_at(world, parts, turn),
        surplus=any(part.surplus for part in parts),
        maximum_pods=maximum_pods,
        generation=generation,
    )


def _by_card(world: World, policy: Policy, turn: Turn) -> Iterator[CardPlan]:
    """Yields the plan of each card; the earlier ones take first of what all share."""
    held = {card: _held_on(card, world) for card in cards.planned(world)}
    adopted: frozenset[EniId] = frozenset()
    batch = policy.release_batch
    for card in tuple(held):
        elsewhere = sum(addresses for other, addresses in held.items() if other != card)
        asked = replace(cards.policy_of(card, policy, elsewhere), release_batch=batch)
        part = card_plan.decide(card, cards.world_of(card, world, adopted), asked, turn)
        adopted |= part.growth.adopted
        held[card] += part.growth.slots_filled * part.grain.size
        batch = None if batch is None else batch - part.begun
        yield part


def _held_on(card: int, world: World) -> int:
    return sum(eni.pod_addresses for eni in world.enis if is_managed(eni, world) and eni.network_card == card)


def _has_enis(part: CardPlan) -> bool:
    """Tells whether a card has ENIs for pods, or will: each gets one, unless somebody else takes care of them."""
    return bool(part.held.serving) or (part.room > 0 and part.policy.provisioning)


def _growth(parts: tuple[CardPlan, ...], generation: int) -> Iterator[Action]:
    """Yields growth first of all, because pods wait for it."""
    for part in parts:
        yield from placement.actions(part.growth, part.world, part.policy, part.grain, generation)


def _outliving(world: World, policy: Policy, parts: tuple[CardPlan, ...]) -> tuple[Action, ...]:
    if policy.is_halted:
        return ()
    adopted = frozenset(eni_id for part in parts for eni_id in part.growth.adopted)
    return tuple(upkeep.outliving(world, adopted))


def _upkeep(world: World, policy: Policy, now: float) -> Iterator[Action]:
    """Yields what keeps attached ENIs as they should be; a leaving node is left as it is."""
    if policy.is_halted or world.leaving:
        return
    if not world.unschedulable:
        yield from ipv6.assignments(world, policy, now)
    yield from upkeep.upkeep(world)


def _releasing(world: World, parts: tuple[CardPlan, ...]) -> dict[EniId, tuple[Handover, ...]]:
    """An ENI that was given up keeps its handshakes until it is gone, so that the agent never takes it back."""
    serving = [holding for part in parts for holding in part.held.serving]
    under_way = {holding.eni.id: holding.handshakes for holding in serving if holding.handshakes}
    gone = [eni.id for part in parts for eni in part.held.given_up if eni.id in world.releasing]
    return under_way | {eni_id: world.releasing[eni_id] for eni_id in gone}


def _draining(world: World, parts: tuple[CardPlan, ...]) -> frozenset[EniId]:
    """Returns the ENIs on their way out, gone ones forgotten."""
    staying = {holding.eni.id for part in parts for holding in part.held.staying}
    begun = {holding.eni.id for part in parts for holding in part.held.serving if holding.draining}
    return frozenset(begun | {eni.id for eni in world.enis if eni.id in world.draining and eni.id not in staying})


def _recheck_at(world: World, parts: tuple[CardPlan, ...], turn: Turn) -> float | None:
    """Returns the earliest instant at which a surplus falls due, a back-off ends, or a finished drain can go on."""
    named = {*world.candidates, *(eni.subnet_id for eni in world.enis)}
    asked = [world.subnets[subnet_id] for subnet_id in named if subnet_id in world.subnets]
    ends = [until for subnet in asked for until in (subnet.exhausted_until, subnet.fragmented_until)]
    instants = [until for until in ends if until > turn.now]
    if any(part.surplus for part in parts):
        instants.append(turn.due)
    if any(part.postponed for part in parts) or any(
        holding.draining and holding.is_let_go for part in parts for holding in part.held.serving
    ):
        instants.append(turn.now)
    return min(instants, default=None)
