"""Laws of the whole planner, held against a simulated EC2 and agent that refuse impossible worlds."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from eni_crds.conditions import ConditionType
from eni_crds.nodeippool import Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.policy import EnvironmentPolicy, Policy
from eni_operator.domain.pool import Usage
from eni_operator.planning import precedence
from eni_operator.planning.holdings import size
from eni_operator.planning.plan import Plan, plan
from eni_testing.pool_simulation import LIMITS, FakePool, instance_of

TARGETS = st.none() | st.integers(0, 20)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draws any policy a person could set on the pool."""
    spec = PolicySpec(
        mode=draw(st.sampled_from(Mode)),
        warm_ips=draw(TARGETS),
        minimum_ips=draw(TARGETS),
        warm_prefixes=draw(st.none() | st.integers(0, 3)),
        warm_enis=draw(st.none() | st.integers(0, 2)),
        maximum_enis=draw(st.none() | st.integers(1, 4)),
        maximum_pods=draw(st.none() | st.integers(1, 60)),
        maximum_ips=draw(st.none() | st.integers(1, 100)),
        release_after_seconds=draw(st.sampled_from((0, 5))),
    )
    return precedence.resolve(NodeIPPoolSpec(policy=spec), None, EnvironmentPolicy())


TYPES = st.sampled_from(("t2.micro", "t3.small", "m5.large", "c5.xlarge"))
STEPS = st.lists(st.tuples(st.integers(0, 60), policies()), min_size=1, max_size=5)
"""Pods on the node and the policy in force, one after the other."""


def bring_to(pool: FakePool, pods: int) -> None:
    """Starts or ends pods until this many are there, the oldest first; what they had has cooled."""
    everyone = [*pool.agent.assigned, *pool.agent.pending]
    for pod in everyone[: max(0, len(everyone) - pods)]:
        pool.agent.delete_pod(pod, pool.now)
    for n in range(pods - len(everyone)):
        pool.agent.add_pod(f"pod-{pool.plans}-{n}")
    pool.now += pool.agent.cooldown


def supply_of(pool: FakePool) -> int:
    """Counts what pods may have: all of an open CIDR, of the others only what pods have of them."""
    agent = pool.agent
    return sum(size(cidr) if agent.is_open(cidr) else agent.held_of(cidr) for cidr in agent.supply.cidrs)


def settle_through(type_: str, steps: list[tuple[int, Policy]]) -> Iterator[tuple[FakePool, Plan]]:
    """Yields the pool settled at each step, with its last plan."""
    pool = FakePool(instance_of(type_), steps[0][1])
    for pods, policy in steps:
        pool.policy = policy
        bring_to(pool, pods)
        yield pool, pool.settle()


@given(type_=TYPES, steps=STEPS)
def test_a_settled_pool_plans_nothing_more(type_: str, steps: list[tuple[int, Policy]]) -> None:
    for pool, _ in settle_through(type_, steps):
        again = pool.decide(pool.agent.usage())
        assert again.actions == ()
        assert (again.releasing, again.draining) == (pool.releasing, pool.draining)
        assert not again.surplus


@given(type_=TYPES, steps=STEPS)
def test_a_settled_pool_holds_what_it_wants_and_nothing_idle_beyond(
    type_: str, steps: list[tuple[int, Policy]]
) -> None:
    for pool, settled in settle_through(type_, steps):
        assert pool.held >= settled.wanted
        given = supply_of(pool)
        idle = [cidr for cidr in pool.agent.usage().idle if pool.agent.is_open(cidr)]
        assert all(given - size(cidr) < settled.wanted for cidr in idle)


@given(type_=TYPES, steps=STEPS)
def test_no_pod_waits_in_a_settled_pool_that_could_hold_more(type_: str, steps: list[tuple[int, Policy]]) -> None:
    for pool, settled in settle_through(type_, steps):
        limited = any(v.type is ConditionType.LIMIT_REACHED and v.status for v in settled.verdicts)
        assert limited or not pool.agent.pending


@given(type_=TYPES, policy=policies(), pods=st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_no_plan_asks_more_than_instance_and_policy_allow(type_: str, policy: Policy, pods: list[int]) -> None:
    """The simulated EC2 itself refuses more slots than the type has; here the policy's own limits."""
    for pool, _ in settle_through(type_, [(number, policy) for number in pods]):
        assert len(pool.ec2.enis) <= min(LIMITS[type_][0].enis, policy.maximum_enis or 99)
        assert pool.held <= (policy.maximum_ips or pool.held)


@given(type_=TYPES, policy=policies(), pods=st.integers(0, 60), more=st.integers(1, 20), cooling=st.integers(0, 10))
def test_more_demand_never_asks_for_fewer_addresses(
    type_: str, policy: Policy, pods: int, more: int, cooling: int
) -> None:
    pool = FakePool(instance_of(type_), policy)
    fewer = pool.decide(Usage(pending=pods, cooling=cooling, reported=True))
    assert pool.decide(Usage(pending=pods + more, cooling=cooling, reported=True)).wanted >= fewer.wanted
    assert pool.decide(Usage(pending=pods, cooling=cooling + more, reported=True)).wanted >= fewer.wanted


@given(type_=TYPES, policy=policies(), pods=st.integers(0, 60))
def test_two_equal_worlds_give_two_equal_plans(type_: str, policy: Policy, pods: int) -> None:
    pool = FakePool(instance_of(type_), policy)
    usage = Usage(pending=pods, reported=True)
    world = pool.world(usage)
    assert plan(world, policy, pool.now, "nonce") == plan(world, policy, pool.now, "nonce")
