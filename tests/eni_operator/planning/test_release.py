"""What leaves and how, on a t3.small (3 ENIs of 3 slots) unless said otherwise."""

from dataclasses import replace

import pytest

from eni_operator.domain.actions import AssignAddresses, RemoveEni, Unassign
from eni_operator.domain.eni import AttachmentState, Eni, EniId
from eni_operator.domain.pool import Handover, Usage, World
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import attached, attachment_of, cidrs_of, instance_of
from eni_testing.worlds import policy_of, world_of

T3 = instance_of("t3.small")
PRIMARY, SECOND, THIRD = EniId("eni-0"), EniId("eni-1"), EniId("eni-2")


def plan_of(world: World, *, now: float = 100.0, nonce: str = "nonce", paused: bool = False, **policy: object) -> Plan:
    fields = {"warmIPs": 0, "releaseAfterSeconds": 0} | policy
    return plan(world, policy_of(paused=paused, **fields), now, nonce)


def usage(
    assigned: int = 0, *, idle: tuple[str, ...] = (), released: tuple[Handover, ...] = (), cooling: int = 0
) -> Usage:
    return Usage(assigned=assigned, cooling=cooling, idle=idle, released=frozenset(released), reported=True)


def handing_over(eni: Eni, *, token: str = "t1") -> dict[EniId, tuple[Handover, ...]]:
    return {eni.id: tuple(Handover(cidr, token) for cidr in cidrs_of(eni))}


def releasing_cidrs(decision: Plan) -> set[str]:
    return {handover.cidr for handovers in decision.releasing.values() for handover in handovers}


def test_a_surplus_enters_the_handshake_and_is_not_unassigned_yet() -> None:
    eni = attached(T3, 0, addresses=3)
    decision = plan_of(world_of("t3.small", eni, usage=usage(1, idle=cidrs_of(eni)[1:])))
    assert releasing_cidrs(decision) == set(cidrs_of(eni)[1:])
    assert decision.actions == ()


def test_the_least_useful_idle_cidr_leaves_first() -> None:
    eni = attached(T3, 0, addresses=3)
    decision = plan_of(world_of("t3.small", eni, usage=usage(2, idle=("10.0.0.11/32", "10.0.0.12/32"))))
    assert releasing_cidrs(decision) == {"10.0.0.11/32"}


def test_a_surplus_must_last() -> None:
    eni = attached(T3, 0, addresses=2)
    world = world_of("t3.small", eni, usage=usage(1, idle=cidrs_of(eni)[1:]))
    first = plan_of(world, now=100.0, releaseAfterSeconds=5)
    assert (first.surplus, first.releasing, first.recheck_at) == (True, {}, 105.0)
    later = replace(world, surplus_since=100.0)
    assert plan_of(later, now=104.9, releaseAfterSeconds=5).releasing == {}
    due = plan_of(later, now=105.0, releaseAfterSeconds=5)
    assert (releasing_cidrs(due), due.surplus, due.recheck_at) == ({"10.0.0.11/32"}, False, None)


def test_cooling_addresses_are_held_and_not_free() -> None:
    eni = attached(T3, 0, addresses=3)
    decision = plan_of(world_of("t3.small", eni, usage=usage(1, cooling=1, idle=cidrs_of(eni)[2:])))
    assert releasing_cidrs(decision) == {"10.0.0.12/32"}


def test_a_warm_target_is_never_released() -> None:
    eni = attached(T3, 0, addresses=3)
    decision = plan_of(world_of("t3.small", eni, usage=usage(1, idle=cidrs_of(eni)[1:])), warmIPs=2)
    assert decision.releasing == {}


def test_a_prefix_leaves_only_whole() -> None:
    eni = attached(T3, 0, prefixes=2)
    half = world_of("t3.small", eni, usage=usage(17, idle=()))
    assert plan_of(half, mode="prefix").releasing == {}
    empty = world_of("t3.small", eni, usage=usage(3, idle=("10.1.0.16/28",)))
    assert releasing_cidrs(plan_of(empty, mode="prefix")) == {"10.1.0.16/28"}


