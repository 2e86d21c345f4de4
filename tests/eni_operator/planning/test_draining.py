"""Addresses that pods must leave while they have them: of excluded ENIs, and of the former mode. On a t3.small."""

from dataclasses import replace
from typing import Any

from eni_operator.domain.actions import AssignAddresses, AssignPrefixes, RemoveEni, Unassign
from eni_operator.domain.eni import Eni, EniId, InterfaceType
from eni_operator.domain.pool import Handover, Usage, World
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import attached, cidrs_of, instance_of
from eni_testing.pool_simulation import FakePool
from eni_testing.worlds import policy_of, world_of

T3 = instance_of("t3.small")
PRIMARY, SECOND = EniId("eni-0"), EniId("eni-1")
WHY = "its subnet is tagged out"


def plan_of(world: World, **policy: Any) -> Plan:
    return plan(world, policy_of(**({"warmIPs": 0, "releaseAfterSeconds": 0} | policy)), 100.0, "nonce")


def under_way(eni: Eni, *cidrs: str) -> dict[EniId, tuple[Handover, ...]]:
    return {eni.id: tuple(Handover(cidr, "t1") for cidr in cidrs)}


def releasing_cidrs(decision: Plan) -> set[str]:
    return {handover.cidr for handovers in decision.releasing.values() for handover in handovers}


def in_use(count: int, *, pending: int = 0, **fields: Any) -> Usage:
    return Usage(assigned=count, pending=pending, reported=True, **fields)


def test_an_excluded_eni_enters_the_handshake_with_its_pods_at_once_and_is_not_grown() -> None:
    first, second = attached(T3, 0, addresses=1), attached(T3, 1, addresses=2)
    usage = in_use(2, pending=1, idle=("10.0.1.11/32",))
    decision = plan_of(world_of("t3.small", first, second, usage=usage, excluded={SECOND: WHY}), releaseAfterSeconds=60)
    assert releasing_cidrs(decision) == set(cidrs_of(second))
    assert decision.actions == (AssignAddresses(PRIMARY, 1),)
    assert decision.draining == frozenset()


def test_each_cidr_of_an_excluded_eni_goes_back_when_its_last_pod_has_gone() -> None:
    second = attached(T3, 1, addresses=2)
    one, other = under_way(second, *cidrs_of(second))[SECOND]
    usage = in_use(1, released=frozenset({other}), leaving={one: 1})
    world = world_of(
        "t3.small", attached(T3, 0), second, usage=usage, excluded={SECOND: WHY}, releasing={SECOND: (one, other)}
    )
    assert plan_of(world).actions == (Unassign(SECOND, addresses=("10.0.1.11",), prefixes=()),)


def test_an_excluded_eni_of_ours_leaves_when_it_is_empty() -> None:
    world = world_of("t3.small", attached(T3, 0), attached(T3, 1), excluded={SECOND: WHY})
    marked = plan_of(world)
    assert marked.draining == {SECOND}
    gone = plan_of(replace(world, draining=marked.draining))
    assert [type(action) for action in gone.actions] == [RemoveEni]


def test_an_excluded_primary_foreign_eni_or_efa_never_leaves_but_its_addresses_do() -> None:
    first, theirs = attached(T3, 0, addresses=1), attached(T3, 1, addresses=1, tags={})
    efa = replace(attached(T3, 2, addresses=1), interface_type=InterfaceType.EFA)
    everything = (*cidrs_of(first), *cidrs_of(theirs), *cidrs_of(efa))
    excluded = dict.fromkeys((eni.id for eni in (first, theirs, efa)), WHY)
    decision = plan_of(world_of("t3.small", first, theirs, efa, usage=in_use(0, idle=everything), excluded=excluded))
    assert (releasing_cidrs(decision), decision.draining) == (set(everything), frozenset())
    bare = tuple(replace(eni, addresses=()) for eni in (first, theirs, efa))
    assert plan_of(world_of("t3.small", *bare, usage=in_use(0), excluded=excluded)).draining == frozenset()


def test_pods_on_an_excluded_eni_count_as_exactly_what_they_are_once_the_agent_has_told() -> None:
    first, second = attached(T3, 0, prefixes=1), attached(T3, 1, prefixes=1)
    releasing = under_way(second, *second.prefixes)
    usage = in_use(20, leaving={releasing[SECOND][0]: 6})
    world = world_of("t3.small", first, second, usage=usage, excluded={SECOND: WHY}, releasing=releasing)
    assert plan_of(world, mode="prefix").actions == (AssignPrefixes(PRIMARY, 1),)
    assert plan_of(replace(world, usage=replace(usage, assigned=16)), mode="prefix").actions == ()


