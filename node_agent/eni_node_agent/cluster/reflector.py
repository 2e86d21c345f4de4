"""A reflector: keeps a copy of what matches a field selector, through outages of the API server.

Decides when to list, watch and wait. What the objects mean is the caller's business (``supply``, ``pods``). A list
replaces the whole copy, so what vanished while the watch was away is noticed.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from eni_node_agent.cluster.api import ApiError, Json, ListWatch, Selection, UnreachableError

log = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
"""One small request a node every few seconds while the API server is away; it comes back to no storm."""
SHORTEST_WATCH_SECONDS: Final = 1.0
"""A watch that ends sooner is opened again only after a pause: some proxies end every watch at once."""
WATCH_SECONDS: Final = (300, 600)
"""Asked of the API server, at random between them as client-go does, so that watches do not end together."""
GONE: Final = 410


class Reflector(Generic[T]):
    """A copy, by uid, of the objects under a path that match a field selector, each reduced by ``keep``."""

    def __init__(
        self,
        api: ListWatch,
        selection: Selection,
        *,
        keep: Callable[[Json], T | None],
        changed: Callable[[Mapping[str, T]], None],
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Makes the reflector.

        Args:
            api: the API server.
            selection: which objects.
            keep: what is kept of an object; None: nothing.
            changed: called with the whole copy after every list and every event that changed it.
            sleep: waits, in seconds.
            jitter: random number from 0 to 1.
        """
        self._api = api
        self._selection = selection
        self._keep = keep
        self._changed = changed
        self._sleep = sleep
        self._jitter = jitter
        self._copy: dict[str, T] = {}
        self._version = ""
        self._failures = 0

    async def run(self) -> None:
        """Follows the objects for ever."""
        while True:
            try:
                await self._follow()
            except (ApiError, UnreachableError) as error:
                if isinstance(error, ApiError) and error.status == GONE:
                    self._version = ""
                await self._pause(error)

    async def _follow(self) -> None:
        """Lists where there is nothing to go on from, watches until the watch ends."""
        if not self._version:
            listing = await self._api.list_objects(self._selection)
            self._copy = await self._reduced(listing.items)
            self._version = listing.resource_version
            self._answered()
            self._changed(self._copy)
        loop = asyncio.get_running_loop()
        opened_at = loop.time()
        shortest, longest = WATCH_SECONDS
        seconds = shortest + round(self._jitter() * (longest - shortest))
        async with contextlib.aclosing(self._api.watch_objects(self._selection, self._version, seconds)) as events:
            async for event in events:
                self._answered()
                self._take(event)
        if loop.time() - opened_at < SHORTEST_WATCH_SECONDS:
            await self._sleep(SHORTEST_WATCH_SECONDS)

    async def _reduced(self, items: Iterator[Json]) -> dict[str, T]:
        """Reads one object at a time and lets requests come in between: those of a full node take 30 ms."""
        kept = {}
        for item in items:
            value = self._keep(item)
            if value is not None:
                kept[item["metadata"]["uid"]] = value
            await asyncio.sleep(0)
        return kept

    def _take(self, event: Json) -> None:
        metadata = event["object"]["metadata"]
        self._version = metadata["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return
        before = self._copy.get(metadata["uid"])
        after = None if event["type"] == "DELETED" else self._keep(event["object"])
        if after is None:
            self._copy.pop(metadata["uid"], None)
        else:
            self._copy[metadata["uid"]] = after
        if before != after:
            self._changed(self._copy)

    def _answered(self) -> None:
        if self._failures:
            log.info("API server answers again", extra={"path": self._selection.path, "failures": self._failures})
        self._failures = 0

    async def _pause(self, error: Exception) -> None:
        if not self._failures:
            log.warning("API server does not serve", extra={"path": self._selection.path, "error": str(error)})
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 30)
        await self._sleep(pause * (0.5 + self._jitter()))
