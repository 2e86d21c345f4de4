"""IPv6: one /80 on every ENI pods may use, on a c5.xlarge."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.conditions import ConditionType, Reason
from eni_operator.domain.actions import AssignAddresses, AssignIpv6Prefix, CreateEni
from eni_operator.domain.eni import Eni, SubnetId
from eni_operator.domain.pool import Usage, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import SUBNET, attached, instance_of
from eni_testing.pool_simulation import FakePool
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")
DUAL, ALONE = ["IPv4", "IPv6"], ["IPv6"]
WITH_IPV6 = replace(SUBNET, ipv6_cidr="2001:db8::/64")
PRIMARY = attached(C5, 0)
WHY = "custom networking"


def plan_of(world: World, families: list[str] = ALONE, **policy: Any) -> Plan:
    return plan(world, policy_of(families=families, **policy), 0.0, "nonce")


def world(*enis: Eni, **fields: Any) -> World:
    fields = {"subnets": (WITH_IPV6,)} | fields
    return world_of(fields.pop("type_", "c5.xlarge"), *enis, **fields)


def served(eni: Eni) -> Eni:
    return replace(eni, ipv6_prefixes=("2001:db8:0:0:1::/80",))


def verdict(decision: Plan, type_: ConditionType) -> Verdict:
    return next(verdict for verdict in decision.verdicts if verdict.type is type_)


def test_under_ipv6_alone_the_primary_gets_one_prefix_and_nothing_else_is_held() -> None:
    usage = Usage(assigned=40, pending=5, reported=True)
    decision = plan_of(world(PRIMARY, usage=usage), warmIPs=5)
    assert (decision.actions, decision.wanted) == ((AssignIpv6Prefix(PRIMARY.id),), 0)
    done = plan_of(world(served(PRIMARY), usage=usage), warmIPs=5)
    assert done.actions == ()
    assert verdict(done, ConditionType.READY).reason is Reason.POOL_READY
    assert verdict(done, ConditionType.OVERCOMMITTED).status is False


def test_under_ipv6_alone_an_excluded_primary_is_replaced_by_one_eni() -> None:
    decision = plan_of(world(PRIMARY, excluded={PRIMARY.id: WHY}))
    [action] = decision.actions
    assert isinstance(action, CreateEni)
    assert (action.device_index, action.addresses, action.prefixes, action.ipv6_prefixes) == (1, 0, 0, 1)
    second = served(attached(C5, 1))
    assert plan_of(world(PRIMARY, second, excluded={PRIMARY.id: WHY})).actions == ()


def test_under_ipv6_alone_no_eni_is_taken_off() -> None:
    enis = [served(attached(C5, number)) for number in range(3)]
    decision = plan_of(world(*enis))
    assert (decision.actions, decision.draining) == ((), frozenset())


def test_dual_stack_is_the_ipv4_law_and_a_prefix_on_each_eni() -> None:
    enis = (served(attached(C5, 0, addresses=14)), attached(C5, 1, addresses=1))
    usage = Usage(assigned=15, pending=2, reported=True)
    decision = plan_of(world(*enis, usage=usage), DUAL, warmIPs=0)
    assert decision.actions == (AssignAddresses(enis[1].id, 2), AssignIpv6Prefix(enis[1].id))
    grown = plan_of(world(served(attached(C5, 0, addresses=14)), usage=usage), DUAL, warmIPs=0)
    assert [a.ipv6_prefixes for a in grown.actions if isinstance(a, CreateEni)] == [1]


def test_new_enis_come_from_subnets_with_an_ipv6_block_where_there_are_any() -> None:
    plain = replace(SUBNET, id=SubnetId("subnet-2"))
    primary = attached(C5, 0, addresses=14)
    usage = Usage(assigned=14, pending=1, reported=True)
    both = world(served(primary), usage=usage, subnets=(plain, WITH_IPV6))
    assert [a.subnet_id for a in plan_of(both, DUAL, warmIPs=0).actions if isinstance(a, CreateEni)] == [WITH_IPV6.id]
    only_plain = replace(both, candidates=(plain.id,))
    assert [a.ipv6_prefixes for a in plan_of(only_plain, DUAL, warmIPs=0).actions if isinstance(a, CreateEni)] == [0]
    assert not any(isinstance(a, CreateEni) for a in plan_of(replace(only_plain, excluded={primary.id: WHY})).actions)


@pytest.mark.parametrize("families", [DUAL, ALONE], ids=["dual", "alone"])
def test_an_eni_in_a_subnet_without_an_ipv6_block_is_skipped_and_the_subnet_named(families: list[str]) -> None:
    decision = plan_of(world(attached(C5, 0, addresses=2), subnets=(SUBNET,)), families, maximumENIs=1)
    assert not any(isinstance(action, AssignIpv6Prefix) for action in decision.actions)
    sufficient = verdict(decision, ConditionType.SUFFICIENT)
    assert (sufficient.status, sufficient.reason) == (False, Reason.NO_IPV6_SUBNET)
    assert "subnet-1 (10.0.0.0/16) has no IPv6 block" in sufficient.message


def test_an_eni_in_a_subnet_that_refuses_prefixes_waits() -> None:
    resting = replace(WITH_IPV6, fragmented_until=100.0)
    decision = plan_of(world(PRIMARY, subnets=(resting,)))
    assert (decision.actions, decision.recheck_at) == ((), 100.0)
    assert "refuses prefixes until 1970-01-01T00:01:40Z" in verdict(decision, ConditionType.SUFFICIENT).message


def test_where_no_candidate_has_an_ipv6_block_that_is_said() -> None:
    decision = plan_of(world(PRIMARY, subnets=(SUBNET,), excluded={PRIMARY.id: WHY}))
    ready = verdict(decision, ConditionType.READY)
    assert (ready.status, ready.reason) == (False, Reason.NO_IPV6_SUBNET)
    assert "none of the subnets for new ENIs has an IPv6 block: subnet-1" in ready.message


def test_a_type_without_prefixes_gives_no_ipv6() -> None:
    decision = plan_of(world(attached(instance_of("t2.micro"), 0), type_="t2.micro"))
    assert decision.actions == ()
    assert verdict(decision, ConditionType.READY).reason is Reason.PREFIXES_UNSUPPORTED


@pytest.mark.parametrize("families", [DUAL, ALONE], ids=["dual", "alone"])
def test_a_pool_with_ipv6_settles_with_a_prefix_on_every_eni(families: list[str]) -> None:
    pool = FakePool(C5, policy_of(families=families), subnets=(WITH_IPV6,))
    for number in range(20 if "IPv4" in families else 0):
        pool.agent.add_pod(f"pod-{number}")
    pool.settle()
    assert not pool.agent.pending
    assert all(len(eni.ipv6_prefixes) == 1 for eni in pool.ec2.enis.values())
    assert len(pool.ec2.enis) == (3 if "IPv4" in families else 1)
