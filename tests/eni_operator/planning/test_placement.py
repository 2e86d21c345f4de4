"""Where growth goes, on a c5.xlarge (4 ENIs of 14 slots) unless said otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_operator.domain.actions import (
    AssignAddresses,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    EnsureDeleteOnTermination,
    RemoveEni,
)
from eni_operator.domain.eni import AttachmentState, Eni, SubnetId
from eni_operator.domain.pool import Usage, World
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import SUBNET, attached, attachment_of, instance_of
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")
NO_SPARE: dict[str, Any] = {"warmIPs": 0}


def plan_of(world: World, *, now: float = 0.0, paused: bool = False, **policy: object) -> Plan:
    return plan(world, policy_of(paused=paused, **policy), now, "nonce")


def demand(pods: int) -> Usage:
    return Usage(pending=pods, reported=True)


def unattached(number: int, *, addresses: int = 0) -> Eni:
    return replace(attached(C5, number, addresses=addresses), attachment=None)


def created(decision: Plan) -> list[tuple[int, int, int]]:
    """Returns device index, addresses and prefixes of every new ENI; fails on any other action."""
    assert all(isinstance(action, CreateEni) for action in decision.actions)
    return [(a.device_index, a.addresses, a.prefixes) for a in decision.actions if isinstance(a, CreateEni)]


def test_growth_takes_one_step_over_all_enis() -> None:
    decision = plan_of(world_of("c5.xlarge", usage=demand(50)))
    assert [action for action in decision.actions if isinstance(action, AssignAddresses)] == [
        AssignAddresses(attached(C5, 0).id, 14)
    ]
    assert created(replace(decision, actions=decision.actions[1:])) == [(1, 14, 0), (2, 14, 0), (3, 9, 0)]


def test_the_fullest_eni_is_filled_first() -> None:
    world = world_of("c5.xlarge", attached(C5, 0, addresses=2), attached(C5, 1, addresses=10), usage=demand(17))
    assert plan_of(world, **NO_SPARE).actions == (
        AssignAddresses(attached(C5, 1).id, 4),
        AssignAddresses(attached(C5, 0).id, 1),
    )


def test_prefixes_come_whole() -> None:
    decision = plan_of(world_of("c5.xlarge", usage=demand(50)), mode="prefix")
    assert decision.actions == (AssignPrefixes(attached(C5, 0).id, 4),)


def test_a_new_eni_is_created_with_its_prefixes() -> None:
    world = world_of("c5.xlarge", attached(C5, 0, prefixes=14), usage=demand(230))
    limits = replace(C5, maximum_pods=300)
    assert created(plan_of(replace(world, instance=limits), mode="prefix", warmIPs=0)) == [(1, 0, 1)]


def test_a_new_eni_takes_the_lowest_free_device_index() -> None:
    world = world_of("c5.xlarge", attached(C5, 0, addresses=14), attached(C5, 2, addresses=14), usage=demand(29))
    assert created(plan_of(world, **NO_SPARE)) == [(1, 1, 0)]


def test_a_bare_eni_is_kept_attached_for_the_next_burst() -> None:
    assert created(plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=1)))) == [(1, 0, 0)]


def test_no_bare_eni_is_kept_where_slots_are_plenty() -> None:
    big = instance_of("p3dn.24xlarge")
    assert plan_of(world_of("p3dn.24xlarge", attached(big, 0, addresses=1))).actions == ()
    assert plan_of(world_of("c5.xlarge", attached(C5, 0, prefixes=1)), mode="prefix").actions == ()


def test_no_bare_eni_is_kept_for_more_pods_than_can_come() -> None:
    assert plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=1)), maximumPods=14).actions == ()


def test_no_bare_eni_takes_one_of_the_last_addresses_of_a_subnet() -> None:
    world = world_of("c5.xlarge", attached(C5, 0, addresses=1), subnet=replace(SUBNET, free_addresses=15))
    assert plan_of(world).actions == ()


def test_no_bare_eni_is_kept_under_a_warm_target() -> None:
    assert plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=5)), warmIPs=5).actions == ()


def test_an_eni_being_attached_is_supply_on_the_way() -> None:
    coming = replace(attached(C5, 1, addresses=6), attachment=attachment_of(C5, 1, AttachmentState.ATTACHING))
    world = world_of("c5.xlarge", attached(C5, 0, addresses=14), coming, usage=demand(20))
    assert plan_of(world, **NO_SPARE).actions == ()


def test_an_unattached_eni_of_ours_is_adopted_before_one_is_created() -> None:
    lost = unattached(7, addresses=3)
    decision = plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=14), lost, usage=demand(18)), **NO_SPARE)
    assert decision.actions == (AttachEni(lost.id, 1), AssignAddresses(lost.id, 1))


def test_the_richest_unattached_eni_is_adopted_and_the_others_removed() -> None:
    poor, rich = unattached(7), unattached(8, addresses=4)
    world = world_of("c5.xlarge", attached(C5, 0, addresses=14), poor, rich, usage=demand(18))
    assert plan_of(world, **NO_SPARE).actions == (AttachEni(rich.id, 1), RemoveEni(poor.id, None))


def test_an_unattached_eni_in_another_subnet_is_not_adopted() -> None:
    lost = replace(unattached(7), subnet_id=SubnetId("subnet-2"))
    decision = plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=1), lost))
    assert RemoveEni(lost.id, None) in decision.actions
    assert not any(isinstance(action, AttachEni) for action in decision.actions)


@pytest.mark.parametrize(
    "tags",
    [{}, {TAG_INSTANCE: "i-2"}, {TAG_INSTANCE: "i-1", TAG_NO_MANAGE: "true"}],
    ids=["no tag", "another instance's", "hands off"],
)
def test_an_unattached_eni_that_is_not_ours_is_left_alone(tags: dict[str, str]) -> None:
    lost = replace(unattached(7), tags=tags)
    decision = plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=5), lost), warmIPs=5)
    assert decision.actions == ()


def test_the_client_token_names_instance_device_index_and_generation() -> None:
    world = replace(world_of("c5.xlarge", attached(C5, 0, addresses=1)), generation=4)
    tokens = [action.client_token for action in plan_of(world).actions if isinstance(action, CreateEni)]
    assert tokens == ["i-1-1-4"]


def test_a_removal_in_the_same_plan_moves_the_generation_of_new_client_tokens() -> None:
    """The token may be the one of the ENI that is about to be deleted."""
    lost = replace(unattached(7), subnet_id=SubnetId("subnet-2"))
    decision = plan_of(replace(world_of("c5.xlarge", attached(C5, 0, addresses=1), lost), generation=4))
    assert decision.generation == 5
    assert [action.client_token for action in decision.actions if isinstance(action, CreateEni)] == ["i-1-1-5"]


def test_an_eni_of_ours_that_would_outlive_its_instance_is_told_not_to() -> None:
    attachment = replace(attachment_of(C5, 1), delete_on_termination=False)
    eni = replace(attached(C5, 1), attachment=attachment)
    decision = plan_of(world_of("c5.xlarge", attached(C5, 0, addresses=1), eni))
    assert decision.actions == (EnsureDeleteOnTermination(eni.id, attachment.id),)


@pytest.mark.parametrize("mode", ["secondary", "prefix"])
def test_an_exhausted_subnet_is_not_asked_before_its_time(mode: str) -> None:
    full = replace(SUBNET, exhausted_until=100.0)
    decision = plan_of(world_of("c5.xlarge", usage=demand(20), subnet=full), now=99.0, mode=mode)
    assert (decision.actions, decision.recheck_at) == ((), 100.0)
    assert plan_of(world_of("c5.xlarge", usage=demand(20), subnet=full), now=100.0, mode=mode).actions != ()


def test_a_fragmented_subnet_still_gives_single_addresses() -> None:
    world = world_of("c5.xlarge", usage=demand(10), subnet=replace(SUBNET, fragmented_until=100.0))
    assert plan_of(world, now=99.0, mode="prefix").actions == ()
    assert plan_of(world, now=99.0, mode="auto", warmIPs=0).actions == (AssignAddresses(attached(C5, 0).id, 10),)


def test_an_eni_in_another_subnet_grows_while_ours_is_exhausted() -> None:
    elsewhere = replace(attached(C5, 1), subnet_id=SubnetId("subnet-2"))
    world = world_of(
        "c5.xlarge", attached(C5, 0), elsewhere, usage=demand(5), subnet=replace(SUBNET, exhausted_until=100.0)
    )
    assert plan_of(world, now=0.0, **NO_SPARE).actions == (AssignAddresses(elsewhere.id, 5),)


def test_an_exhausted_subnet_does_not_keep_an_eni_from_being_adopted() -> None:
    lost = unattached(7, addresses=5)
    world = world_of("c5.xlarge", attached(C5, 0), lost, usage=demand(9), subnet=replace(SUBNET, exhausted_until=100.0))
    assert plan_of(world, now=0.0, **NO_SPARE).actions == (AttachEni(lost.id, 1),)


def test_nothing_is_done_while_paused() -> None:
    lost = unattached(7)
    decision = plan_of(world_of("c5.xlarge", attached(C5, 0), lost, usage=demand(20)), paused=True)
    assert decision.actions == ()


def test_a_leaving_node_only_stops_what_would_outlive_it() -> None:
    lost = unattached(7)
    decision = plan_of(replace(world_of("c5.xlarge", attached(C5, 0), lost, usage=demand(20)), leaving=True))
    assert decision.actions == (RemoveEni(lost.id, None),)
