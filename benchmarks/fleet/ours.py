"""The operator's real code on the model's account and API server: one process for all nodes, or one on each.

Decides nothing: planner, loops, inventory, executor, EC2 client and its lines are the product's own. Only the SDK below
the client, the API server and the agents are models. Counterpart: ``ipamd``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.fleet.account import Account, wall
from benchmarks.fleet.agents import Agent
from benchmarks.fleet.kube import ApiServer, Session
from benchmarks.fleet.programs import running
from benchmarks.fleet.progress import Progress
from benchmarks.fleet.scenarios import Scenario
from botocore.exceptions import ClientError

from eni_crds.nodeippool import Mode
from eni_lab.aws.engine.errors import Ec2Error
from eni_operator.controllers.events import Events
from eni_operator.controllers.fleet import Fleet, FleetSeams
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.reconcile import Process, Reconciler
from eni_operator.controllers.workplace import Seams
from eni_operator.domain.eni import InstanceId
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.throttle import CLUSTER_SHARE, NODE_SHARE, Throttle
from eni_operator.inventory.gathering import AT_ONCE
from eni_operator.inventory.metadata import MetadataError
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings
from eni_testing.virtual_loop import now

GATHER_SECONDS: Final = 0.2
"""How long requests of many nodes wait to become one."""
NODE_START_SECONDS: Final = 2.3
"""Measured: from the operator's start to its first run, where each node starts its own."""


class EngineSdk:
    """What the SDK's client does, on the account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def _make_api_call(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        try:
            return _present(await self._account.call(operation, parameters))
        except Ec2Error as error:
            answer = {"Error": {"Code": error.code, "Message": error.message}}
            raise ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": error.status}}, operation) from error


def _present(value: Any) -> Any:
    """Leaves out absent members, as the wire does."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return [_present(item) for item in value] if isinstance(value, list) else value


class _Operator:
    """One process of the operator; with ``only`` it serves that node."""

    def __init__(self, account: Account, server: ApiServer, scenario: Scenario, only: str | None = None) -> None:
        self._random = random.Random(account.random.random())
        self._nonces = 0
        session = Session(server)
        throttle = Throttle(now, asyncio.sleep, CLUSTER_SHARE if only is None else NODE_SHARE)
        ec2 = Ec2Client(EngineSdk(account), throttle)
        seams = Seams(
            clock=wall,
            sleep=asyncio.sleep,
            jitter=lambda: self._random.uniform(0.67, 1.33),
            nonce=self._nonce,
            own_instance=self._own_instance,
        )
        gather_seconds = GATHER_SECONDS if only is None else AT_ONCE
        self.process = Process(
            settings=_settings(scenario, only),
            kube=session,
            region=Region(ec2, wall, gather_seconds=gather_seconds, sleep=asyncio.sleep),
            lane=ec2.for_pool,
            events=Events(session, wall),
            seams=seams,
        )
        fleet_seams = FleetSeams(sleep=asyncio.sleep, chance=self._random.random)
        self.fleet = Fleet(session, self._loop, fleet_seams, only)
        server.watch(self.fleet.take, only)

    def _loop(self, name: str) -> Reconciler:
        return Reconciler(name, self.process, Observed(name))

    def _nonce(self) -> str:
        self._nonces += 1
        return f"{self._nonces:x}-{self._random.getrandbits(32):x}"

    async def _own_instance(self) -> InstanceId:
        raise MetadataError("there is no metadata service here")


def _settings(scenario: Scenario, only: str | None) -> Settings:
    policy = EnvironmentPolicy(mode=Mode.PREFIX if scenario.prefixes else None)
    return Settings(node_name=only or "", scope="cluster" if only is None else "node", policy=policy)


@asynccontextmanager
async def cluster(account: Account, scenario: Scenario, progress: Progress, joins: list[float]) -> AsyncIterator[None]:
    """Starts one operator for all nodes, which is there before the first joins."""
    server = ApiServer()
    operator = _Operator(account, server, scenario)

    async def live(number: int) -> None:
        await asyncio.sleep(joins[number])
        name = f"node-{number}"
        server.add_node(name, account.instances[number], scenario.maximum_pods)
        await Agent(name, account, server, progress.serves).run()

    async with running([operator.fleet.run(), *map(live, range(len(joins)))]):
        yield


@asynccontextmanager
async def node(account: Account, scenario: Scenario, progress: Progress, joins: list[float]) -> AsyncIterator[None]:
    """Starts an operator on every node, a while after it has joined."""
    server = ApiServer()

    async def serve(number: int) -> None:
        await asyncio.sleep(joins[number] + NODE_START_SECONDS)
        await _Operator(account, server, scenario, f"node-{number}").fleet.run()

    async def live(number: int) -> None:
        await asyncio.sleep(joins[number])
        name = f"node-{number}"
        server.add_node(name, account.instances[number], scenario.maximum_pods)
        await Agent(name, account, server, progress.serves).run()

    numbers = range(len(joins))
    async with running([*map(live, numbers), *map(serve, numbers)]):
        yield
