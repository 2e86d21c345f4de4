"""Laws of the whole planner, held against a simulated EC2 and agent that refuse impossible worlds.

A life is a list of steps: pods come and go, people edit the policy and tag subnets out and in, subnets refuse and give
again. After each step the pool settles; the laws are about what it settles at.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.conditions import ConditionType, Reason
from eni_crds.eniconfig import SubnetPolicy
from eni_crds.nodeippool import Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.policy import EnvironmentPolicy, Policy
from eni_operator.domain.pool import Usage, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import precedence
from eni_operator.planning.holdings import size
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import LIMITS, SUBNET, instance_of
from eni_testing.pool_simulation import REST_SECONDS, FakePool

pytestmark = pytest.mark.timeout(150)  # a hundred lives take ten seconds, on a busy machine three times as long

TARGETS = st.none() | st.integers(0, 20)
SUBNETS = (
    SUBNET,
    replace(SUBNET, id=SubnetId("subnet-2"), free_addresses=90),
    replace(SUBNET, id=SubnetId("subnet-3"), free_addresses=40),
)
TYPES = st.sampled_from(("t2.micro", "t3.small", "m5.large", "c5.xlarge"))


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
        release_batch=draw(st.sampled_from((None, None, 1, 3))),
    )
    return precedence.resolve(NodeIPPoolSpec(policy=spec), None, EnvironmentPolicy())


@dataclass(frozen=True)
class Step:
    """What becomes of a node at one moment."""

    pods: int
    policy: Policy
    seed: int = 0
    """Of who goes first when pods end."""
    excluded: frozenset[int] = frozenset()
    """ENIs excluded, by their order on the instance."""
    fragmented: frozenset[SubnetId] = frozenset()


PLAIN_STEPS = st.lists(st.builds(Step, st.integers(0, 60), policies(), st.integers()), min_size=1, max_size=5)
STEPS = st.lists(
    st.builds(
        Step,
        pods=st.integers(0, 60),
        policy=policies(),
        seed=st.integers(),
        excluded=st.frozensets(st.integers(0, 3), max_size=2),
        fragmented=st.frozensets(st.sampled_from([subnet.id for subnet in SUBNETS])),
    ),
    min_size=1,
    max_size=5,
)


def take(pool: FakePool, step: Step) -> None:
    """Makes a step happen; what pods had that ended has cooled, and every back-off is over."""
    everyone = [*pool.agent.assigned, *pool.agent.pending]
    random.Random(step.seed).shuffle(everyone)
    for pod in everyone[: max(0, len(everyone) - step.pods)]:
        pool.agent.delete_pod(pod, pool.now)
    for number in range(step.pods - len(everyone)):
        pool.agent.add_pod(f"pod-{pool.plans}-{number}")
    pool.policy = step.policy
    here = sorted(pool.ec2.enis)
    pool.excluded = {here[number]: "tagged out" for number in step.excluded if number < len(here)}
    pool.ec2.fragmented = set(step.fragmented)
    pool.now += pool.agent.cooldown + REST_SECONDS


def live(pool: FakePool, steps: list[Step]) -> Iterator[Plan]:
    """Yields the last plan of the pool settled at each step."""
    for step in steps:
        take(pool, step)
        yield pool.settle()


def pool_of(type_: str, steps: list[Step], *, subnet_policy: SubnetPolicy = SubnetPolicy.MOST_FREE) -> FakePool:
    pool = FakePool(instance_of(type_), steps[0].policy, subnets=SUBNETS)
    pool.subnet_policy = subnet_policy
    return pool


def verdict(decision: Plan, type_: ConditionType) -> Verdict:
    return next(verdict for verdict in decision.verdicts if verdict.type is type_)


def is_wanted(pool: FakePool, cidr: str) -> bool:
    """Tells whether new pods should get addresses of this CIDR: open, and not of another mode."""
    mode = pool.policy.mode if pool.instance.limits.prefixes else Mode.SECONDARY
    sizes = {Mode.SECONDARY: (1,), Mode.PREFIX: (16,), Mode.AUTO: (1, 16)}[mode]
    return pool.agent.is_open(cidr) and size(cidr) in sizes


def supply_of(pool: FakePool) -> int:
    """Counts what pods may have: all of a wanted CIDR, of the others only what pods have of them."""
    agent = pool.agent
    return sum(size(cidr) if is_wanted(pool, cidr) else agent.held_of(cidr) for cidr in agent.supply.cidrs)


@given(type_=TYPES, steps=STEPS, subnet_policy=st.sampled_from(SubnetPolicy))
def test_a_settled_pool_plans_nothing_more(type_: str, steps: list[Step], subnet_policy: SubnetPolicy) -> None:
    pool = pool_of(type_, steps, subnet_policy=subnet_policy)
    for _ in live(pool, steps):
        again = pool.decide(pool.agent.usage())
        assert again.actions == ()
        assert (again.releasing, again.draining) == (pool.releasing, pool.draining)
        assert not again.surplus


@given(type_=TYPES, steps=STEPS)
def test_a_settled_pool_holds_what_it_wants_or_says_why_not(type_: str, steps: list[Step]) -> None:
    pool = pool_of(type_, steps)
    for settled in live(pool, steps):
        sufficient = verdict(settled, ConditionType.SUFFICIENT)
        assert sufficient.reason is not Reason.GROWING
        assert supply_of(pool) >= settled.wanted or not sufficient.status


@given(type_=TYPES, steps=STEPS)
def test_a_settled_pool_holds_nothing_idle_beyond_what_it_wants(type_: str, steps: list[Step]) -> None:
    """Mode ``auto`` keeps prefixes while it has to take single addresses: they would come again in the free slot."""
    pool = pool_of(type_, steps)
    for settled in live(pool, steps):
        kept = 16 if pool.policy.mode is Mode.AUTO and pool.ec2.fragmented else None
        idle = [c for c in pool.agent.usage().idle if is_wanted(pool, c) and size(c) != kept]
        assert all(supply_of(pool) - size(cidr) < settled.wanted for cidr in idle)


@given(type_=TYPES, steps=STEPS)
def test_no_pod_waits_in_a_settled_pool_that_could_hold_more(type_: str, steps: list[Step]) -> None:
    pool = pool_of(type_, steps)
    for settled in live(pool, steps):
        ready = verdict(settled, ConditionType.READY)
        limited = verdict(settled, ConditionType.LIMIT_REACHED).status
        assert not pool.agent.pending or limited or ready.reason in (Reason.SUBNET_FULL, Reason.NO_FREE_PREFIX)


@given(type_=TYPES, steps=STEPS)
def test_only_pods_keep_anything_on_an_excluded_eni(type_: str, steps: list[Step]) -> None:
    pool = pool_of(type_, steps)
    for _ in live(pool, steps):
        assert not any(pool.agent.is_unused(cidr) for cidr in pool.agent.supply.excluded)
        assert pool.agent.supply.excluded <= pool.agent.supply.releasing.keys()
        bare = [eni for eni in pool.ec2.enis.values() if eni.id in pool.excluded and not eni.pod_addresses]
        assert all(eni.is_primary for eni in bare)


@given(type_=TYPES, steps=STEPS)
def test_pods_leave_the_former_mode_once_there_is_enough_of_the_new_one(type_: str, steps: list[Step]) -> None:
    pool = pool_of(type_, steps)
    for settled in live(pool, steps):
        if verdict(settled, ConditionType.SUFFICIENT).status:
            open_cidrs = [cidr for cidr in pool.agent.supply.cidrs if pool.agent.is_open(cidr)]
            assert all(is_wanted(pool, cidr) for cidr in open_cidrs)


@given(type_=TYPES, policy=policies(), steps=STEPS)
def test_no_plan_asks_more_than_instance_and_policy_allow(type_: str, policy: Policy, steps: list[Step]) -> None:
    """The simulated EC2 itself refuses more slots and ENIs than the type has; here the policy's own limits."""
    same = [replace(step, policy=policy) for step in steps]
    pool = pool_of(type_, same)
    for _ in live(pool, same):
        assert len(pool.ec2.enis) <= min(LIMITS[type_][0].enis, policy.maximum_enis or 99)
        assert pool.held <= (policy.maximum_ips or pool.held)