def test_the_emptiest_eni_with_the_highest_device_index_gives_first() -> None:
    first, second, third = (attached(T3, n, addresses=3) for n in range(3))
    idle = (*cidrs_of(first)[1:], *cidrs_of(second)[1:], *cidrs_of(third))
    decision = plan_of(world_of("t3.small", first, second, third, usage=usage(2, idle=idle)), warmIPs=2)
    assert releasing_cidrs(decision) == {*cidrs_of(third), *cidrs_of(second)[1:]}
    assert decision.draining == frozenset({THIRD})


def test_a_whole_eni_drains_and_leaves_without_unassigning_one_by_one() -> None:
    first, second = attached(T3, 0, addresses=1), attached(T3, 1, addresses=2)
    world = world_of("t3.small", first, second, usage=usage(1, idle=cidrs_of(second)))
    marked = plan_of(world)
    assert (marked.draining, marked.actions) == (frozenset({SECOND}), ())
    answered = replace(
        world,
        releasing=marked.releasing,
        draining=marked.draining,
        usage=usage(1, released=marked.releasing[SECOND]),
    )
    gone = plan_of(answered, nonce="other")
    assert second.attachment is not None
    assert gone.actions == (RemoveEni(SECOND, second.attachment.id),)
    assert (gone.generation, gone.draining, gone.releasing) == (1, frozenset({SECOND}), marked.releasing)


def test_a_drain_waits_for_its_last_answer() -> None:
    first, second = attached(T3, 0, addresses=1), attached(T3, 1, addresses=2)
    releasing = handing_over(second)
    world = world_of(
        "t3.small",
        first,
        second,
        usage=usage(1, released=releasing[SECOND][:1]),
        releasing=releasing,
        draining=frozenset({SECOND}),
    )
    decision = plan_of(world)
    assert (decision.actions, decision.draining) == ((), frozenset({SECOND}))


def test_a_bare_eni_nobody_needs_is_marked_then_removed() -> None:
    first, bare = attached(T3, 0, addresses=1), attached(T3, 1)
    marked = plan_of(world_of("t3.small", first, bare, usage=usage(1)))
    assert (marked.draining, marked.actions, marked.recheck_at) == (frozenset({SECOND}), (), 100.0)
    written = world_of("t3.small", first, bare, usage=usage(1), draining=marked.draining)
    assert [type(action) for action in plan_of(written).actions] == [RemoveEni]


def test_one_bare_eni_stays_for_the_burst_and_a_second_one_leaves() -> None:
    first, bare, barer = attached(T3, 0, addresses=1), attached(T3, 1), attached(T3, 2)
    decision = plan_of(world_of("t3.small", first, bare, barer, usage=usage()), warmIPs=None)
    assert decision.draining == frozenset({THIRD})


def test_the_slots_of_the_burst_keep_an_eni_whose_addresses_leave() -> None:
    first, second = attached(T3, 0, addresses=1), attached(T3, 1, addresses=2)
    world = world_of("t3.small", first, second, usage=usage(idle=cidrs_of(second)))
    decision = plan_of(world, warmIPs=None)
    assert (releasing_cidrs(decision), decision.draining) == (set(cidrs_of(second)), frozenset())


def test_an_eni_without_our_tag_is_used_and_never_removed() -> None:
    first, theirs = attached(T3, 0, addresses=1), attached(T3, 1, tags={})
    assert plan_of(world_of("t3.small", first, theirs, usage=usage(1))).draining == frozenset()
    grown = plan_of(world_of("t3.small", first, theirs, usage=usage(4)))
    assert grown.actions == (AssignAddresses(PRIMARY, 2), AssignAddresses(SECOND, 1))


