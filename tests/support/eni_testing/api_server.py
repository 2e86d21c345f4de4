"""An API server in the test's own process: list, watch and status apply of raw objects, and what can befall them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

PODS = "/api/v1/pods"
POOLS = "/apis/eni-operator.io/v1alpha1/nodeippools"
EVENTS = "/api/v1/namespaces/default/events"


@dataclass
class Applied:
    """One server-side apply."""

    path: str
    field_manager: str
    content_type: str
    body: dict[str, Any]

    @property
    def usage(self) -> dict[str, Any]:
        """The usage in it."""
        usage: dict[str, Any] = self.body["status"]["usage"]
        return usage


@dataclass
class ApiServer:
    """Objects by collection and name, with a history that can be forgotten."""

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {PODS: {}, POOLS: {}})
    requests: list[str] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    """Of pools."""
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name, as applied last."""
    refusal: int | None = None
    """HTTP status with which everything is refused."""
    url: str = ""
    _version: int = 100
    _history: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _oldest: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _watches: set[asyncio.Task[None]] = field(default_factory=set)

    async def put(self, collection: str, document: dict[str, Any]) -> None:
        """Creates or replaces an object."""
        name = document["metadata"]["name"]
        kind = "MODIFIED" if name in self.objects[collection] else "ADDED"
        document["metadata"].setdefault("uid", f"uid-{name}")
        self.objects[collection][name] = document
        await self._record(kind, collection, document)

    async def delete(self, collection: str, name: str) -> None:
        """Deletes an object."""
        await self._record("DELETED", collection, self.objects[collection].pop(name))

    def forget_history(self) -> None:
        """From now on a watch from any version before this one is answered with 410 Gone."""
        self._oldest = self._version

    async def cut_watches(self) -> None:
        """Breaks the connections of all watches."""
        for watch in list(self._watches):
            watch.cancel()
        await asyncio.sleep(0)

    def count(self, text: str) -> int:
        """Returns how many requests had a text in their method, path and query."""
        return sum(text in request for request in self.requests)

    @asynccontextmanager
    async def serve(self, listener: socket.socket | None = None) -> AsyncIterator[ApiServer]:
        """Serves on a listening socket, or on a port of loopback."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._get)
        application.router.add_patch("/{path:.*}", self._patch)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site: web.BaseSite = web.SockSite(runner, listener) if listener else web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await self.cut_watches()
            await runner.cleanup()

    async def _record(self, kind: str, collection: str, document: dict[str, Any]) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, kind, collection, json.loads(json.dumps(document))))
        async with self._changed:
            self._changed.notify_all()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"GET {request.path_qs}")
        if self.refusal:
            return _status(self.refusal, "refused by the test")
        if request.query.get("watch") == "true":
            return await self._watch(request)
        items = [item for item in self.objects[request.path].values() if _selected(request, item)]
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        if seen < self._oldest:
            return _status(410, "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.ensure_future(self._stream(request, response, seen))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        await asyncio.gather(task, return_exceptions=True)  # cut by the test, or left by its client
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, seen: int) -> None:
        while True:
            for version, kind, collection, document in list(self._history):
                if version > seen and collection == request.path and _selected(request, document):
                    await response.write(json.dumps({"type": kind, "object": document}).encode() + b"\n")
            seen = self._version
            bookmark = {"metadata": {"resourceVersion": str(seen)}}
            await response.write(json.dumps({"type": "BOOKMARK", "object": bookmark}).encode() + b"\n")
            await self._wait_for_news(seen)

    async def _wait_for_news(self, seen: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._version > seen)

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"PATCH {request.path_qs}")
        if self.refusal:
            return _status(self.refusal, "refused by the test")
        collection, name = request.path.removesuffix("/status").rsplit("/", 1)
        body = await request.json()
        if collection.endswith("/pods"):
            return await self._patch_pod(name, body, request.content_type)
        if collection == EVENTS:
            self.events[name] = body
            return web.json_response(body)
        if name not in self.objects[collection]:
            return _status(404, f'nodeippools "{name}" not found')
        self.applied.append(Applied(request.path, request.query["fieldManager"], request.content_type, body))
        document = self.objects[collection][name]
        document.setdefault("status", {})["usage"] = body["status"]["usage"]
        await self._record("MODIFIED", collection, document)
        return web.json_response(document)

    async def _patch_pod(self, name: str, body: Any, content_type: str) -> web.StreamResponse:
        """Annotations only, in the two forms the agent uses; a uid must be the pod's own."""
        document = self.objects[PODS].get(name)
        if document is None:
            return _status(404, f'pods "{name}" not found')
        metadata = document["metadata"]
        if content_type == "application/merge-patch+json":
            if body["metadata"].get("uid", metadata["uid"]) != metadata["uid"]:
                return _status(422, "metadata.uid: Invalid value: field is immutable")
            metadata.setdefault("annotations", {}).update(body["metadata"]["annotations"])
        else:
            assert content_type == "application/json-patch+json"
            for step in body:
                where, key = (metadata, "uid") if step["path"] == "/metadata/uid" else (metadata.get("annotations"), "")
                key = key or step["path"].rpartition("/")[2].replace("~1", "/")
                if where is None or (step["op"] == "test" and where.get(key) != step["value"]):
                    return _status(422, "the server rejected our request due to an error in our request")
                where[key] = step["value"]
        await self._record("MODIFIED", PODS, document)
        return web.json_response(document)


def pod(name: str, *, node: str = "node-a", **status: Any) -> dict[str, Any]:
    """Returns a pod bound to a node."""
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": node}, "status": status}


def _selected(request: web.Request, document: dict[str, Any]) -> bool:
    """Knows the two field selectors the agent uses."""
    key, _, value = request.query.get("fieldSelector", "").partition("=")
    found = {"metadata.name": document["metadata"]["name"], "spec.nodeName": document.get("spec", {}).get("nodeName")}
    return bool(found[key] == value)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)
