"""Puts the operator together and runs it until it is told to stop. Decides nothing.

Scope ``node``: one loop, its watches and metadata's hints, and a candidate for the cluster-wide duties. Scope
``cluster``: a candidate for everything; who does not lead holds nothing and watches nothing.
"""

import asyncio
import logging
import math
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web
from kubernetes_asyncio.client.api_client import ApiClient

from eni_operator import health, metrics, vpc_cni_metrics
from eni_operator.controllers import cluster, election
from eni_operator.controllers.eniconfig_status import ENIConfigStatuses, StatusSeams
from eni_operator.controllers.events import Events, Subject
from eni_operator.controllers.fleet import Fleet, FleetSeams
from eni_operator.controllers.kube import POOLS, KubeObject, Pages
from eni_operator.controllers.kube_client import KubeClient
from eni_operator.controllers.leader import Leader, LeaderSeams
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.reconcile import Process, Reconciler
from eni_operator.controllers.sweep import Sweep, SweepSeams
from eni_operator.controllers.watches import Watches, spread
from eni_operator.controllers.workplace import Seams
from eni_operator.ec2.client import Answered, Ec2Client, open_client
from eni_operator.ec2.throttle import CLUSTER_SHARE, NODE_SHARE, Throttle
from eni_operator.inventory.gathering import AT_ONCE
from eni_operator.inventory.metadata import Metadata, MetadataError
from eni_operator.inventory.metadata_source import RESYNC_SECONDS, MetadataSource
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings

log = logging.getLogger(__name__)

STALE_SECONDS: Final = 300.0
"""Without a run that got through for so long the operator calls itself not ready."""
METADATA_RETRY_SECONDS: Final = 2.0
HINT_SECONDS: Final = 5.0
"""How often it is looked whether metadata is to be asked; ``inventory.hints`` says how often it is."""
GATHER_SECONDS: Final = 0.1
"""In scope ``cluster`` what nodes ask within this time is one call."""
CLUSTER_RESYNC_SECONDS: Final = 300
"""In scope ``cluster`` no metadata tells of ENIs of others either; asking for all nodes together is cheap."""
VPC_SECONDS: Final = 600.0
"""In scope ``cluster`` no metadata tells of new VPC blocks, so EC2 is asked."""
STATUS_SECONDS: Final = {"node": 60.0, "cluster": 10.0}
"""How often ENIConfig statuses are computed: from a list of all pools, or from what is watched anyway."""


