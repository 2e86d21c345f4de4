"""A pool in miniature around the real planner: EC2's part, the agent's part, and the shell's memory between plans.

Everything is in memory and in virtual time. It refuses to take an address from EC2 while the agent has it assigned,
cooling or on offer, and leaves a subnet that refused alone for a while; what its two parts refuse, they say.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from eni_crds.eniconfig import SubnetPolicy
from eni_operator.domain.actions import Action, CreateEni, RemoveEni, Unassign
from eni_operator.domain.eni import EniId, SubnetId
from eni_operator.domain.instance import Instance, Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import Handover, Usage, World
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import GROUP, SUBNET, cidrs_of
from eni_testing.simulated_agent import FakeAgent, SupplyView
from eni_testing.simulated_ec2 import FakeEc2, RefusedError

REST_SECONDS = 120.0
"""How long a subnet that refused is left alone."""


class FakePool:
    """The shell's memory: what was last written, and one loop of observe, plan, write, perform."""

    def __init__(
        self, instance: Instance, policy: Policy, cooldown: float = 30.0, *, subnets: tuple[Subnet, ...] = (SUBNET,)
    ) -> None:
        self.instance = instance
        self.policy = policy
        self.candidates = tuple(subnet.id for subnet in subnets)
        self.subnet_policy = SubnetPolicy.MOST_FREE
        self.excluded: dict[EniId, str] = {}
        self.cards: tuple[int, ...] = (0,)
        self.ec2 = FakeEc2(instance, subnets)
        self.exhausted_until: dict[SubnetId, float] = {}
        self.fragmented_until: dict[SubnetId, float] = {}
        self.agent = FakeAgent(cooldown)
        self.releasing: Mapping[EniId, tuple[Handover, ...]] = {}
        self.draining: frozenset[EniId] = frozenset()
        self.generation = 0
        self.surplus_since: float | None = None
        self.now = 1_000.0
        self.plans = 0

    def world(self, usage: Usage) -> World:
        """Returns the world as the shell would observe it."""
        return World(
            instance=self.instance,
            subnets={subnet_id: self._subnet(subnet) for subnet_id, subnet in self.ec2.subnets.items()},
            candidates=self.candidates,
            enis=tuple(self.ec2.enis.values()),
            usage=usage,
            releasing=self.releasing,
            draining=self.draining,
            surplus_since=self.surplus_since,
            generation=self.generation,
            security_groups=(GROUP,),
            subnet_policy=self.subnet_policy,
            excluded=dict(self.excluded),
            cards=self.cards,
        )

    def _subnet(self, subnet: Subnet) -> Subnet:
        return replace(
            subnet,
            free_addresses=max(0, self.ec2.free_in(subnet.id)),
            exhausted_until=self.exhausted_until.get(subnet.id, 0.0),
            fragmented_until=self.fragmented_until.get(subnet.id, 0.0),
        )

    def decide(self, usage: Usage) -> Plan:
        """Returns the plan for this usage under a fresh nonce."""
        self.plans += 1
        return plan(self.world(usage), self.policy, self.now, f"nonce-{self.plans}")

    def write(self, decision: Plan) -> None:
        """Remembers a plan as the shell does, before its actions are performed."""
        self.releasing, self.draining, self.generation = decision.releasing, decision.draining, decision.generation
        if not decision.surplus:
            self.surplus_since = None
        elif self.surplus_since is None:
            self.surplus_since = self.now

    def supply(self) -> SupplyView:
        """Returns what the agent would read now."""
        return SupplyView.of(self.ec2.enis, self.releasing, self.excluded)

    def perform(self, action: Action) -> None:
        """Performs an action, refusing to take from EC2 what the agent has or offers; minds what EC2 refuses."""
        self._refuse_to_take(self._taken_by(action))
        with self._minding_refusals():
            self.ec2.perform(action)

    def create_only(self, action: CreateEni) -> None:
        """Performs the first of a creation's calls."""
        with self._minding_refusals():
            self.ec2.create_only(action)

    @contextmanager
    def _minding_refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as refused:
            self.rest(refused.subnet_id, prefix=refused.prefix)

    def rest(self, subnet_id: SubnetId, *, prefix: bool) -> None:
        """Leaves a subnet alone for a while."""
        until = self.fragmented_until if prefix else self.exhausted_until
        until[subnet_id] = self.now + REST_SECONDS

    def detach(self, eni_id: EniId) -> None:
        """Performs the first half of a removal under the same law."""
        self._refuse_to_take(cidrs_of(self.ec2.enis[eni_id]))
        self.ec2.detach(eni_id)

    def _refuse_to_take(self, cidrs: tuple[str, ...]) -> None:
        for cidr in cidrs:
            assert self.agent.is_unused(cidr), f"{cidr} is taken from EC2 while a pod has it or it cools"
            assert not self.agent.is_open(cidr), f"{cidr} is taken from EC2 while the agent offers it"

    def _taken_by(self, action: Action) -> tuple[str, ...]:
        match action:
            case Unassign(_, addresses, prefixes):
                return (*(f"{address}/32" for address in addresses), *prefixes)
            case RemoveEni(eni_id, attachment_id) if attachment_id is not None:
                return cidrs_of(self.ec2.enis[eni_id])
            case _:
                return ()

    def settle(self, rounds: int = 300) -> Plan:
        """Loops with instant EC2 and a prompt agent until nothing more happens; skips every wait but a back-off's."""
        for _ in range(rounds):
            self.agent.tick(self.now)
            decision = self.decide(self.agent.usage())
            before = (self.releasing, self.draining)
            self.write(decision)
            self.agent.observe(self.supply())
            for action in decision.actions:
                self.perform(action)
            self.agent.observe(self.supply())
            is_still = not decision.actions and before == (self.releasing, self.draining)
            rests = decision.recheck_at in self._back_offs() and not decision.surplus
            waits = None if rests else decision.recheck_at
            if is_still and (waits is None or waits <= self.now):
                return decision
            self.now = max(self.now, waits or self.now)
        raise AssertionError(f"not settled after {rounds} rounds: {decision}")

    def _back_offs(self) -> frozenset[float]:
        return frozenset((*self.exhausted_until.values(), *self.fragmented_until.values()))

    @property
    def held(self) -> int:
        """Counts pod addresses held in EC2."""
        return sum(eni.pod_addresses for eni in self.ec2.enis.values())
