"""Puts the stand-in together and serves it: EC2 and STS on ``/``, metadata of every instance, and the control.

Counterpart: ``command`` is the command line; the fabric serves metadata inside namespaces with ``metadata_app``.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from eni_lab.aws.calls import CallLog
from eni_lab.aws.control import Control
from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.faults import FaultPlan
from eni_lab.aws.http import LARGEST_BODY, Endpoint
from eni_lab.aws.imds import InstanceOf, MetadataService
from eni_lab.aws.latency import NO_TIME, ServiceTimes
from eni_lab.aws.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Server:
    """A served stand-in; ``port`` is the one in use."""

    host: str
    port: int
    endpoint: Endpoint

    @property
    def url(self) -> str:
        """Returns the endpoint's URL."""
        return f"http://{self.host}:{self.port}"


def new_endpoint(engine: Engine, *, service_times: bool) -> Endpoint:
    """Returns an endpoint without faults and with an empty log; keys are unpredictable."""
    sessions = Sessions(engine.clock, random.SystemRandom())
    times = ServiceTimes() if service_times else NO_TIME
    return Endpoint(engine, sessions, FaultPlan(), CallLog(), times)


def endpoint_app(endpoint: Endpoint) -> web.Application:
    """Returns the application of the AWS endpoint; an instance's metadata is under ``/imds/<instance id>/latest``."""
    app = web.Application(client_max_size=LARGEST_BODY)
    endpoint.add_routes(app)
    Control(endpoint).add_routes(app)
    by_path = MetadataService(endpoint.engine, endpoint.sessions, lambda request: request.match_info["instance"])
    by_path.add_routes(app, "/imds/{instance}")
    return app


def metadata_app(endpoint: Endpoint, instance_of: InstanceOf) -> web.Application:
    """Returns the application behind 169.254.169.254, for whoever can tell which instance asks."""
    app = web.Application()
    MetadataService(endpoint.engine, endpoint.sessions, instance_of).add_routes(app)
    return app


@asynccontextmanager
async def serve(host: str, port: int, engine: Engine, *, service_times: bool = True) -> AsyncIterator[Server]:
    """Serves an engine while the context lasts; port 0 takes a free one."""
    endpoint = new_endpoint(engine, service_times=service_times)
    runner = web.AppRunner(endpoint_app(endpoint), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield Server(host, runner.addresses[0][1], endpoint)
    finally:
        await runner.cleanup()
