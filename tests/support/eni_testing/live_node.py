"""One node as it lives, on virtual time: the operator's own keeper of loops, watches, the agent, all at once.

Runs on ``virtual_loop``. Every call takes time on its way there and back, so calls of several ENIs, reports and writes
interleave; whoever waits costs nothing. After every change in EC2 the agent makes sure that EC2 routes to the instance
whatever its pods have or may get.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from eni_crds.nodeippool import Supply
from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.invariants import breaches
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import Eni
from eni_operator.controllers.events import Events
from eni_operator.controllers.fleet import Fleet, FleetSeams
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, KubeObject
from eni_operator.controllers.observed import Observed, trim
from eni_operator.controllers.reconcile import Process, Reconciler
from eni_operator.controllers.workplace import Seams
from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.metadata import MetadataError
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings
from eni_testing import owned
from eni_testing.ec2 import run_instance, seed_vpc
from eni_testing.ec2_engine import instance_types
from eni_testing.engine_sdk import EngineSdk, Life, Refusal
from eni_testing.memory_agent import MemoryAgent
from eni_testing.memory_kube import NODE, KubeSession, MemoryKube

BEGAN: Final = 1_700_000_000.0
"""Unix time at instant zero of the loop."""
TRAVEL_SECONDS: Final = 0.05
"""A call's way there, and its way back."""
WATCH_SECONDS: Final = 0.02
AGENT_SECONDS: Final = 0.1
"""How long the agent gathers what comes in before it reports."""
HEARTBEAT_SECONDS: Final = 120.0
QUIET_SECONDS: Final = 70.0
"""Nothing more will happen by itself when nothing has for so long: longer than every wait of the loop but an hour's."""
SETTLE_SECONDS: Final = 1200.0


def clock() -> float:
    """Returns Unix time on the loop that runs."""
    return BEGAN + asyncio.get_running_loop().time()


class Cloud:
    """The stand-in's engine on the loop's clock, with a VPC: one zone, a subnet for each CIDR beside the first."""

    def __init__(self, *cidrs: str, knobs: Knobs | None = None, seed: int = 1) -> None:
        settled = Knobs(throttling=False).without_delays() if knobs is None else knobs
        self.engine = Engine(clock, random.Random(seed), instance_types(), settled)
        self.seed = seed_vpc(self.engine, ("10.0.1.0/24",))
        where = {"VpcId": self.seed.vpc_id, "AvailabilityZone": self.seed.zones[0]}
        made = [self.call("CreateSubnet", CidrBlock=cidr, **where)["Subnet"]["SubnetId"] for cidr in cidrs]
        self.subnets: tuple[str, ...] = (self.seed.subnet_ids[0], *made)
        """All in one zone; instances are launched in the first."""

    def launch(self, instance_type: str) -> str:
        """Launches an instance in the first subnet."""
        return run_instance(self.engine, replace(self.seed, subnet_ids=self.subnets), instance_type)

    def call(self, action: str, **args: Any) -> Any:
        """Performs a call of somebody else's."""
        return self.engine.call(action, args)