def test_an_unanswered_handshake_counts_in_full_where_pods_had_the_cidr_and_nothing_where_it_was_idle() -> None:
    first, second = attached(T3, 0, prefixes=1), attached(T3, 1, prefixes=1)
    world = world_of(
        "t3.small",
        first,
        second,
        usage=in_use(20),
        excluded={SECOND: WHY},
        releasing=under_way(second, *second.prefixes),
    )
    assert plan_of(world, mode="prefix").actions == ()
    idle = replace(world, usage=in_use(20, idle=second.prefixes))
    assert plan_of(idle, mode="prefix").actions == (AssignPrefixes(PRIMARY, 1),)


def test_a_surplus_a_pod_slipped_into_is_taken_back() -> None:
    eni = attached(T3, 0, addresses=3)
    releasing = under_way(eni, "10.0.0.12/32")
    usage = in_use(2, idle=("10.0.0.11/32",), leaving={releasing[PRIMARY][0]: 1})
    decision = plan_of(world_of("t3.small", eni, usage=usage, releasing=releasing))
    assert releasing_cidrs(decision) == {"10.0.0.11/32"}


def test_what_pods_must_leave_is_not_taken_back_though_it_is_needed() -> None:
    first, second = attached(T3, 0), attached(T3, 1, addresses=1)
    releasing = under_way(second, "10.0.1.10/32")
    usage = in_use(1, pending=2, leaving={releasing[SECOND][0]: 1})
    world = world_of("t3.small", first, second, usage=usage, releasing=releasing, excluded={SECOND: WHY})
    assert (plan_of(world).releasing, plan_of(world).actions) == (releasing, (AssignAddresses(PRIMARY, 2),))
    assert plan_of(replace(world, excluded={})).releasing == {}


def test_prefixes_pods_have_leave_after_a_change_to_single_addresses_once_those_are_there() -> None:
    eni = attached(T3, 0, prefixes=1)
    grown = plan_of(world_of("t3.small", eni, usage=in_use(12)), warmIPs=2)
    assert (grown.actions, grown.releasing) == ((AssignAddresses(PRIMARY, 2),), {})
    there = replace(eni, addresses=("10.0.0.10", "10.0.0.11"))
    usage = in_use(12, idle=("10.0.0.10/32", "10.0.0.11/32"))
    assert releasing_cidrs(plan_of(world_of("t3.small", there, usage=usage), warmIPs=2)) == set(eni.prefixes)


def test_nothing_is_released_on_account_of_pods_the_agent_has_not_counted_yet() -> None:
    """The prefix may have sixteen pods or one: until the agent says, the two idle addresses stay."""
    eni = replace(attached(T3, 0, prefixes=1), addresses=("10.0.0.10", "10.0.0.11"))
    usage = in_use(12, idle=("10.0.0.10/32", "10.0.0.11/32"))
    world = world_of("t3.small", eni, usage=usage, releasing=under_way(eni, *eni.prefixes))
    decision = plan_of(world, warmIPs=2)
    assert (decision.releasing, decision.actions) == (world.releasing, ())


def test_a_pool_moves_from_one_mode_to_the_other_as_its_pods_do() -> None:
    pool = FakePool(instance_of("m5.large"), policy_of(mode="prefix"))
    for number in range(20):
        pool.agent.add_pod(f"old-{number}")
    pool.settle()
    assert pool.held == 32
    pool.policy = policy_of(mode="secondary")
    pool.settle()
    assert pool.held == 33
    for number in range(20):
        pool.agent.delete_pod(f"old-{number}", pool.now)
        pool.agent.add_pod(f"new-{number}")
        pool.now += pool.agent.cooldown
        pool.settle()
    assert (pool.held, [eni.prefixes for eni in pool.ec2.enis.values()]) == (21, [()] * len(pool.ec2.enis))


def test_no_new_pod_gets_an_address_of_an_excluded_eni_while_the_old_ones_stay() -> None:
    pool = FakePool(T3, policy_of(mode="prefix"))
    for number in range(10):
        pool.agent.add_pod(f"old-{number}")
    pool.settle()
    pool.excluded = {PRIMARY: WHY}
    pool.settle()
    pool.agent.add_pod("new")
    pool.settle()
    assert not pool.agent.pending
    assert str(pool.agent.assigned["new"]) not in {str(pool.agent.assigned[f"old-{n}"]) for n in range(10)}
    assert pool.ec2.enis[PRIMARY].prefixes
    for number in range(10):
        pool.agent.delete_pod(f"old-{number}", pool.now)
    pool.now += pool.agent.cooldown
    pool.settle()
    assert pool.ec2.enis[PRIMARY].prefixes == ()
