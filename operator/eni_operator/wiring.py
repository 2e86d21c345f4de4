"""Puts the operator of one node together and runs it until it is told to stop. Decides nothing."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web
from kubernetes_asyncio.client.api_client import ApiClient

from eni_operator import health, metrics
from eni_operator.controllers import cluster
from eni_operator.controllers.events import Events
from eni_operator.controllers.identity import Metadata, MetadataError
from eni_operator.controllers.kube import KubeApi, KubeObject
from eni_operator.controllers.kube_client import KubeClient
from eni_operator.controllers.reconcile import Reconciler, Seams
from eni_operator.controllers.watches import Watches, spread
from eni_operator.ec2.client import Ec2Client, open_client
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings

log = logging.getLogger(__name__)

STALE_SECONDS: Final = 300.0
"""Without a run that got through for so long the operator calls itself not ready."""

METADATA_RETRY_SECONDS: Final = 2.0


async def run(settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        configuration = await cluster.load(environ, settings.cluster_endpoint)
        api = ApiClient(configuration)
        stack.push_async_callback(api.close)
        kube = KubeClient(api)
        ec2 = await stack.enter_async_context(_open_ec2(settings))
        watches = await stack.enter_async_context(_running(settings, kube, ec2, configuration))
        log.info("running", extra={"node": settings.node_name})
        await stop.wait()
        log.info("stopping", extra={"watches": watches.is_alive()})


@asynccontextmanager
async def _open_ec2(settings: Settings) -> AsyncIterator[Ec2Client]:
    region = settings.region or await _own_region(settings)
    throttle = Throttle(time.monotonic, asyncio.sleep)
    client = open_client(
        throttle, region=region, endpoint_url=settings.ec2_endpoint or None, observe=metrics.observe_ec2_call
    )
    async with client as ec2:
        yield ec2


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


@asynccontextmanager
async def _running(settings: Settings, kube: KubeApi, ec2: Ec2Client, configuration: object) -> AsyncIterator[Watches]:
    loop = asyncio.get_running_loop()
    events = Events(kube, settings.node_name, time.time)
    seams = Seams(
        clock=time.time,
        sleep=asyncio.sleep,
        jitter=lambda: spread(1.0),
        nonce=lambda: secrets.token_hex(8),
        own_instance=Metadata(settings.imds_endpoint).instance_id,
    )
    reconciler = Reconciler(settings, kube, Region(ec2, time.time), events, seams)

    def take(plural: str, event: str | None, item: KubeObject) -> None:
        if reconciler.observed.take(plural, event, item):
            reconciler.trigger.poke(plural)

    def hand_over(plural: str, event: str | None, item: KubeObject) -> None:
        loop.call_soon_threadsafe(take, plural, event, item)

    watches = Watches(settings.node_name, configuration, hand_over)
    tasks = [asyncio.create_task(reconciler.run(), name="loop"), asyncio.create_task(events.run(), name="events")]
    address = settings.metrics_address
    async with health.serve(_application(reconciler, watches, tasks), address.host, address.port):
        watches.start()
        try:
            yield watches
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
            await reconciler.close()
            await watches.stop()


def _application(reconciler: Reconciler, watches: Watches, tasks: list[asyncio.Task[None]]) -> web.Application:
    def alive() -> str:
        ended = [task.get_name() for task in tasks if task.done()]
        return f"ended: {', '.join(ended)}" if ended else "" if watches.is_alive() else "the watches have ended"

    def ready() -> str:
        since = reconciler.succeeded_at
        if since is None:
            return "no run has got through yet"
        age = time.time() - since
        return f"no run has got through for {age:.0f} s" if age > STALE_SECONDS else ""

    return health.application(alive=alive, ready=ready, registry=metrics.REGISTRY)
