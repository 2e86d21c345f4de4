"""Composes the plan of one pool: what to ask of EC2, what to hand over, and why.

Decides nothing of its own but the order and when to look again. The plan depends on the world only; once it is
performed and the world has followed, the next plan has no action. Counterparts: ``controllers`` write ``releasing``,
``draining`` and ``generation``, and only then ``execution`` performs the actions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from eni_operator.domain.actions import Action, RemoveEni
from eni_operator.domain.eni import EniId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import Handover, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import capacity, holdings, placement, reasons, release
from eni_operator.planning.capacity import Grain, Target
from eni_operator.planning.holdings import Holdings
from eni_operator.planning.placement import Growth
from eni_operator.planning.reasons import Standing
from eni_operator.planning.release import Surplus


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole decision; ``releasing`` and ``draining`` replace what was written before."""

    actions: tuple[Action, ...]
    """In parallel across ENIs, in this order within one."""
    wanted: int
    """Pod addresses the pool grows or shrinks to."""
    releasing: Mapping[EniId, tuple[Handover, ...]]
    """Every handshake under way, complete: one that is missing is cancelled."""
    draining: frozenset[EniId]
    """ENIs on their way out."""
    verdicts: tuple[Verdict, ...]
    recheck_at: float | None
    """When to plan again though nothing changes; None: only when something does."""
    surplus: bool
    """True while something could leave and waits for ``release_after_seconds``; the shell keeps since when."""
    generation: int
    """To be written before the actions are performed; see ``eni_crds.nodeippool.Supply.generation``."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is done: growth first, because pods wait for it."""

    growth: Growth
    ending: tuple[Action, ...]


_NO_GROWTH: Final = Growth({}, ())


def plan(world: World, policy: Policy, now: float, nonce: str) -> Plan:
    """Returns what to do now.

    Args:
        world: everything the decision depends on.
        policy: the policy in force.
        now: the instant, in Unix seconds, on the clock of ``surplus_since`` and of the subnet's back-offs.
        nonce: never used before; makes the tokens of new handshakes fresh.
    """
    grain = capacity.grain(policy, world.instance.limits, fragmented=now < world.subnet.fragmented_until)
    held = holdings.sort(world)
    target = capacity.target(world, policy, grain, held)
    held = release.take_back(held, target, grain)
    supply = capacity.supply(held, grain)
    surplus = _surplus(world, policy, held, target, grain)
    due = (now if world.surplus_since is None else world.surplus_since) + policy.release_after_seconds
    if surplus and due <= now:
        held, surplus = release.begin(held, surplus, nonce), Surplus()
    steps = _steps(world, policy, held, target, grain, now)
    generation = world.generation + any(isinstance(step, RemoveEni) for step in steps.ending)
    return Plan(
        actions=(*steps.growth.actions(world, grain, generation), *steps.ending),
        wanted=target.wanted,
        releasing=_releasing(world, held),
        draining=_draining(world, held),
        verdicts=reasons.verdicts(Standing(world, policy, target, grain, supply, now)),
        recheck_at=_recheck_at(world, held, now, due=due if surplus else None),
        surplus=bool(surplus),
        generation=generation,
    )


def _surplus(world: World, policy: Policy, held: Holdings, target: Target, grain: Grain) -> Surplus:
    """Nothing is released while paused or leaving, or before an agent has said what is in use."""
    if policy.paused or world.leaving or not world.usage.reported:
        return Surplus()
    return release.choose(held, target, grain, room=capacity.eni_room(world, policy, held))


def _steps(world: World, policy: Policy, held: Holdings, target: Target, grain: Grain, now: float) -> _Steps:
    """Nothing is done while paused; a leaving node only stops what would outlive it."""
    if policy.paused:
        return _Steps(_NO_GROWTH, ())
    if world.leaving:
        return _Steps(_NO_GROWTH, tuple(_outliving(world, _NO_GROWTH)))
    room = capacity.eni_room(world, policy, held)
    growth = placement.grow(world, held, target, grain, room=room, now=now)
    released = release.finish(held, growing=frozenset(growth.slots)) if world.usage.reported else ()
    return _Steps(growth, (*released, *_outliving(world, growth)))


def _outliving(world: World, growth: Growth) -> Iterator[Action]:
    yield from placement.let_die_with_instance(world)
    yield from placement.remove_unattached(world, growth.adopted)


def _releasing(world: World, held: Holdings) -> dict[EniId, tuple[Handover, ...]]:
    """An ENI that was given up keeps its handshakes until it is gone, so that the agent never takes it back."""
    under_way = {holding.eni.id: holding.handshakes for holding in held.serving if holding.handshakes}
    return under_way | {eni.id: world.releasing.get(eni.id, ()) for eni in held.given_up if eni.id in world.releasing}


def _draining(world: World, held: Holdings) -> frozenset[EniId]:
    """Returns the ENIs on their way out, gone ones forgotten."""
    staying = {holding.eni.id for holding in held.staying}
    begun = {holding.eni.id for holding in held.serving if holding.draining}
    return frozenset(begun | {eni.id for eni in world.enis if eni.id in world.draining and eni.id not in staying})


def _recheck_at(world: World, held: Holdings, now: float, *, due: float | None) -> float | None:
    """Returns the earliest instant at which a surplus falls due, a back-off ends, or a finished drain can go on."""
    instants = [until for until in (world.subnet.exhausted_until, world.subnet.fragmented_until) if until > now]
    if due is not None:
        instants.append(due)
    if any(holding.draining and len(holding.handshakes) == len(holding.let_go) for holding in held.serving):
        instants.append(now)
    return min(instants, default=None)
