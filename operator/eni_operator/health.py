"""/healthz, /readyz and /metrics over HTTP. Answers from memory, asks nobody."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], str]
"""Returns why not, or nothing when all is well."""


def application(*, alive: Check, ready: Check, metrics: Callable[[], bytes]) -> web.Application:
    """Returns the HTTP application; ``metrics`` gives them in Prometheus's text format."""

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": _PROMETHEUS})

    app = web.Application()
    app.router.add_get("/healthz", _probe(alive))
    app.router.add_get("/readyz", _probe(ready))
    app.router.add_get("/metrics", scrape)
    return app


def _probe(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        why_not = check()
        return web.Response(text=f"{why_not or 'ok'}\n", status=503 if why_not else 200)

    return answer


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serves while the context lasts; OSError when the address cannot be had."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
