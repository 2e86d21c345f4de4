"""One node's operator without HTTP, stepped by hand: the real loop on the stand-in's engine, the rest in memory.

Time is virtual: a step lets half a second pass, a sleep as much as it says. The agent refuses what must never be: an
address on offer, or given to a pod, that EC2 would not route to this instance. Where several things happen at once
``live_node`` is the place.
"""

import asyncio
import itertools
from typing import Any

from eni_lab.aws.engine.knobs import Knobs
from eni_operator.controllers.events import Events
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.reconcile import Process, Reconciler
from eni_operator.controllers.workplace import Seams
from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.metadata import MetadataError
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings
from eni_testing import owned
from eni_testing.ec2_engine import EngineLab
from eni_testing.engine_sdk import EngineSdk, Killed, Life, Refusal
from eni_testing.memory_agent import MemoryAgent
from eni_testing.memory_kube import NODE, KubeSession, MemoryKube


class OperatorNode:
    """A node with an operator that can be killed and started again."""

    def __init__(
        self, instance_type: str = "m5.large", *cidrs: str, knobs: Knobs | None = None, **settings: Any
    ) -> None:
        self.lab = EngineLab(*cidrs, knobs=knobs)
        self.instance_id = self.lab.instance(instance_type)
        self.kube = MemoryKube(self.instance_id)
        self.agent = MemoryAgent()
        self.calls: list[str] = []
        self.refuse: dict[str, Refusal] = {}
        self.settings = Settings(node_name=NODE, **settings)
        self._nonces = itertools.count(1)
        self.life = Life()
        self.start()

    def start(self, life: Life | None = None) -> None:
        """Starts a process that knows nothing."""
        self.life = life or Life()
        self.sdk = EngineSdk(self.lab, self.life, self.calls, self.refuse)
        ec2 = Ec2Client(self.sdk, Throttle(self._clock, self._sleep))
        session = KubeSession(self.kube, self.life)
        seams = Seams(
            clock=self._clock,
            sleep=self._sleep,
            jitter=lambda: 1.0,
            nonce=lambda: f"nonce-{next(self._nonces)}",
            own_instance=self._own_instance,
        )
        self.events = Events(session, self._clock)
        region = Region(ec2, self._clock)
        process = Process(self.settings, session, region, ec2.for_pool, self.events, seams)
        self.reconciler = Reconciler(NODE, process, Observed(NODE))

    def _clock(self) -> float:
        return self.lab.now

    async def _sleep(self, seconds: float) -> None:
        self.lab.now += seconds
        await asyncio.sleep(0)

    async def _own_instance(self) -> InstanceId:
        raise MetadataError("there is no metadata service here")

    async def step(self, seconds: float = 0.5) -> None:
        """Runs the loop once, lets EC2 work, lets the agent speak, lets time pass. A killed process is closed."""
        try:
            await self.reconciler.once()
            for _ in range(80):
                await asyncio.sleep(0)
        except Killed:
            pass
        if self.life.dead:
            await self.reconciler.close()
        self.agent_speaks()
        self.lab.now += seconds

    def agent_speaks(self) -> None:
        """Lets the agent see the supply and report usage, which the loop's watch then shows."""
        if self.kube.pool is not None:
            self.kube.put_usage(self.agent.report(self.kube.supply(), self.owned()))
            self.reconciler.observed.take("nodeippools", "MODIFIED", self.kube.snapshot())

    def owned(self) -> set[str]:
        """Returns the pod addresses EC2 routes to the instance now."""
        return owned.routed_to(self.lab.engine, self.instance_id)

    def enis(self) -> list[Any]:
        """Returns the ENIs attached to the instance, as the engine has them."""
        return list(owned.enis_of(self.lab.engine, self.instance_id))

    def leaked(self) -> list[str]:
        """Returns ENIs that belong to nothing, and attached ones that would outlive the instance."""
        enis = list(self.lab.engine.region.enis.values())
        loose = [eni.id for eni in enis if eni.attachment is None]
        return loose + [eni.id for eni in self.enis() if not eni.attachment.delete_on_termination]

    async def settle(self, *, within: int = 200) -> None:
        """Steps until every pod has its address and nothing has happened for a while."""
        quiet = 0
        for _ in range(within):
            before = (len(self.life.steps), self.agent.pending)
            await self.step()
            quiet = quiet + 1 if before == (len(self.life.steps), self.agent.pending) else 0
            if quiet >= 14 and not self.agent.pending:
                return
        raise AssertionError(f"not settled: {self.agent.pending} pods pending, last steps {self.life.steps[-10:]}")