@given(type_=TYPES, policy=policies(), steps=PLAIN_STEPS, more=st.integers(1, 20))
def test_more_demand_never_asks_for_fewer_addresses(type_: str, policy: Policy, steps: list[Step], more: int) -> None:
    pool = pool_of(type_, steps)
    for _ in live(pool, steps):
        pool.policy = policy
        usage = pool.agent.usage()
        wanted = pool.decide(usage).wanted
        assert pool.decide(replace(usage, pending=usage.pending + more)).wanted >= wanted
        assert pool.decide(replace(usage, cooling=usage.cooling + more)).wanted >= wanted


@given(type_=TYPES, policy=policies(), steps=STEPS, seed=st.integers())
def test_the_order_in_which_the_world_is_told_changes_nothing(
    type_: str, policy: Policy, steps: list[Step], seed: int
) -> None:
    pool = pool_of(type_, steps)
    for _ in live(pool, steps):
        world = pool.world(replace(pool.agent.usage(), pending=7))
        there, back = (plan(told, policy, pool.now, "nonce") for told in (world, shuffled(world, seed)))
        assert set(map(str, there.actions)) == set(map(str, back.actions))
        assert replace(there, actions=()) == replace(back, actions=())


def shuffled(world: World, seed: int) -> World:
    """Returns the same world with its unordered parts in another order."""
    chance = random.Random(seed)
    enis, subnets = list(world.enis), list(world.subnets.items())
    chance.shuffle(enis)
    chance.shuffle(subnets)
    return replace(world, enis=tuple(enis), subnets=dict(subnets))


