"""Network cards: each managed one is a pool of its own. On an instance with two ENIs of four slots on each card."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.names import TAG_NO_MANAGE
from eni_operator.domain.actions import AssignAddresses, AttachEni, CreateEni, RemoveEni, SetSecurityGroups
from eni_operator.domain.eni import Eni, InterfaceType
from eni_operator.domain.instance import Instance, InstanceLimits
from eni_operator.domain.pool import CardUsage, Usage, World
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import attached, cidrs_of, instance_of
from eni_testing.pool_simulation import FakePool
from eni_testing.worlds import policy_of, world_of

LIMITS = InstanceLimits(enis=2, addresses_per_eni=5, prefixes=True, cards=(2, 2, 2))
MANY: Instance = replace(instance_of("m5.large"), limits=LIMITS)
PRIMARY = attached(MANY, 0, addresses=1)


def plan_of(world: World, **policy: Any) -> Plan:
    return plan(world, policy_of(**({"warmIPs": 0, "releaseAfterSeconds": 0} | policy)), 100.0, "nonce")


def world(*enis: Eni, usage: Usage | None = None, cards: tuple[int, ...] = (0, 1), **fields: Any) -> World:
    usage = usage or Usage(assigned=1, reported=True)
    return world_of("m5.large", *enis, instance=MANY, cards=cards, usage=usage, **fields)


def created(decision: Plan) -> list[CreateEni]:
    return [action for action in decision.actions if isinstance(action, CreateEni)]


def test_an_empty_card_gets_one_warm_address_on_its_first_device_index() -> None:
    decision = plan_of(world(PRIMARY, cards=(0, 1, 2), generation=3))
    assert [(a.network_card, a.device_index, a.addresses) for a in created(decision)] == [(1, 0, 1), (2, 0, 1)]
    assert [a.client_token for a in created(decision)] == ["i-1-1-0-3", "i-1-2-0-3"]
    assert decision.wanted == 3


def test_a_card_that_is_not_managed_is_left_alone() -> None:
    assert plan_of(world(PRIMARY, attached(MANY, 0, card=1), cards=(0,))).actions == ()


def test_a_card_is_told_of_before_its_eni_is_there() -> None:
    """A pod that asks for every card may be faster than EC2."""
    assert plan_of(world(PRIMARY, cards=(0, 1, 2))).cards == (0, 1, 2)
    assert plan_of(world(PRIMARY, cards=(0, 1, 2)), paused=True).cards == (0, 1, 2)
    efa_only = replace(attached(MANY, 0, card=1), interface_type=InterfaceType.EFA_ONLY)
    assert plan_of(world(PRIMARY, efa_only, cards=(0, 1, 2))).cards == (0, 2)


def test_a_card_that_nobody_will_give_an_eni_to_is_not_told_of() -> None:
    foreign = (replace(attached(MANY, index, card=1), tags={TAG_NO_MANAGE: "true"}) for index in range(2))
    assert plan_of(world(PRIMARY, *foreign, cards=(0, 1, 2))).cards == (0, 2)
    provided = world(PRIMARY, attached(MANY, 0, card=2, addresses=1), cards=(0, 1, 2))
    left_to_others = replace(policy_of(), provisioning=False)
    assert plan(provided, left_to_others, 100.0, "nonce").cards == (0, 2)


def test_each_card_follows_its_own_demand() -> None:
    other = attached(MANY, 0, card=1, addresses=3)
    usage = Usage(assigned=4, cooling=1, reported=True, cards={1: CardUsage(assigned=3, cooling=0)})
    decision = plan_of(world(PRIMARY, other, usage=usage))
    assert decision.actions == (AssignAddresses(PRIMARY.id, 1), AssignAddresses(other.id, 1))
    assert decision.wanted == 2 + 4


def test_targets_and_pods_that_wait_count_on_card_0_only() -> None:
    other = attached(MANY, 0, card=1, addresses=1)
    usage = Usage(assigned=1, pending=2, reported=True)
    assert plan_of(world(PRIMARY, other, usage=usage), warmIPs=1).actions == (AssignAddresses(PRIMARY.id, 3),)


def test_pods_that_want_every_card_are_waited_for_on_each_in_one_step() -> None:
    other = attached(MANY, 0, card=1, addresses=1)
    usage = Usage(assigned=1, pending=3, reported=True, cards={1: CardUsage(pending=2)})
    decision = plan_of(world(PRIMARY, other, usage=usage))
    assert decision.actions == (AssignAddresses(PRIMARY.id, 3), AssignAddresses(other.id, 2))


def test_a_surplus_on_a_card_is_released_there() -> None:
    other = attached(MANY, 0, card=1, addresses=3)
    usage = Usage(assigned=1, reported=True, idle=cidrs_of(other))
    assert set(plan_of(world(PRIMARY, other, usage=usage)).releasing) == {other.id}


def test_a_full_eni_is_joined_by_another_on_its_card_up_to_the_cards_limit() -> None:
    full = attached(MANY, 0, card=1, addresses=4)
    usage = Usage(assigned=5, reported=True, cards={1: CardUsage(assigned=4)})
    decision = plan_of(world(PRIMARY, full, usage=usage))
    assert [(a.network_card, a.device_index, a.addresses) for a in created(decision)] == [(1, 1, 1)]
    both = (PRIMARY, full, attached(MANY, 1, card=1, addresses=4))
    usage = Usage(assigned=9, reported=True, cards={1: CardUsage(assigned=8)})
    assert created(plan_of(world(*both, usage=usage))) == []


def test_a_card_with_an_efa_only_eni_alone_is_skipped() -> None:
    efa_only = replace(attached(MANY, 0, card=1), interface_type=InterfaceType.EFA_ONLY)
    assert plan_of(world(PRIMARY, efa_only)).actions == ()
    beside = attached(MANY, 1, card=1)
    assert plan_of(world(PRIMARY, efa_only, beside)).actions == (AssignAddresses(beside.id, 1),)


def test_an_unattached_eni_is_adopted_by_the_card_that_needs_it_and_removed_when_none_does() -> None:
    lost = replace(attached(MANY, 7, addresses=1), attachment=None)
    assert plan_of(world(PRIMARY, lost)).actions == (AttachEni(lost.id, 0, network_card=1),)
    served = world(PRIMARY, attached(MANY, 0, card=1, addresses=1), lost)
    assert plan_of(served).actions == (RemoveEni(lost.id, None),)


def test_the_ceiling_on_addresses_is_for_all_cards_together() -> None:
    usage = Usage(assigned=1, pending=3, reported=True)
    decision = plan_of(world(PRIMARY, usage=usage, cards=(0, 1, 2)), maximumIPs=5)
    assert decision.actions[0] == AssignAddresses(PRIMARY.id, 3)
    assert [(a.network_card, a.addresses) for a in created(decision)] == [(1, 1)]


def test_groups_follow_on_every_card() -> None:
    other = replace(attached(MANY, 0, card=1, addresses=1), security_groups=())
    decision = plan_of(world(PRIMARY, other, groups_follow=True))
    assert decision.actions == (SetSecurityGroups(other.id, ("sg-1",)),)  # type: ignore[arg-type]  # a SecurityGroupId


@pytest.mark.parametrize("mode", ["secondary", "prefix"])
def test_a_pool_on_several_cards_settles_and_shrinks(mode: str) -> None:
    pool = FakePool(MANY, policy_of(mode=mode, releaseBatch=2))
    pool.cards = (0, 1, 2)
    for number in range(6):
        pool.agent.add_pod(f"first-{number}")
        pool.agent.add_pod(f"second-{number}", card=1)
    settled = pool.settle()
    assert not pool.agent.pending
    assert settled.wanted == pool.held == (7 + 7 + 1 if mode == "secondary" else 3 * 16)
    for pod in tuple(pool.agent.assigned):
        pool.agent.delete_pod(pod, pool.now)
    pool.now += pool.agent.cooldown
    pool.settle()
    assert pool.held == (3 if mode == "secondary" else 48)
    assert pool.decide(pool.agent.usage()).actions == ()