async def run(settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        configuration = await cluster.load(environ, settings.cluster_endpoint)
        api = ApiClient(configuration)
        stack.push_async_callback(api.close)
        ec2 = await stack.enter_async_context(_open_ec2(settings))
        operator = Operator(settings, configuration, KubeClient(api), ec2)
        address = settings.metrics_address
        await stack.enter_async_context(health.serve(operator.application(), address.host, address.port))
        await stack.enter_async_context(operator.running())
        log.info("running", extra={"scope": settings.scope, "node": settings.node_name})
        await stop.wait()
        log.info("stopping")


@asynccontextmanager
async def _open_ec2(settings: Settings) -> AsyncIterator[Ec2Client]:
    region = settings.region or await _own_region(settings)
    share = CLUSTER_SHARE if settings.scope == "cluster" else NODE_SHARE
    client = open_client(
        Throttle(time.monotonic, asyncio.sleep, share),
        region=region,
        endpoint_url=settings.ec2_endpoint or None,
        read_timeout_seconds=settings.http_timeout_seconds,
        observe=_observe,
        queued=metrics.observe_ec2_queue,
    )
    async with client as ec2:
        yield ec2


def _observe(call: Answered) -> None:
    metrics.observe_ec2_call(call.operation, type(call.failure).__name__ if call.failure else "ok", call.seconds)
    code = "" if call.failure is None else call.failure.code or type(call.failure).__name__
    vpc_cni_metrics.observe_call(call.operation, code, call.status, call.seconds)


async def _own_region(settings: Settings) -> str:
    while True:
        try:
            return await Metadata(settings.imds_endpoint).region()
        except MetadataError as error:
            log.warning(
                "the Region is not known, set AWS_REGION or let the metadata service answer",
                extra={"error": str(error)},
            )
            await asyncio.sleep(spread(METADATA_RETRY_SECONDS))


@dataclass(slots=True)
class _Work:
    """What runs while this process works on nodes."""

    fleet: Fleet
    watches: Watches


class Operator:
    """The parts of one process, and how they hang together."""

    def __init__(self, settings: Settings, configuration: object, kube: KubeClient, ec2: Ec2Client) -> None:
        self._settings = replace(settings, resync_seconds=_resync_seconds(settings))
        self._configuration = configuration
        self._kube = kube
        self._ec2 = ec2
        self._metadata = Metadata(settings.imds_endpoint)
        self._events = Events(kube, time.time)
        self._is_of_cluster = settings.scope == "cluster"
        terms = election.CLUSTER if self._is_of_cluster else election.NODES
        seams = LeaderSeams(clock=time.monotonic, wall=time.time, sleep=asyncio.sleep, jitter=lambda: spread(1.0))
        self._leader = Leader(kube, _identity(settings), terms, seams)
        self._tasks: list[asyncio.Task[None]] = []
        self._work: _Work | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs while the context lasts."""
        if self._is_of_cluster:
            work = {"leader": self._leader.run(self._lead_cluster)}
        else:
            work = {
                "node": self._work_on(self._settings.node_name),
                "hints": self._follow_hints(),
                "leader": self._leader.run(self._lead_nodes),
            }
        work["events"] = self._events.run()
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # Work

    def _process(self) -> Process:
        settings = self._settings
        told = MetadataSource(self._metadata)
        region = Region(
            self._ec2,
            time.time,
            source=told if settings.imds_only else None,
            spare=None if self._is_of_cluster else told,
            gather_seconds=GATHER_SECONDS if self._is_of_cluster else AT_ONCE,
            vpc_seconds=VPC_SECONDS if self._is_of_cluster else math.inf,
        )
        seams = Seams(
            clock=time.time,
            sleep=asyncio.sleep,
            jitter=lambda: spread(1.0),
            nonce=lambda: secrets.token_hex(8),
            own_instance=self._metadata.instance_id,
        )
        pod = Subject(settings.pod_name, settings.pod_uid, "Pod", settings.pod_namespace) if settings.pod_name else None
        return Process(settings, self._kube, region, self._ec2.for_pool, self._events, seams, pod)

    async def _work_on(self, only: str | None) -> None:
        """Works on one node, or on all of them, until cancelled."""
        process, loop = self._process(), asyncio.get_running_loop()
        fleet = Fleet(
            self._kube,
            lambda name: Reconciler(name, process, Observed(name)),
            FleetSeams(asyncio.sleep, random.random),
            only,
        )

        def hand_over(plural: str, event: str | None, item: KubeObject) -> None:
            loop.call_soon_threadsafe(fleet.take, plural, event, item)

        watches = Watches(only, self._configuration, hand_over)
        self._work = _Work(fleet, watches)
        watches.start()
        try:
            await fleet.run()
        finally:
            self._work = None
            await watches.stop()

    async def _follow_hints(self) -> None:
        """Lets metadata tell that EC2 is worth a look; only on the instance itself is there any."""
        while not self._settings.imds_only:
            await asyncio.sleep(spread(HINT_SECONDS))
            for loop in self._loops():
                await loop.follow_hints(self._metadata)

    def _loops(self) -> list[Reconciler]:
        loops = self._work.fleet.loops.values() if self._work is not None else ()
        return [loop for loop in loops if isinstance(loop, Reconciler)]

    # Duties of the leader

    async def _lead_nodes(self) -> None:
        await self._perform_duties(lambda: self._kube.pages(POOLS))

    async def _lead_cluster(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_on(None), name="fleet")
            group.create_task(self._perform_duties(self._pool_pages), name="duties")

    def _configs(self) -> Mapping[str, KubeObject]:
        return self._work.fleet.eniconfigs if self._work is not None else {}

    async def _pool_pages(self) -> AsyncIterator[list[KubeObject]]:
        if self._work is not None:
            async for page in self._work.fleet.pool_pages():
                yield page

    async def _perform_duties(self, pools: Pages) -> None:
        settings = self._settings
        statuses = ENIConfigStatuses(
            self._kube, self._configs, pools, StatusSeams(time.time, asyncio.sleep), STATUS_SECONDS[settings.scope]
        )
        seams = SweepSeams(time.monotonic, asyncio.sleep, random.random, self._leader.leads)
        sweep = Sweep(self._ec2, self._kube, pools, settings.cluster_name, seams)
        async with asyncio.TaskGroup() as group:
            group.create_task(statuses.run(), name="eniconfig statuses")
            if settings.sweep:
                group.create_task(sweep.run(), name="sweep")

    # Health

    def application(self) -> web.Application:
        """Returns /healthz, /readyz and /metrics."""
        return health.application(
            alive=self._why_dead, ready=self._why_not_ready, metrics=lambda: metrics.text() + vpc_cni_metrics.text()
        )

    def _why_dead(self) -> str:
        ended = [task.get_name() for task in self._tasks if task.done()]
        if self._work is not None:
            ended += self._work.fleet.ended()
            ended += [] if self._work.watches.is_alive() else ["watches"]
        return f"ended: {', '.join(ended)}" if ended else ""

    def _why_not_ready(self) -> str:
        """One that waits for the lead of a cluster is ready to take it."""
        if self._work is None:
            return "" if self._is_of_cluster else "the watches are not up"
        instants = [loop.succeeded_at for loop in self._loops()]
        succeeded = [at for at in instants if at is not None]
        if not succeeded:
            return "no run has got through yet" if instants or not self._is_of_cluster else ""
        age = time.time() - max(succeeded)
        return f"no run has got through for {age:.0f} s" if age > STALE_SECONDS else ""


def _resync_seconds(settings: Settings) -> int:
    """Returns how often an instance is looked at though nothing hints at a change."""
    if settings.imds_only:
        return int(RESYNC_SECONDS)
    if settings.scope == "cluster":
        return min(settings.resync_seconds, CLUSTER_RESYNC_SECONDS)
    return settings.resync_seconds


def _identity(settings: Settings) -> str:
    """Names this process in the Lease: never the same twice, or a successor would believe that it leads."""
    name = settings.pod_name or settings.node_name or socket.gethostname()
    return f"{name}_{secrets.token_hex(4)}"
