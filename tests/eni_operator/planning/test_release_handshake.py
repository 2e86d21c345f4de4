"""The release handshake under delayed, repeated and reordered observations: no address is lost under a pod.

The operator plans on any report the agent ever made and may crash between writing and performing; actions may fail
half way. The agent reads supplies late and may skip some, but never goes back to an older one (it refuses an older
``resourceVersion``): with that alone the token makes every stale echo harmless. ``FakePool.perform`` holds the law.
"""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eni_crds.nodeippool import Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.actions import Action, CreateEni, RemoveEni
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.policy import EnvironmentPolicy, Policy
from eni_operator.domain.pool import Usage
from eni_operator.planning import precedence
from eni_testing.instances import SUBNET, instance_of
from eni_testing.pool_simulation import FakePool


def policy_of(spec: PolicySpec) -> Policy:
    return precedence.resolve(NodeIPPoolSpec(policy=spec), None, EnvironmentPolicy())


pytestmark = pytest.mark.timeout(150)  # three hundred lives take ten seconds, on a busy machine three times as long

POLICIES = (
    PolicySpec(mode=Mode.SECONDARY, release_after_seconds=0, warm_ips=0),
    PolicySpec(mode=Mode.SECONDARY, release_after_seconds=2),
    PolicySpec(mode=Mode.PREFIX, release_after_seconds=0, maximum_enis=1),
    PolicySpec(mode=Mode.PREFIX, release_after_seconds=0, release_batch=1),
    PolicySpec(mode=Mode.AUTO, release_after_seconds=0),
)


class Handshake(RuleBasedStateMachine):
    """A t3.small (3 ENIs of 3 slots) whose operator and agent see each other late."""

    def __init__(self) -> None:
        super().__init__()
        subnets = (SUBNET, replace(SUBNET, id=SubnetId("subnet-2")))
        self.pool = FakePool(instance_of("t3.small"), policy_of(POLICIES[0]), cooldown=2, subnets=subnets)
        self.agent = self.pool.agent
        self.reports: list[Usage] = [Usage()]
        self.supplies = [self.pool.supply()]
        self.seen = 0
        self.pods = 0

    @initialize(number=st.integers(0, 9))
    def a_node_has_run_for_a_while(self, number: int) -> None:
        self.the_workload_becomes(number, oldest_first=True)
        self.pool.settle()
        self.supplies.append(self.pool.supply())
        self.the_agent_turns(lag=0)

    @rule(rounds=st.integers(1, 3))
    def all_goes_well(self, rounds: int) -> None:
        for _ in range(rounds):
            self.the_agent_turns(lag=0)
            self.the_operator_turns(age=0, performed=99)

    @rule(number=st.sampled_from((0, 1, 2, 3, 6, 12)), oldest_first=st.booleans())
    def the_workload_becomes(self, number: int, *, oldest_first: bool) -> None:
        everyone = [*self.agent.assigned, *self.agent.pending]
        leaving = max(0, len(everyone) - number)
        for pod in everyone[:leaving] if oldest_first else everyone[len(everyone) - leaving :]:
            self.agent.delete_pod(pod, self.pool.now)
        for _ in range(number - len(everyone)):
            self.pods += 1
            self.agent.add_pod(f"pod-{self.pods}")

    def time_passes(self, seconds: int) -> None:
        self.pool.now += seconds
        self.agent.tick(self.pool.now)

    @rule(choice=st.sampled_from(POLICIES))
    def a_person_edits_the_policy(self, choice: PolicySpec) -> None:
        self.pool.policy = policy_of(choice)

    @rule(numbers=st.sets(st.integers(0, 2), max_size=2))
    def enis_are_excluded(self, numbers: set[int]) -> None:
        """A person tags subnets: some ENIs are excluded from now on, the others are not any more."""
        here = sorted(self.pool.ec2.enis)
        self.pool.excluded = {here[n]: "its subnet is tagged out" for n in numbers if n < len(here)}

    @rule(fragmented=st.sets(st.sampled_from(("subnet-1", "subnet-2"))))
    def subnets_get_fragmented_or_whole(self, fragmented: set[str]) -> None:
        self.pool.ec2.fragmented = {SubnetId(subnet_id) for subnet_id in fragmented}

    @rule()
    def back_offs_end(self) -> None:
        self.time_passes(200)

    @rule(lag=st.sampled_from((0, 0, 1, 2)))
    def the_agent_turns(self, lag: int) -> None:
        """Reads a supply, perhaps not the newest, and reports."""
        self.seen = max(self.seen, len(self.supplies) - 1 - lag)
        self.agent.observe(self.supplies[self.seen])
        self.reports.append(self.agent.usage())

    @rule(age=st.sampled_from((0, 0, 1, 2, 3, 4, 5)), performed=st.sampled_from((99, 99, 0, 1)))
    def the_operator_turns(self, age: int, performed: int) -> None:
        """Writes a plan made on a report that may be old, performs its first actions and fails at the next."""
        self.time_passes(1)
        decision = self.pool.decide(self.report(age))
        self.pool.write(decision)
        self.supplies.append(self.pool.supply())
        for action in decision.actions[:performed]:
            self.pool.perform(action)
        for action in decision.actions[performed : performed + 1]:
            self.fail_half_way(action)
        self.supplies.append(self.pool.supply())

    def report(self, age: int) -> Usage:
        return self.reports[max(0, len(self.reports) - 1 - age)]

    def fail_half_way(self, action: Action) -> None:
        match action:
            case CreateEni():
                self.pool.create_only(action)
            case RemoveEni(eni_id, attachment_id) if attachment_id is not None:
                self.pool.detach(eni_id)
            case _:
                pass

    @rule()
    def the_operator_restarts(self) -> None:
        """Restarts after a plan that was never written."""
        self.pool.decide(self.report(age=0))
        self.pool.surplus_since = None

    @invariant()
    def every_pod_has_an_address_of_the_node(self) -> None:
        for pod, address in self.agent.assigned.items():
            assert self.pool.ec2.holds(address), f"{pod} has {address}, which EC2 took away"

    @invariant()
    def no_two_pods_share_an_address(self) -> None:
        assert len(set(self.agent.assigned.values())) == len(self.agent.assigned)

    def teardown(self) -> None:
        """From any state the pool converges, leaves nothing unattached and waits for nothing but pods.

        A pod may get an address after the report that called it idle; its handshake then stays open until it ends or
        the address is needed again, and an ENI on its way out waits as a whole.
        """
        self.time_passes(100)
        self.the_agent_turns(lag=0)
        settled = self.pool.settle()
        assert all(eni.attachment is not None for eni in self.pool.ec2.enis.values())
        assert not any(self.agent.is_unused(cidr) for cidr in self.agent.supply.excluded)
        for handovers in settled.releasing.values():
            assert any(not self.agent.is_unused(handover.cidr) for handover in handovers)


TestHandshake = Handshake.TestCase
TestHandshake.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