def test_only_an_answer_with_the_current_token_unassigns() -> None:
    eni = attached(T3, 0, addresses=2)
    world = world_of("t3.small", eni, releasing={PRIMARY: (Handover("10.0.0.11/32", "t2"),)})
    stale = replace(world, usage=usage(1, released=(Handover("10.0.0.11/32", "t1"),)))
    assert plan_of(stale).actions == ()
    current = replace(world, usage=usage(1, released=(Handover("10.0.0.11/32", "t2"),)))
    assert plan_of(current).actions == (Unassign(PRIMARY, addresses=("10.0.0.11",), prefixes=()),)


def test_an_answer_to_a_cancelled_handshake_unassigns_nothing() -> None:
    eni = attached(T3, 0, addresses=2)
    answer = Handover("10.0.0.11/32", "t1")
    assert plan_of(world_of("t3.small", eni, usage=usage(2, released=(answer,)))).actions == ()


def test_a_handshake_begun_again_has_another_token() -> None:
    eni = attached(T3, 0, addresses=2)
    world = world_of("t3.small", eni, usage=usage(1, idle=("10.0.0.11/32",)))
    assert plan_of(world, nonce="n1").releasing != plan_of(world, nonce="n2").releasing


def test_a_handshake_under_way_keeps_its_token() -> None:
    eni = attached(T3, 0, addresses=2)
    releasing = {PRIMARY: (Handover("10.0.0.11/32", "t1"),)}
    world = world_of("t3.small", eni, usage=usage(1), releasing=releasing)
    assert plan_of(world, nonce="other").releasing == releasing


def test_a_new_need_cancels_handshakes_instead_of_assigning() -> None:
    eni = attached(T3, 0, addresses=3)
    releasing = {PRIMARY: (Handover("10.0.0.11/32", "t1"), Handover("10.0.0.12/32", "t1"))}
    idle = ("10.0.0.12/32", "10.0.0.11/32")
    decision = plan_of(world_of("t3.small", eni, usage=usage(2, idle=idle), releasing=releasing))
    assert (releasing_cidrs(decision), decision.actions) == ({"10.0.0.12/32"}, ())


def test_a_new_need_stops_a_drain() -> None:
    first, second = attached(T3, 0, addresses=3), attached(T3, 1, addresses=2)
    world = world_of(
        "t3.small",
        first,
        second,
        usage=usage(4, idle=cidrs_of(second)),
        releasing=handing_over(second),
        draining=frozenset({SECOND}),
    )
    decision = plan_of(world)
    assert (releasing_cidrs(decision), decision.draining, decision.actions) == ({"10.0.1.11/32"}, frozenset(), ())


def test_what_the_agent_has_let_go_is_never_taken_back() -> None:
    """EC2 may have it already: the call may have succeeded though its answer was lost."""
    eni = attached(T3, 0, addresses=3)
    releasing = {PRIMARY: (Handover("10.0.0.12/32", "t1"),)}
    world = world_of("t3.small", eni, usage=usage(3, released=releasing[PRIMARY]), releasing=releasing)
    decision = plan_of(world)
    assert decision.releasing == releasing
    assert decision.actions == (Unassign(PRIMARY, addresses=("10.0.0.12",), prefixes=()),)


def test_an_eni_is_not_assigned_to_and_unassigned_from_in_one_plan() -> None:
    eni = attached(T3, 0, addresses=2)
    releasing = {PRIMARY: (Handover("10.0.0.11/32", "t1"),)}
    world = world_of("t3.small", eni, usage=usage(2, released=releasing[PRIMARY]), releasing=releasing)
    assert plan_of(world).actions == (AssignAddresses(PRIMARY, 1),)


def test_slots_about_to_come_free_are_waited_for_instead_of_a_new_eni() -> None:
    eni = attached(T3, 0, addresses=3)
    releasing = {PRIMARY: (Handover("10.0.0.12/32", "t1"),)}
    world = world_of("t3.small", eni, usage=usage(3, released=releasing[PRIMARY]), releasing=releasing)
    assert [type(action) for action in plan_of(world).actions] == [Unassign]


