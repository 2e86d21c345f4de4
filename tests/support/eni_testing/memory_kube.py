"""The API server's part for one node, in memory: its Node, its pool, the ENIConfigs; and a process's access to them.

What is held is never changed in place where a reader could see it: who was told of a version keeps that version.
"""

import itertools
from collections.abc import Callable
from typing import Any, Final

from eni_crds.nodeippool import Supply
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, KubeError, KubeObject
from eni_testing.engine_sdk import Life

NODE: Final = "node-a"

Watcher = Callable[[str, str, KubeObject], None]
"""Told of every change: kind, event, object."""


class MemoryKube:
    """Holds the objects; status is merged as server-side apply would."""

    def __init__(self, instance_id: str, name: str = NODE, eniconfigs: list[KubeObject] | None = None) -> None:
        self.node: KubeObject = {
            "metadata": {"name": name, "uid": f"{name}-uid", "labels": {}, "annotations": {}},
            "spec": {"providerID": f"aws:///us-east-1a/{instance_id}"},
            "status": {"capacity": {"pods": "110"}},
        }
        self.pool: KubeObject | None = None
        self.eniconfigs: list[KubeObject] = eniconfigs if eniconfigs is not None else []
        self.events: list[KubeObject] = []
        self.writes = 0
        self.outage: int | None = None
        """HTTP status with which every call fails; 0 for no answer."""
        self.watchers: list[Watcher] = []
        self._uids = itertools.count(1)
        self._parsed: tuple[KubeObject, Supply] | None = None

    def snapshot(self) -> KubeObject:
        """Returns the pool as a watch would show it."""
        assert self.pool is not None
        return {**self.pool, "status": {**self.pool["status"]}}

    def put_pool(self, body: KubeObject) -> KubeObject:
        """Merges metadata in, making the object where it is missing."""
        old = self.pool or {"metadata": {"uid": f"pool-{next(self._uids)}"}, "spec": {}, "status": {}}
        self.pool = {**old, "metadata": {**old["metadata"], **body["metadata"]}}
        return self._told()

    def put_spec(self, spec: KubeObject) -> None:
        """Replaces what people ask of the pool."""
        assert self.pool is not None
        self.pool = {**self.pool, "spec": spec}
        self._told()

    def put_status(self, body: KubeObject) -> KubeObject:
        """Replaces supply and the conditions of the same types."""
        if self.pool is None:
            raise KubeError("apply", 404, "no such pool")
        self.writes += 1
        status = {key: value for key, value in self.pool["status"].items() if key != "supply"}
        conditions = {c["type"]: c for c in [*status.get("conditions", []), *body["status"]["conditions"]]}
        supply = {"supply": body["status"]["supply"]} if "supply" in body["status"] else {}
        self.pool = {**self.pool, "status": {**status, **supply, "conditions": list(conditions.values())}}
        return self._told()

    def put_usage(self, usage: KubeObject) -> KubeObject:
        """Replaces the agent's part."""
        assert self.pool is not None
        self.pool = {**self.pool, "status": {**self.pool["status"], "usage": usage}}
        return self._told()

    def drop_pool(self, uid: str) -> None:
        """Deletes the pool if it is still this one."""
        if self.pool is not None and self.pool["metadata"]["uid"] == uid:
            gone, self.pool = self.snapshot(), None
            self.tell(POOLS, "DELETED", gone)

    def change_node(self, **spec: Any) -> None:
        """Changes the Node's spec."""
        self.node = {**self.node, "spec": {**self.node["spec"], **spec}}
        self.tell(NODES, "MODIFIED", self.node)

    def get(self, plural: str, name: str) -> KubeObject | None:
        """Returns an object of a kind."""
        items = {NODES: [self.node], POOLS: [self.snapshot()] if self.pool is not None else []}
        found = items.get(plural, self.eniconfigs)
        return next((item for item in found if item["metadata"]["name"] == name), None)

    def tell(self, plural: str, event: str, item: KubeObject) -> None:
        """Tells every watcher."""
        for watcher in self.watchers:
            watcher(plural, event, item)

    def _told(self) -> KubeObject:
        shown = self.snapshot()
        self.tell(POOLS, "MODIFIED", shown)
        return shown

    def condition(self, type_: str) -> KubeObject:
        """Returns one condition."""
        found: KubeObject = next(c for c in self.snapshot()["status"]["conditions"] if c["type"] == type_)
        return found

    def supply(self) -> Supply | None:
        """Returns the supply as the agent reads it."""
        raw = (self.pool or {}).get("status", {}).get("supply")
        if not raw:
            return None
        if self._parsed is None or self._parsed[0] is not raw:
            self._parsed = (raw, Supply.parse(raw))
        return self._parsed[1]


class KubeSession:
    """One process's access to the API server: what a loop calls, and what the keeper of the loops calls."""

    def __init__(self, kube: MemoryKube, life: Life) -> None:
        self._kube = kube
        self._life = life

    async def _do(self, name: str, effect: Callable[[], Any]) -> Any:
        return await self._life.step(name, lambda: self._answer(name, effect), lambda: KubeError(name, 0, "lost"))

    def _answer(self, name: str, effect: Callable[[], Any]) -> Any:
        if self._kube.outage is not None:
            raise KubeError(name, self._kube.outage, "outage")
        return effect()

    async def get_node(self, name: str) -> KubeObject | None:
        return await self.get(NODES, name)

    async def get_pool(self, name: str) -> KubeObject | None:
        return await self.get(POOLS, name)

    async def get(self, plural: str, name: str) -> KubeObject | None:
        return await self._do("get", lambda: self._kube.get(plural, name))  # type: ignore[no-any-return]

    async def names(self, plural: str, only: str | None = None) -> frozenset[str]:
        name = only or self._kube.node["metadata"]["name"]
        if plural == ENICONFIGS:
            return frozenset(item["metadata"]["name"] for item in await self.list_eniconfigs())
        return frozenset([name] if await self.get(plural, name) is not None else [])

    async def list_eniconfigs(self) -> list[KubeObject]:
        return await self._do("list_eniconfigs", lambda: list(self._kube.eniconfigs))  # type: ignore[no-any-return]

    async def apply_pool(self, pool: KubeObject) -> KubeObject:
        return await self._do("apply_pool", lambda: self._kube.put_pool(pool))  # type: ignore[no-any-return]

    async def apply_pool_status(self, pool: KubeObject) -> KubeObject:
        return await self._do("apply_pool_status", lambda: self._kube.put_status(pool))  # type: ignore[no-any-return]

    async def delete_pool(self, _name: str, uid: str) -> None:
        await self._do("delete_pool", lambda: self._kube.drop_pool(uid))

    async def create_event(self, event: KubeObject) -> None:
        self._kube.events.append(event)

    async def patch_event(self, _namespace: str, _name: str, patch: KubeObject) -> None:
        self._kube.events.append(patch)
