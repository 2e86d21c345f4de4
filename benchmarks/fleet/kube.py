"""The fleet's API server, in memory: nodes and pools, reads and writes that take a moment, watches that tell later.

Decides what a write makes of an object (server-side apply, as far as our writers need it). Objects are replaced, never
changed, so a reader may keep what it was given.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

from eni_operator.controllers.kube import NODES, POOLS, KubeError, KubeObject

CALL_SECONDS: Final = 0.015
"""Measured on a real API server for an apply of a pool; reads take less."""
WATCH_SECONDS: Final = 0.01

Watcher = Callable[[str, str | None, KubeObject], None]
"""Told of every change of what it watches: plural, event, object."""


class ApiServer:
    """Nodes and pools by name."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, KubeObject]] = {NODES: {}, POOLS: {}}
        self._watchers: dict[str | None, list[Watcher]] = {}
        self._uids = itertools.count(1)
        self.writes = 0
        """Writes of pools and their statuses, the agents' included."""

    def watch(self, watcher: Watcher, only: str | None = None) -> None:
        """Tells a watcher of every change from now on, of the objects of one name or of all."""
        self._watchers.setdefault(only, []).append(watcher)

    def add_node(self, name: str, instance_id: str, maximum_pods: int) -> None:
        """Registers a node."""
        node = {
            "metadata": {"name": name, "uid": f"uid-{name}", "labels": {}, "annotations": {}},
            "spec": {"providerID": f"aws:///us-east-1a/{instance_id}"},
            "status": {"capacity": {"pods": str(maximum_pods)}},
        }
        self._put(NODES, name, node)

    def get(self, plural: str, name: str) -> KubeObject | None:
        """Returns an object; None where there is none."""
        return self._objects.get(plural, {}).get(name)

    def names(self, plural: str) -> frozenset[str]:
        """Returns the names there are of a kind."""
        return frozenset(self._objects.get(plural, {}))

    def merge_pool(self, body: KubeObject) -> KubeObject:
        """Merges metadata in, making the pool where it is missing."""
        name = body["metadata"]["name"]
        pool = self.get(POOLS, name) or {"metadata": {"uid": f"pool-{next(self._uids)}"}, "spec": {}, "status": {}}
        self.writes += 1
        return self._put(POOLS, name, {**pool, "metadata": {**pool["metadata"], **body["metadata"]}})

    def merge_status(self, body: KubeObject) -> KubeObject:
        """Replaces the parts of the status that are named, and the conditions of the same types."""
        name, told = body["metadata"]["name"], body["status"]
        pool = self.get(POOLS, name)
        if pool is None:
            raise KubeError("apply", 404, f"there is no pool {name}")
        old = pool.get("status", {})
        conditions = {c["type"]: c for c in [*old.get("conditions", []), *told.get("conditions", [])]}
        self.writes += 1
        return self._put(POOLS, name, {**pool, "status": {**old, **told, "conditions": list(conditions.values())}})

    def drop_pool(self, name: str, uid: str) -> None:
        """Deletes a pool if it is still this one."""
        pool = self.get(POOLS, name)
        if pool is not None and pool["metadata"]["uid"] == uid:
            del self._objects[POOLS][name]
            self._tell(POOLS, "DELETED", pool)

    def _put(self, plural: str, name: str, item: KubeObject) -> KubeObject:
        event = "MODIFIED" if name in self._objects[plural] else "ADDED"
        self._objects[plural][name] = item
        self._tell(plural, event, item)
        return item

    def _tell(self, plural: str, event: str, item: KubeObject) -> None:
        loop = asyncio.get_running_loop()
        for watcher in (*self._watchers.get(item["metadata"]["name"], ()), *self._watchers.get(None, ())):
            loop.call_later(WATCH_SECONDS, watcher, plural, event, item)


class Session:
    """One operator's calls to the API server: what ``controllers.kube`` asks of it."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def get_node(self, name: str) -> KubeObject | None:
        """Returns a Node."""
        return await self.get(NODES, name)

    async def get_pool(self, name: str) -> KubeObject | None:
        """Returns a NodeIPPool."""
        return await self.get(POOLS, name)

    async def get(self, plural: str, name: str) -> KubeObject | None:
        """Returns an object of a kind."""
        await asyncio.sleep(CALL_SECONDS)
        return self._server.get(plural, name)

    async def names(self, plural: str, only: str | None = None) -> frozenset[str]:
        """Returns the names there are of a kind."""
        await asyncio.sleep(CALL_SECONDS)
        found = self._server.names(plural)
        return found if only is None else found & {only}

    async def list_eniconfigs(self) -> list[KubeObject]:
        """Returns none: nobody in this fleet needs one."""
        await asyncio.sleep(CALL_SECONDS)
        return []

    async def apply_pool(self, pool: KubeObject) -> KubeObject:
        """Creates or updates a pool's metadata."""
        await asyncio.sleep(CALL_SECONDS)
        return self._server.merge_pool(pool)

    async def apply_pool_status(self, pool: KubeObject) -> KubeObject:
        """Writes the operator's part of a pool's status."""
        await asyncio.sleep(CALL_SECONDS)
        return self._server.merge_status(pool)

    async def delete_pool(self, name: str, uid: str) -> None:
        """Deletes this very pool."""
        await asyncio.sleep(CALL_SECONDS)
        self._server.drop_pool(name, uid)

    async def create_event(self, event: KubeObject) -> None:
        """Takes an Event, and keeps it nowhere."""

    async def patch_event(self, namespace: str, name: str, patch: KubeObject) -> None:
        """Takes a change of an Event, and keeps it nowhere."""
