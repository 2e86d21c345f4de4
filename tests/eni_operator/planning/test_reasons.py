"""Each cause gives its machine reason and a sentence that names the thing, the figure and the next try."""

from dataclasses import replace

from eni_crds.conditions import ConditionType, Reason
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.pool import Obstacle, Usage, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning.plan import plan
from eni_testing.instances import SUBNET, attached, instance_of
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


def test_an_agent_that_fell_silent_is_named_with_the_instant() -> None:
    world = served()
    ready = verdicts(replace(world, usage=replace(world.usage, silent_since=NOON)))[ConditionType.READY]
    assert (ready.status, ready.reason) == (False, Reason.AGENT_SILENT)
    assert "since 2027-01-15T12:00:00Z" in ready.message


def test_a_kubelet_that_takes_too_many_pods_is_named_with_both_figures() -> None:
    verdict = verdicts(world_of("m5.large"))[ConditionType.OVERCOMMITTED]
    assert (verdict.status, verdict.reason) == (True, Reason.MAXIMUM_PODS_TOO_HIGH)
    assert verdict.message == "the kubelet takes 110 pods, m5.large can address 29 under this policy"


def test_a_cordoned_node_says_that_it_does_not_grow_only_where_it_would() -> None:
    short = verdicts(replace(served(assigned=14), unschedulable=True))
    assert (short[ConditionType.SUFFICIENT].status, short[ConditionType.SUFFICIENT].reason) == (
        False,
        Reason.UNSCHEDULABLE,
    )
    assert short[ConditionType.READY].reason is Reason.UNSCHEDULABLE
    assert "4 addresses are missing of 15 wanted" in short[ConditionType.SUFFICIENT].message
    assert verdicts(replace(served(), unschedulable=True))[ConditionType.SUFFICIENT].status


def test_provisioning_that_is_off_is_told_like_a_pause() -> None:
    policy = replace(policy_of(), provisioning=False)
    found = {v.type: v for v in plan(served(assigned=14), policy, NOON, "nonce").verdicts}
    for type_ in (ConditionType.READY, ConditionType.SUFFICIENT):
        assert (found[type_].status, found[type_].reason) == (False, Reason.PROVISIONING_DISABLED)


def test_an_obstacle_makes_a_pool_insufficient_and_is_ready_s_reason_only_where_pods_wait() -> None:
    obstacle = Obstacle(Reason.WRONG_ZONE, "ENIConfig 'a' has no subnet in eu-1a")
    enough = verdicts(replace(served(), candidates=(), obstacle=obstacle))
    assert enough[ConditionType.READY].status
    sufficient = enough[ConditionType.SUFFICIENT]
    assert (sufficient.status, sufficient.reason, sufficient.message) == (False, obstacle.reason, obstacle.message)
    short = verdicts(replace(served(assigned=14), candidates=(), obstacle=obstacle))
    assert (short[ConditionType.READY].status, short[ConditionType.READY].reason) == (False, Reason.WRONG_ZONE)


def test_every_refusing_subnet_is_named_and_none_blocks_while_another_gives() -> None:
    full = replace(SUBNET, free_addresses=3, exhausted_until=NOON + 60)
    other = replace(SUBNET, id=SubnetId("subnet-2"), cidr="10.9.0.0/16", exhausted_until=NOON + 30)
    serving = replace(SUBNET, id=SubnetId("subnet-3"))
    world = replace(served(assigned=14), subnets={s.id: s for s in (full, other, serving)})
    both = replace(world, candidates=(full.id, other.id))
    told = verdicts(both)
    message = told[ConditionType.SUBNET_EXHAUSTED].message
    assert message == (
        "subnet subnet-1 (10.0.0.0/16) refused an address, 3 free when last asked, and subnet subnet-2 (10.9.0.0/16) "
        "refused an address, 60000 free when last asked; next try at 2027-01-15T12:00:30Z"
    )
    assert told[ConditionType.SUFFICIENT].reason is Reason.SUBNET_FULL
    some = verdicts(replace(both, candidates=(full.id, serving.id)))
    assert some[ConditionType.SUBNET_EXHAUSTED].status
    assert (some[ConditionType.SUFFICIENT].status, some[ConditionType.SUFFICIENT].reason) == (True, Reason.GROWING)
