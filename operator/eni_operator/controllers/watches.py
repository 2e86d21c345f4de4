"""Watches on nodes, pools and ENIConfigs, by kopf on a thread of its own; they feed and never write.

Decides how watching survives: kopf alone would end on a long outage, on a rotated token and on a removed kind, and it
cancels every task of its loop when it ends. So it has its own loop, endless back-offs, our own session, and is started
again whenever it falls. Only ``on.event`` handlers are used, for every other kind writes to the object.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import aiohttp
import kopf

from eni_crds.names import ENICONFIG_GROUP, ENICONFIG_VERSION, POOL_GROUP, POOL_VERSION
from eni_operator import metrics
from eni_operator.controllers import cluster
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, KubeObject
from eni_operator.controllers.observed import trim

log = logging.getLogger(__name__)

Feed = Callable[[str, str | None, KubeObject], None]
"""Told of every event, on the watches' thread: plural, type (None for a listed object), object."""

CONNECT_SECONDS: Final = 5
REQUEST_SECONDS: Final = 30
WATCH_GAP_SECONDS: Final = 1.0
"""A watch that the server closes at once would be opened again thousands of times a second."""
UNAUTHORIZED_PAUSES: Final = (0.0, 0.5, 2.0, 5.0)
"""A hiccup of the server's authenticator must not end anything."""
RESTART_SECONDS: Final = 1.0
JOIN_SECONDS: Final = 10
_KINDS: Final = (
    ("", "v1", NODES),
    (POOL_GROUP, POOL_VERSION, POOLS),
    (ENICONFIG_GROUP, ENICONFIG_VERSION, ENICONFIGS),
)
_NAMED: Final = _KINDS[:2]
"""In scope ``node``, of these only the object with the node's name."""
PAGE: Final = 100
"""Objects in a page of a list: reading one holds the interpreter up for milliseconds, not for seconds."""


def spread(seconds: float) -> float:
    """Returns the time with up to a third taken or added, so that a fleet does not move in step."""
    return seconds * random.uniform(0.67, 1.33)  # noqa: S311 - spreads load, guards nothing


class EndlessBackoff:
    """kopf ends when its back-offs do, so these never do."""

    def __iter__(self) -> Iterator[float]:
        """Yields half a second, doubling to half a minute."""
        delay = 0.5
        while True:
            yield spread(delay)
            delay = min(delay * 2, 30.0)


def make_settings(node_name: str | None) -> kopf.OperatorSettings:
    """Returns kopf's settings: that node's objects or, with None, all; nothing posted, nothing given up."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = EndlessBackoff()
    if node_name is None:
        settings.watching.chunk_size = PAGE
        return settings
    for kind in _NAMED:
        settings.watching.field_selectors[kind] = f"metadata.name={node_name}"
    return settings


def make_registry(feed: Feed, login: Callable[[], Awaitable[kopf.AiohttpSession]]) -> kopf.OperatorRegistry:
    """Returns handlers that hand raw objects over and do nothing else."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await login()

    kopf.on.login(registry=registry)(log_in)
    for group, version, plural in _KINDS:
        kopf.on.event(group, version, plural, registry=registry, id=plural)(_handler(plural, feed))
    return registry


def _handler(plural: str, feed: Feed) -> Callable[..., Awaitable[None]]:
    async def hand_over(type: str | None, body: Any, **_: Any) -> None:  # noqa: A002 - kopf passes it by this name
        feed(plural, type, trim(plural, dict(body)))

    return hand_over


async def make_session(configuration: Any) -> kopf.AiohttpSession:
    """Returns a session that reads the credential for every request and opens watches at a measured pace."""
    connector = aiohttp.TCPConnector(limit=0, ssl=cluster.tls(configuration))
    session = aiohttp.ClientSession(
        connector=connector, middlewares=(_authorize(configuration), _pace()), headers={"User-Agent": "eni-operator"}
    )
    return kopf.AiohttpSession(server=configuration.host, default_namespace="default", aiohttp_session=session)


def _authorize(configuration: Any) -> aiohttp.ClientMiddlewareType:
    async def authorize(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await _send_as_us(configuration, request, send)
        for pause in UNAUTHORIZED_PAUSES:
            if response.status != 401:
                break
            response.close()
            await asyncio.sleep(spread(pause))
            response = await _send_as_us(configuration, request, send)
        return response

    return authorize


async def _send_as_us(
    configuration: Any, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    value = await cluster.authorization(configuration)
    if value:
        request.headers["Authorization"] = value
    return await send(request)


def _pace() -> aiohttp.ClientMiddlewareType:
    opened: dict[str, float] = {}

    async def pace(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.query.get("watch") == "true":
            path = request.url.path
            wait = opened.get(path, -WATCH_GAP_SECONDS) + spread(WATCH_GAP_SECONDS) - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            opened[path] = time.monotonic()
        return await send(request)

    return pace


class Watches:
    """kopf's thread. ``feed`` is called on it. Without a name all nodes are watched."""

    def __init__(self, node_name: str | None, configuration: Any, feed: Feed) -> None:
        self._node_name = node_name
        self._configuration = configuration
        self._feed = feed
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flag: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        """Starts watching."""
        logging.getLogger("kopf.objects").setLevel(logging.WARNING)
        self._thread.start()

    def is_alive(self) -> bool:
        """Tells whether the thread lives."""
        return self._thread.is_alive()

    async def stop(self) -> None:
        """Stops watching and waits for the thread."""
        self._stopping.set()
        if self._loop is not None and self._flag is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._flag.set)
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._watch())
            except Exception:
                log.exception("the watches fell and are started again")
            if not self._stopping.is_set():
                metrics.WATCH_RESTARTS.inc()
                self._stopping.wait(spread(RESTART_SECONDS))

    async def _watch(self) -> None:
        # An asyncio.Event of this very loop: with a threading.Event a crash of kopf would hang asyncio.run for ever.
        self._loop, self._flag = asyncio.get_running_loop(), asyncio.Event()
        if self._stopping.is_set():
            return
        await kopf.operator(
            registry=make_registry(self._feed, lambda: make_session(self._configuration)),
            settings=make_settings(self._node_name),
            clusterwide=True,
            identity=cast(
                "Any", self._node_name or "eni-operator"
            ),  # kopf would ask the password database, which does not know our user
            stop_flag=self._flag,
        )