def test_a_handshake_for_a_cidr_that_is_gone_is_forgotten() -> None:
    eni = attached(T3, 0, addresses=1)
    world = world_of("t3.small", eni, usage=usage(1), releasing={PRIMARY: (Handover("10.0.0.99/32", "t1"),)})
    assert plan_of(world).releasing == {}


def test_a_removal_interrupted_after_the_detach_is_finished_and_not_adopted() -> None:
    lost = replace(attached(T3, 1, addresses=2), attachment=None)
    world = world_of("t3.small", attached(T3, 0), lost, usage=usage(3), draining=frozenset({SECOND}))
    decision = plan_of(world)
    assert RemoveEni(SECOND, None) in decision.actions
    assert decision.draining == frozenset({SECOND})


def test_an_eni_that_is_detaching_already_is_only_deleted() -> None:
    going = replace(attached(T3, 1), attachment=attachment_of(T3, 1, AttachmentState.DETACHING))
    world = world_of("t3.small", attached(T3, 0, addresses=1), going, usage=usage(1), draining=frozenset({SECOND}))
    assert plan_of(world).actions == (RemoveEni(SECOND, None),)


@pytest.mark.parametrize("why", ["never reported", "fell silent", "paused", "leaving"])
def test_nothing_new_is_released_while(why: str) -> None:
    eni = attached(T3, 0, addresses=3)
    told = replace(usage(1, idle=cidrs_of(eni)[1:]), reported=why != "never reported")
    told = replace(told, silent_since=50.0 if why == "fell silent" else None)
    world = world_of("t3.small", eni, usage=told, leaving=why == "leaving")
    decision = plan_of(world, paused=why == "paused")
    assert (decision.releasing, decision.surplus, decision.actions) == ({}, False, ())


def test_nothing_is_changed_where_the_environment_forbids_provisioning() -> None:
    eni = attached(T3, 0, addresses=2)
    policy = replace(policy_of(warmIPs=0, releaseAfterSeconds=0), provisioning=False)
    for told in (usage(0, idle=cidrs_of(eni)), replace(usage(2), pending=9)):
        decision = plan(world_of("t3.small", eni, attached(T3, 1), usage=told, tags={"a": "b"}), policy, 100.0, "nonce")
        assert (decision.actions, decision.releasing, decision.draining) == ((), {}, frozenset())


def test_a_silent_agent_does_not_keep_the_pool_from_growing_or_ending_what_it_let_go() -> None:
    eni = attached(T3, 0, addresses=2)
    told = replace(usage(1, released=(Handover("10.0.0.11/32", "t1"),)), silent_since=50.0)
    world = world_of("t3.small", eni, usage=told, releasing={PRIMARY: (Handover("10.0.0.11/32", "t1"),)})
    assert [type(action) for action in plan_of(world).actions] == [Unassign]
    assert plan_of(replace(world, usage=replace(told, pending=1))).actions == (AssignAddresses(PRIMARY, 1),)


def test_a_cordoned_node_gives_addresses_back_but_neither_grows_nor_loses_an_eni() -> None:
    first, second = attached(T3, 0, addresses=2), attached(T3, 1, addresses=2)
    idle = (*cidrs_of(second), "10.0.0.11/32")
    world = world_of("t3.small", first, second, usage=usage(1, idle=idle), unschedulable=True)
    begun = plan_of(world)
    assert (releasing_cidrs(begun), begun.draining, begun.actions) == (set(idle), frozenset(), ())
    bare = world_of("t3.small", first, attached(T3, 1), usage=usage(2), unschedulable=True)
    assert (plan_of(bare).draining, plan_of(replace(bare, draining=frozenset({SECOND}))).actions) == (frozenset(), ())
    assert plan_of(replace(bare, usage=replace(usage(2), pending=5))).actions == ()