class LiveNode:
    """A node whose operator can be killed and is started again; ``calls`` names every call to EC2."""

    def __init__(
        self,
        cloud: Cloud,
        instance_type: str = "m5.large",
        *,
        name: str = NODE,
        eniconfigs: list[KubeObject] | None = None,
        chance: random.Random | None = None,
        cools: bool = False,
        **settings: Any,
    ) -> None:
        self.lab = cloud
        self.name = name
        self.instance_id = cloud.launch(instance_type)
        self.kube = MemoryKube(self.instance_id, name, eniconfigs)
        self.kube.watchers += [self._watched, lambda *_: self._stir()]
        self.agent = MemoryAgent(clock, cools=cools)
        self.agent.connected = True
        self.calls: list[str] = []
        self.refuse: dict[str, Refusal] = {}
        self.settings = Settings(node_name=name, **settings)
        self.broken: list[str] = []
        """What must never be and was."""
        self._chance = chance
        self._nonces = itertools.count(1)
        self._stirred = asyncio.Event()
        self._tasks = [asyncio.create_task(self._speak()), asyncio.create_task(self._live())]
        self.life = Life()

    # The process

    async def _live(self) -> None:
        """Starts the process anew whenever it has died."""
        while True:
            died = asyncio.Event()
            self.life.died, self.life.travel = died.set, _travel
            fleet = self._fleet(self.life)
            run = asyncio.create_task(fleet.run())
            try:
                await died.wait()
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
            await asyncio.sleep(1.0 if self._chance is None else self._chance.uniform(0.1, 20.0))
            self.life = Life()

    def _fleet(self, life: Life) -> Fleet:
        self.sdk = EngineSdk(self.lab, life, self.calls, self.refuse)
        ec2 = Ec2Client(_Checked(self.sdk, self._check), Throttle(clock, asyncio.sleep))
        session = KubeSession(self.kube, life)
        seams = Seams(
            clock=clock,
            sleep=asyncio.sleep,
            jitter=self._jitter,
            nonce=lambda: f"{self.name}-{next(self._nonces)}",
            own_instance=_no_metadata,
        )
        process = Process(self.settings, session, Region(ec2, clock), ec2.for_pool, Events(session, clock), seams)
        self.fleet = Fleet(
            session,
            lambda name: Reconciler(name, process, Observed(name)),
            FleetSeams(asyncio.sleep, lambda: (self._jitter() - 0.67) / 0.67),
            self.name,
        )
        return self.fleet

    def _jitter(self) -> float:
        return 1.0 if self._chance is None else self._chance.uniform(0.67, 1.33)

    def _watched(self, plural: str, event: str, item: KubeObject) -> None:
        asyncio.get_running_loop().call_later(WATCH_SECONDS, self._hand_over, self.life, plural, event, item)

    def _hand_over(self, life: Life, plural: str, event: str, item: KubeObject) -> None:
        """A watch that is down tells nothing; what it missed is told when it is up."""
        if life is self.life and not life.dead and self.kube.outage is None:
            self.fleet.take(plural, event, trim(plural, item))

    def change_outage(self, status: int | None) -> None:
        """Ends or begins a time without the API server; at its end the watches list what there is."""
        self.kube.outage = status
        if status is None and not self.life.dead:
            for plural in (NODES, POOLS):
                item = self.kube.get(plural, self.name)
                if item is not None:
                    self._watched(plural, "MODIFIED", item)
            for item in self.kube.eniconfigs:
                self._watched(ENICONFIGS, "MODIFIED", item)
        self._stir()

    def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        self.life.dead = True
        self.life.died()

    # The agent and its pods

    def want(self, count: int) -> None:
        """Binds or removes pods until there are so many."""
        self.agent.want(count)
        self._stir()

    def replace_pods(self) -> None:
        """Ends every pod and binds as many new ones."""
        count = len(self.agent.pods)
        self.agent.want(0)
        self.want(count)

    def _stir(self) -> None:
        self._stirred.set()

    async def _speak(self) -> None:
        """Reports when something changed, when an address has rested, and as a heartbeat."""
        said, said_at = KubeObject(), BEGAN
        while True:
            await self._wait(said_at + HEARTBEAT_SECONDS)
            if self.kube.outage is not None or self.kube.pool is None:
                said_at = clock()
                continue
            try:
                usage = self.agent.report(self.kube.supply(), self.routed())
            except AssertionError as error:
                self._fail(str(error))
                continue
            is_forgotten = "usage" not in self.kube.pool["status"]  # somebody deleted the pool
            if is_forgotten or _substance(usage) != _substance(said) or clock() >= said_at + HEARTBEAT_SECONDS:
                said, said_at = usage, clock()
                self.kube.put_usage(usage)

    async def _wait(self, until: float) -> None:
        """Waits until something stirs, an address has rested, or so long; then gathers what comes with it."""
        rests_until = self.agent.rests_until()
        wait = min(until, until if rests_until is None else rests_until) - clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait, 0.0)):
                await self._stirred.wait()
        await asyncio.sleep(AGENT_SECONDS)
        self._stirred.clear()

    def _check(self) -> None:
        try:
            self.agent.check(self.routed())
        except AssertionError as error:
            self._fail(str(error))

    def _fail(self, sentence: str) -> None:
        self.broken.append(f"{clock() - BEGAN:.2f} s: {self.name}: {sentence}; last calls {self.calls[-5:]}")

    # What there is

    def enis(self) -> list[Eni]:
        """Returns the ENIs attached to the instance, as the engine has them."""
        return owned.enis_of(self.lab.engine, self.instance_id)

    def routed(self) -> set[str]:
        """Returns the pod addresses EC2 routes to the instance now."""
        return owned.routed_to(self.lab.engine, self.instance_id)

    @property
    def supply(self) -> Supply:
        """Returns what is written of the supply."""
        found = self.kube.supply()
        assert found is not None, f"{self.name} has no supply"
        return found

    @property
    def is_ready(self) -> bool:
        """Tells whether the pool says that it serves every pod."""
        return bool(self.kube.condition("Ready")["status"] == "True")

    def _moment(self) -> tuple[object, ...]:
        """Returns what stands still when nothing happens; reads of EC2 and heartbeats do not count."""
        tally = self.agent.tally
        return self.life, len(self.life.steps), tally.assigned, tally.cooling, self.agent.pending, len(self.agent.pods)

    async def settle(self, *, short: bool = False) -> None:
        """Waits until nothing happens any more; fails where pods wait then, unless the node may be ``short``."""
        since, before = clock(), self._moment()
        for _ in range(int(SETTLE_SECONDS)):
            await asyncio.sleep(1.0)
            assert not self.broken, self.broken[0]
            if self._moment() != before:
                since, before = clock(), self._moment()
            elif clock() - since > QUIET_SECONDS and not self.life.dead:
                assert short or not self.agent.pending, f"{self.agent.pending} pods wait and nothing happens"
                return
        raise AssertionError(f"never settles, last steps {self.life.steps[-10:]}, {self.agent.pending} pods wait")

    def faults(self) -> Iterator[str]:
        """Yields everything that should not be in a node that has settled."""
        yield from self.broken
        yield from breaches(self.lab.engine.region)
        yield from (f"{eni} is leaked" for eni in owned.leaked(self.lab.engine, self.instance_id))
        yield from owned.differences(self.supply, self.lab.engine, self.instance_id)
        yield from (f"{item.cidr} was let go and is still there" for item in self.agent.unended())
        addresses = [address for address in self.agent.pods.values() if address is not None]
        if len(addresses) != len(set(addresses)):
            yield f"two pods have one address: {sorted(addresses)}"

    async def close(self) -> None:
        """Ends everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Checked:
    """The SDK's client, with a look at the law after every call."""

    def __init__(self, sdk: EngineSdk, check: Callable[[], None]) -> None:
        self._sdk = sdk
        self._check = check

    async def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> Any:
        try:
            return await self._sdk._make_api_call(operation, parameters)
        finally:
            self._check()


def _substance(usage: KubeObject) -> KubeObject:
    return {key: value for key, value in usage.items() if key != "reportedAt"}


async def _travel() -> None:
    await asyncio.sleep(TRAVEL_SECONDS)


async def _no_metadata() -> InstanceId:
    raise MetadataError("there is no metadata service here")
