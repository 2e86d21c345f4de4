"""Watches on nodes, pools and ENIConfigs, by kopf on a thread of its own; they feed and never write.

Decides how watching survives: kopf alone would end on a long outage, on a rotated token and on a removed kind, and it
cancels every task of its loop when it ends, or waits for one of them for ever. So each time it is started it has a
thread and a loop of its own, endless back-offs and our own session; it is started again whenever it falls, and left
behind when it falls without an end. Only ``on.event`` handlers are used, for every other kind writes to the object.
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
END_SECONDS: Final = 8.0
"""kopf waits 5 s for its tasks to end, then cancels them once and waits for as long as it takes."""
LOOK_SECONDS: Final = 0.2
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


def make_registry(
    feed: Feed, login: Callable[[], Awaitable[kopf.AiohttpSession]], ending: Callable[[], None]
) -> kopf.OperatorRegistry:
    """Returns handlers that hand raw objects over and do nothing else; ``ending`` is called when kopf begins to end."""
    registry = kopf.OperatorRegistry()

    async def clean_up(**_: Any) -> None:
        ending()

    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await login()

    kopf.on.login(registry=registry)(log_in)
    kopf.on.cleanup(registry=registry)(clean_up)
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
    """kopf, round after round. ``feed`` is called on the round's thread. Without a name all nodes are watched."""

    def __init__(self, node_name: str | None, configuration: Any, feed: Feed) -> None:
        self._node_name = node_name
        self._configuration = configuration
        self._feed = feed
        self._stopping = threading.Event()
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
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._see_through(_Round(self._node_name, self._configuration, self._feed))
            if not self._stopping.is_set():
                metrics.WATCH_RESTARTS.inc()
                self._stopping.wait(spread(RESTART_SECONDS))

    def _see_through(self, current: "_Round") -> None:
        """Returns when the round is over, or does not end although it has begun to."""
        current.start()
        while not current.is_over(LOOK_SECONDS):
            if self._stopping.is_set():
                current.stop()
            if current.seconds_ending() > END_SECONDS:
                current.leave_behind()
                log.error("the watches fell without an end, their thread is left behind")
                return


class _Round:
    """One run of kopf, on a thread of its own."""

    def __init__(self, node_name: str | None, configuration: Any, feed: Feed) -> None:
        self._node_name = node_name
        self._configuration = configuration
        self._feed: Feed | None = feed
        self._is_over = threading.Event()
        self._ending_at: float | None = None
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flag: asyncio.Event | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="watching", daemon=True).start()

    def is_over(self, seconds: float) -> bool:
        """Waits for the end for so long; tells whether it has come."""
        return self._is_over.wait(seconds)

    def seconds_ending(self) -> float:
        """Returns for how long it has been ending; 0: it is not."""
        return 0.0 if self._ending_at is None else time.monotonic() - self._ending_at

    def stop(self) -> None:
        """Has kopf end; may be called again."""
        if not self._is_stopped and self._loop is not None and self._flag is not None and not self._loop.is_closed():
            self._is_stopped = True
            self._loop.call_soon_threadsafe(self._flag.set)

    def leave_behind(self) -> None:
        """From here on nothing of what it may yet see counts."""
        self._feed = None

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception:
            log.exception("the watches fell and are started again")
        finally:
            self._is_over.set()

    async def _watch(self) -> None:
        # An asyncio.Event of this very loop: with a threading.Event a crash of kopf would hang asyncio.run for ever.
        self._loop, self._flag = asyncio.get_running_loop(), asyncio.Event()
        await kopf.operator(
            registry=make_registry(self._see, lambda: make_session(self._configuration), self._begin_to_end),
            settings=make_settings(self._node_name),
            clusterwide=True,
            identity=cast(
                "Any", self._node_name or "eni-operator"
            ),  # kopf would ask the password database, which does not know our user
            stop_flag=self._flag,
        )

    def _see(self, plural: str, event: str | None, item: KubeObject) -> None:
        if self._feed is not None:
            self._feed(plural, event, item)

    def _begin_to_end(self) -> None:
        log.info("the watches are ending")
        self._ending_at = time.monotonic()
