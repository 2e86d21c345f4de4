"""Health and metrics over HTTP, for kubelet and Prometheus on this node. Decides nothing: it is told."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


@contextlib.asynccontextmanager
async def serve(address: str, problem: Callable[[], str], metrics: Callable[[], bytes]) -> AsyncIterator[None]:
    """Serves /healthz, /readyz and /metrics while the context lasts.

    Args:
        address: host and port.
        problem: why the node cannot serve pods, in a sentence; empty: it can.
        metrics: all metrics in Prometheus's text format.

    Raises:
        OSError: the port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="the event loop turns\n")

    async def readyz(_: web.Request) -> web.Response:
        text = problem()
        return web.Response(text=(text or "serving") + "\n", status=503 if text else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": _PROMETHEUS})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        yield
    finally:
        await runner.cleanup()
