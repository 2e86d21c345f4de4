"""Each cause gives its machine reason and a sentence that names the thing, the figure and the next try."""

from dataclasses import replace

from eni_crds.conditions import ConditionType, Reason
from eni_operator.domain.pool import Usage, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning.plan import plan
from eni_testing.pool_simulation import SUBNET, attached, instance_of
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")
NOON = 1_800_014_400.0
"""2027-01-15T12:00:00Z."""


def verdicts(world: World, *, paused: bool = False, **policy: object) -> dict[ConditionType, Verdict]:
    decision = plan(world, policy_of(paused=paused, **policy), NOON, "nonce")
    return {verdict.type: verdict for verdict in decision.verdicts}


def served(addresses: int = 11, assigned: int = 10) -> World:
    return world_of("c5.xlarge", attached(C5, 0, addresses=addresses), usage=Usage(assigned=assigned, reported=True))


def test_a_pool_in_order_is_ready_sufficient_and_not_affected_by_anything() -> None:
    found = verdicts(served())
    assert {type_: (v.status, v.reason) for type_, v in found.items()} == {
        ConditionType.READY: (True, Reason.POOL_READY),
        ConditionType.SUFFICIENT: (True, Reason.ADDRESSES_AVAILABLE),
        ConditionType.SUBNET_EXHAUSTED: (False, Reason.NOT_AFFECTED),
        ConditionType.PREFIX_FRAGMENTED: (False, Reason.NOT_AFFECTED),
        ConditionType.LIMIT_REACHED: (False, Reason.NOT_AFFECTED),
        ConditionType.OVERCOMMITTED: (False, Reason.NOT_AFFECTED),
    }


def test_a_pool_whose_pods_wait_is_not_ready_and_growing() -> None:
    found = verdicts(served(assigned=14))
    assert (found[ConditionType.READY].status, found[ConditionType.READY].reason) == (False, Reason.GROWING)
    assert (found[ConditionType.SUFFICIENT].status, found[ConditionType.SUFFICIENT].reason) == (True, Reason.GROWING)
    assert found[ConditionType.SUFFICIENT].message == "growing from 11 to 15 addresses"


def test_a_silent_agent_is_the_reason() -> None:
    ready = verdicts(world_of("c5.xlarge", usage=Usage()))[ConditionType.READY]
    assert (ready.status, ready.reason) == (False, Reason.AGENT_SILENT)


def test_a_paused_pool_says_so_and_is_ready_while_it_serves() -> None:
    ready = verdicts(served(), paused=True)[ConditionType.READY]
    assert (ready.status, ready.reason) == (True, Reason.PAUSED)
    short = verdicts(served(assigned=14), paused=True)
    assert (short[ConditionType.READY].status, short[ConditionType.SUFFICIENT].reason) == (False, Reason.PAUSED)


def test_an_exhausted_subnet_is_named_with_its_free_addresses_and_the_next_try() -> None:
    full = replace(SUBNET, free_addresses=3, exhausted_until=NOON + 60)
    found = verdicts(replace(served(assigned=14), subnets={full.id: full}))
    verdict = found[ConditionType.SUBNET_EXHAUSTED]
    assert (verdict.status, verdict.reason) == (True, Reason.SUBNET_FULL)
    for part in ("subnet-1", "10.0.0.0/16", "3 free", "2027-01-15T12:01:00Z"):
        assert part in verdict.message
    assert (found[ConditionType.READY].status, found[ConditionType.READY].reason) == (False, Reason.SUBNET_FULL)
    assert verdict.message in found[ConditionType.SUFFICIENT].message


def test_an_exhausted_subnet_does_not_trouble_a_pool_that_has_enough() -> None:
    found = verdicts(replace(served(), subnets={SUBNET.id: replace(SUBNET, exhausted_until=NOON + 60)}))
    assert found[ConditionType.SUBNET_EXHAUSTED].status
    assert found[ConditionType.READY].status
    assert found[ConditionType.SUFFICIENT].status


def test_a_fragmented_subnet_blocks_prefixes_and_names_the_way_out() -> None:
    found = verdicts(replace(served(), subnets={SUBNET.id: replace(SUBNET, fragmented_until=NOON + 60)}), mode="prefix")
    verdict = found[ConditionType.PREFIX_FRAGMENTED]
    assert (verdict.status, verdict.reason) == (True, Reason.NO_FREE_PREFIX)
    assert "subnet-1" in verdict.message
    assert "2027-01-15T12:01:00Z" in verdict.message
    assert found[ConditionType.SUFFICIENT].reason is Reason.NO_FREE_PREFIX


def test_a_fragmented_subnet_does_not_block_single_addresses() -> None:
    found = verdicts(replace(served(assigned=13), subnets={SUBNET.id: replace(SUBNET, fragmented_until=NOON + 60)}))
    assert found[ConditionType.SUFFICIENT].reason is Reason.GROWING


def test_the_limit_of_the_instance_is_named_with_its_figures() -> None:
    found = verdicts(world_of("t2.micro", usage=Usage(pending=3, reported=True)))
    verdict = found[ConditionType.LIMIT_REACHED]
    assert (verdict.status, verdict.reason) == (True, Reason.ENI_LIMIT)
    assert verdict.message == "t2.micro holds 2 pod addresses at most with 2 ENIs of 1 slots, 4 are wanted"
    assert found[ConditionType.SUFFICIENT].reason is Reason.ENI_LIMIT


def test_a_limit_that_only_costs_spare_addresses_leaves_the_pool_sufficient() -> None:
    instance = instance_of("t2.micro")
    enis = (attached(instance, 0, addresses=1), attached(instance, 1, addresses=1))
    found = verdicts(world_of("t2.micro", *enis, usage=Usage(assigned=2, reported=True)))
    assert found[ConditionType.LIMIT_REACHED].reason is Reason.ENI_LIMIT
    assert found[ConditionType.SUFFICIENT].status
    assert found[ConditionType.READY].status


def test_a_ceiling_of_the_policy_is_named() -> None:
    by_ips = verdicts(served(assigned=20), maximumIPs=11)[ConditionType.LIMIT_REACHED]
    assert (by_ips.reason, by_ips.message) == (Reason.ADDRESS_LIMIT, "maximumIPs is 11, 21 addresses are wanted")
    by_pods = verdicts(served(assigned=20), maximumPods=11)[ConditionType.LIMIT_REACHED]
    assert (by_pods.reason, by_pods.message) == (Reason.ADDRESS_LIMIT, "maximumPods is 11, 20 pods are on the node")


def test_cooling_addresses_at_the_limit_leave_the_pool_short_for_that_reason() -> None:
    instance = instance_of("t2.micro")
    enis = (attached(instance, 0, addresses=1), attached(instance, 1, addresses=1))
    usage = Usage(assigned=1, cooling=1, pending=1, reported=True)
    assert verdicts(world_of("t2.micro", *enis, usage=usage))[ConditionType.READY].reason is Reason.ENI_LIMIT


def test_prefixes_on_a_type_without_them_are_reported() -> None:
    verdict = verdicts(world_of("t2.micro"), mode="prefix")[ConditionType.LIMIT_REACHED]
    assert (verdict.status, verdict.reason) == (True, Reason.PREFIXES_UNSUPPORTED)
    assert "t2.micro" in verdict.message
