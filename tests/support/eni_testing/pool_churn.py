"""A pool under churn in virtual time, with EC2's service times: what it holds idle and how long pods wait.

EC2 calls of one plan run in parallel across ENIs and in order within one; the shell plans again when all are done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from eni_operator.domain.actions import Action, AttachEni, CreateEni, EnsureDeleteOnTermination, RemoveEni
from eni_operator.domain.instance import Instance
from eni_operator.domain.policy import Policy
from eni_testing.pool_simulation import FakePool
from eni_testing.simulated_agent import SupplyView

DELAY = 0.05
"""Seconds from a write until the other side has read it."""
ASSIGN, CREATE, ATTACH, MODIFY, DETACH, DELETE = 0.3, 0.4, 0.6, 0.2, 2.3, 0.3
"""Seconds a call takes until its effect is there."""
LINK = 1.5
"""Seconds from the end of an attach until the host has the link."""
QUIET_REPORT = 2.0
"""Seconds the agent holds back a report that asks for nothing."""


@dataclass
class Measured:
    """What a run came to."""

    seconds: float = 0.0
    idle_seconds: float = 0.0
    """Addresses held and not running a pod, each times how long."""
    waits: dict[str, float] = field(default_factory=dict)
    """Seconds from a pod's coming to its address."""
    calls: int = 0

    @property
    def mean_idle(self) -> float:
        """Returns the mean of idle addresses over time."""
        return self.idle_seconds / self.seconds

    def wait(self, quantile: float) -> float:
        """Returns a quantile of the waits."""
        return sorted(self.waits.values())[int(quantile * (len(self.waits) - 1))]


class TimedPool(FakePool):
    """The pool with a clock."""

    def __init__(self, instance: Instance, policy: Policy) -> None:
        super().__init__(instance, policy, cooldown=policy.cooldown_seconds)
        self.running: list[tuple[float, Action]] = []
        self.link_at: dict[str, float] = {}
        self.reported = self.agent.usage()
        self.reported_at = self.now
        self.seen = self.reported
        self.plan_at = self.now
        self.planned_at = self.now
        self.came: dict[str, float] = {}
        self.measured = Measured()

    def run(self, trace: Sequence[tuple[float, int]], seconds: float) -> Measured:
        """Runs a trace of (instant, pods on the node), the oldest pods going first."""
        start, calls_before = self.now, len(self.ec2.calls)
        steps = [(start + instant, pods) for instant, pods in trace]
        while self.now < start + seconds:
            while steps and steps[0][0] <= self.now:
                self._bring_to(steps.pop(0)[1])
            self._turn()
            until = min((start + seconds, *(step[0] for step in steps[:1]), *self._due()))
            self.measured.idle_seconds += (self.held - len(self.agent.assigned)) * (until - self.now)
            self.now = until
        self.measured.seconds += seconds
        self.measured.calls = len(self.ec2.calls) - calls_before
        return self.measured

    def _due(self) -> Iterator[float]:
        """Yields the instants to come at which anything can happen by itself."""
        instants = (
            *(end for end, _ in self.running),
            *self.agent.cooling.values(),
            *self.link_at.values(),
            self.plan_at,
            self.planned_at + DELAY,
            self.reported_at + QUIET_REPORT,
        )
        yield from (max(instant, self.now + DELAY) for instant in instants if instant > self.now)

    def _bring_to(self, pods: int) -> None:
        everyone = [*self.agent.assigned, *self.agent.pending]
        for pod in everyone[: max(0, len(everyone) - pods)]:
            self.agent.delete_pod(pod, self.now)
        for _ in range(pods - len(everyone)):
            name = f"pod-{len(self.came)}"
            self.came[name] = self.now
            self.agent.add_pod(name)

    def _turn(self) -> None:
        for end, action in [item for item in self.running if item[0] <= self.now]:
            self.running.remove((end, action))
            known = set(self.ec2.enis)
            self.perform(action)
            self.link_at |= dict.fromkeys(set(self.ec2.enis) - known, self.now - MODIFY + LINK)
        self.agent.tick(self.now)
        self.agent.observe(self._visible())
        for pod in self.agent.assigned:
            self.measured.waits.setdefault(pod, self.now - self.came[pod])
        self._report()
        if not self.running and (self.seen != self.reported or self.now >= self.plan_at):
            self._plan()

    def _visible(self) -> SupplyView:
        ready = {eni_id: eni for eni_id, eni in self.ec2.enis.items() if self.link_at.get(eni_id, 0) <= self.now}
        return SupplyView.of(ready, self.releasing)

    def _report(self) -> None:
        usage = self.agent.usage()
        urgent = usage.pending > self.reported.pending
        if usage != self.reported and (urgent or self.now - self.reported_at >= QUIET_REPORT):
            self.reported, self.reported_at = usage, self.now

    def _plan(self) -> None:
        decision = self.decide(self.reported)
        self.write(decision)
        self.seen, self.planned_at = self.reported, self.now
        ends: dict[object, float] = {}
        for action in decision.actions:
            chain = action.device_index if isinstance(action, CreateEni) else action.eni_id
            ends[chain] = ends.get(chain, self.now) + _seconds(action)
            self.running.append((ends[chain], action))
        recheck_at = self.now if decision.actions else decision.recheck_at
        self.plan_at = float("inf") if recheck_at is None else max(recheck_at, self.now + DELAY)


def _seconds(action: Action) -> float:
    match action:
        case CreateEni():
            return CREATE + ATTACH + MODIFY
        case AttachEni():
            return ATTACH
        case RemoveEni():
            return DETACH + DELETE
        case EnsureDeleteOnTermination():
            return MODIFY
        case _:
            return ASSIGN