@given(type_=TYPES, policy=policies(), pods=st.lists(st.integers(0, 60), min_size=1, max_size=5), seed=st.integers())
def test_the_way_to_a_demand_changes_nothing_of_what_is_wanted(
    type_: str, policy: Policy, pods: list[int], seed: int
) -> None:
    lives = ([Step(number, policy, seed) for number in pods], [Step(pods[-1], policy)])
    ends = [list(live(pool_of(type_, steps), steps))[-1] for steps in lives]
    assert ends[0].wanted == ends[1].wanted


@given(seed=st.integers(), pods=st.lists(st.integers(0, 200), min_size=2, max_size=8))
def test_after_any_churn_no_idle_prefix_beyond_the_spare_one_is_kept(seed: int, pods: list[int]) -> None:
    """Pods end anywhere, so prefixes stay in use in part; whole ones that come to be idle leave."""
    policy = precedence.resolve(NodeIPPoolSpec(policy=PolicySpec(mode=Mode.PREFIX)), None, EnvironmentPolicy())
    steps = [Step(number, policy, seed + number) for number in pods]
    pool = FakePool(replace(instance_of("m5.large"), maximum_pods=250), policy)
    for _ in live(pool, steps):
        in_use = sum(1 for cidr in pool.agent.supply.cidrs if not pool.agent.is_unused(cidr))
        assert len(pool.agent.supply.cidrs) <= in_use + 1


@given(type_=TYPES, policy=policies(), pods=st.integers(0, 60))
def test_two_equal_worlds_give_two_equal_plans(type_: str, policy: Policy, pods: int) -> None:
    pool = FakePool(instance_of(type_), policy)
    world = pool.world(Usage(pending=pods, reported=True))
    assert plan(world, policy, pool.now, "nonce") == plan(world, policy, pool.now, "nonce")