def test_nodes_of_a_fleet_release_at_different_instants() -> None:
    eni = attached(T3, 0, addresses=2)
    world = world_of("t3.small", eni, usage=usage(1, idle=cidrs_of(eni)[1:]), surplus_since=100.0)
    ends = {
        spread: plan_of(replace(world, spread=spread), releaseAfterSeconds=5).recheck_at for spread in (0.0, 0.5, 1.0)
    }
    assert ends == {0.0: 105.0, 0.5: 105.5, 1.0: 106.0}


def test_a_batch_bounds_what_one_turn_gives_back_and_the_next_turn_waits_anew() -> None:
    eni = attached(T3, 0, addresses=3)
    world = world_of("t3.small", eni, usage=usage(0, idle=cidrs_of(eni)), surplus_since=90.0)
    decision = plan_of(world, releaseBatch=2, releaseAfterSeconds=5)
    assert releasing_cidrs(decision) == {"10.0.0.10/32", "10.0.0.11/32"}
    assert (decision.surplus, decision.recheck_at) == (False, 100.0)
    rest = replace(world, releasing=decision.releasing, surplus_since=None)
    assert (plan_of(rest, releaseBatch=2, releaseAfterSeconds=5).recheck_at) == 105.0


def test_an_eni_leaves_only_with_the_batch_that_takes_its_last_cidr() -> None:
    first, second = attached(T3, 0, addresses=1), attached(T3, 1, addresses=2)
    world = world_of("t3.small", first, second, usage=usage(1, idle=cidrs_of(second)))
    begun = plan_of(world, releaseBatch=1)
    assert (len(releasing_cidrs(begun)), begun.draining) == (1, frozenset())
    ended = plan_of(replace(world, releasing=begun.releasing), releaseBatch=1)
    assert (len(releasing_cidrs(ended)), ended.draining) == (2, frozenset({SECOND}))


@pytest.mark.parametrize("why", ["silent", "paused", "leaving"])
def test_nothing_let_go_is_unassigned_while(why: str) -> None:
    eni = attached(T3, 0, addresses=2)
    releasing = {PRIMARY: (Handover("10.0.0.11/32", "t1"),)}
    answered = replace(usage(1, released=releasing[PRIMARY]), reported=why != "silent")
    world = world_of("t3.small", eni, usage=answered, releasing=releasing, leaving=why == "leaving")
    decision = plan_of(world, paused=why == "paused")
    assert (decision.actions, decision.releasing) == ((), releasing)


def test_a_paused_pool_still_takes_handshakes_back() -> None:
    """It costs no call and gives waiting pods their address."""
    eni = attached(T3, 0, addresses=2)
    releasing = {PRIMARY: (Handover("10.0.0.11/32", "t1"),)}
    world = world_of("t3.small", eni, usage=usage(2, idle=("10.0.0.11/32",)), releasing=releasing)
    assert plan_of(world, paused=True).releasing == {}


def test_after_a_mode_change_single_addresses_in_use_are_supply_and_all_leave_once_prefixes_are_there() -> None:
    singles = attached(T3, 0, addresses=2)
    waiting = plan_of(world_of("t3.small", singles, usage=usage(1, idle=cidrs_of(singles)[1:])), mode="prefix")
    assert waiting.releasing == {}
    both = attached(T3, 0, addresses=2, prefixes=1)
    served = plan_of(world_of("t3.small", both, usage=usage(1, idle=("10.0.0.11/32", "10.1.0.0/28"))), mode="prefix")
    assert (releasing_cidrs(served), served.actions) == ({"10.0.0.10/32", "10.0.0.11/32"}, ())


def test_idle_addresses_of_the_wrong_kind_make_room_where_no_eni_can_come() -> None:
    singles = attached(T3, 0, addresses=3)
    world = world_of("t3.small", singles, usage=usage(1, idle=cidrs_of(singles)[1:]))
    decision = plan_of(world, mode="prefix", maximumENIs=1)
    assert releasing_cidrs(decision) == {"10.0.0.11/32"}
