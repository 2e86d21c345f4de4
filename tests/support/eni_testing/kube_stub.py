"""An API server in the test's own process, as far as the operator uses one.

Discovery, list, watch, apply, delete, Events, and Leases that are guarded by their version.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from eni_testing.eventually import eventually

NODES = "/api/v1/nodes"
POOLS = "/apis/eni-operator.io/v1alpha1/nodeippools"
ENICONFIGS = "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs"
EVENTS = "/api/v1/namespaces/default/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"

_KINDS = {
    "/api/v1": {"nodes": "Node", "namespaces": "Namespace"},
    "/apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
    "/apis/eni-operator.io/v1alpha1": {"nodeippools": "NodeIPPool"},
    "/apis/crd.k8s.amazonaws.com/v1alpha1": {"eniconfigs": "ENIConfig"},
}
"""Without namespaces and custom resource definitions kopf waits for ever."""

Document = dict[str, Any]


class KubeStub:
    """Objects by collection and name; every request is remembered with its query and Authorization."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Document]] = {NODES: {}, POOLS: {}, ENICONFIGS: {}, EVENTS: {}, LEASES: {}}
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.content_types: list[str] = []
        self.refusal: int | None = None
        self.unauthorized = 0
        """So many next requests are answered 401."""
        self.url = ""
        self._version = 100
        self._history: list[tuple[int, str, str, Document]] = []
        self._changed = asyncio.Condition()
        self._streams: dict[asyncio.Task[Any], int] = {}
        """With the version each was told of last."""

    async def put(self, collection: str, document: Document) -> Document:
        """Creates or replaces an object and tells the watches."""
        name = document["metadata"]["name"]
        kind = "MODIFIED" if name in self.objects[collection] else "ADDED"
        document["metadata"].setdefault("uid", f"uid-{name}")
        self.objects[collection][name] = document
        await self._record(kind, collection, document)
        return document

    async def remove(self, collection: str, name: str, *, unseen: bool = False) -> None:
        """Deletes an object; ``unseen`` tells no watch, as if they had been down."""
        document = self.objects[collection].pop(name)
        if not unseen:
            await self._record("DELETED", collection, document)

    async def break_watches(self, event: Document | None = None) -> None:
        """Ends all watches, with an ERROR event before if there is one."""
        if event is not None:
            await self._record("ERROR", "*", event)
            await eventually(lambda: all(told >= self._version for told in self._streams.values()), "watches are told")
            self._history = [item for item in self._history if item[1] != "ERROR"]
        for stream in list(self._streams):
            stream.cancel()

    def watches(self) -> int:
        """Counts open watches."""
        return len(self._streams)

    async def _record(self, kind: str, collection: str, document: Document) -> None:
        self._version += 1
        if kind != "ERROR":
            document["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, kind, collection, json.loads(json.dumps(document))))
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator["KubeStub"]:
        """Serves on loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield self
        finally:
            await self.break_watches()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.unauthorized > 0:
            self.unauthorized -= 1
            return _status(401, "Unauthorized")
        if self.refusal is not None:
            return _status(self.refusal, "refused by the test")
        return await (self._get(request) if request.method == "GET" else self._change(request))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.method == "DELETE":
            return await self._delete(request.path, body)
        if request.path.startswith(LEASES):
            return await self._write_lease(request.method, body)
        self.content_types.append(request.content_type)
        if request.method == "POST":
            return web.json_response(await self.put(request.path, body), status=201)
        return await self._patch(request.path, body)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        discovered = _discovery(path)
        if discovered is not None:
            return web.json_response(discovered)
        if path in self.objects:
            if request.query.get("watch") == "true":
                return await self._watch(request)
            items = [item for item in self.objects[path].values() if _selected(request, item)]
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        collection, _, name = path.rpartition("/")
        found = self.objects.get(collection, {}).get(name)
        return web.json_response(found) if found else _status(404, f"{path} not found")

    async def _patch(self, path: str, body: Document) -> web.StreamResponse:
        collection, _, name = path.removesuffix("/status").rpartition("/")
        found = self.objects[collection].get(name)
        if found is None and path.endswith("/status"):
            return _status(404, f"{path} not found")
        merged = found or {"metadata": {}, "spec": {}, "status": {}}
        merged["metadata"] |= body.get("metadata", {})
        if path.endswith("/status"):
            merged.setdefault("status", {}).update(body["status"])
        else:
            merged |= {key: value for key, value in body.items() if key not in {"metadata", "status"}}
        return web.json_response(await self.put(collection, merged))

    async def _write_lease(self, method: str, body: Document) -> web.StreamResponse:
        found = self.objects[LEASES].get(body["metadata"]["name"])
        held = found["metadata"]["resourceVersion"] if found else None
        if held != (body["metadata"].get("resourceVersion") if method == "PUT" else None):
            return _status(409, "the object has been modified")
        return web.json_response(await self.put(LEASES, body))

    async def _delete(self, path: str, options: Document) -> web.StreamResponse:
        collection, _, name = path.rpartition("/")
        found = self.objects[collection].get(name)
        if found is None:
            return _status(404, f"{path} not found")
        if options["preconditions"]["uid"] != found["metadata"]["uid"]:
            return _status(409, "the uid in the precondition is another")
        await self.remove(collection, name)
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        stream = asyncio.create_task(self._stream(request, response, int(request.query["resourceVersion"])))
        self._streams[stream] = 0
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await stream
        del self._streams[stream]
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, seen: int) -> None:
        stream = asyncio.current_task()
        assert stream is not None
        while True:
            for version, kind, collection, document in list(self._history):
                wanted = collection == "*" or (collection == request.path and _selected(request, document))
                if version > seen and wanted:
                    await response.write(json.dumps({"type": kind, "object": document}).encode() + b"\n")
            self._streams[stream] = seen = max(seen, self._version)
            async with self._changed:
                while self._version <= seen:
                    await self._changed.wait()


def node(name: str, instance_id: str) -> Document:
    """Returns a Node of an instance."""
    return {
        "metadata": {"name": name, "labels": {}, "annotations": {}},
        "spec": {"providerID": f"aws:///us-east-1a/{instance_id}"},
        "status": {"capacity": {"pods": "110"}},
    }


def _discovery(path: str) -> Document | None:
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        groups = [known.split("/")[2:] for known in _KINDS if known.startswith("/apis")]
        return {"groups": [_group(name, version) for name, version in groups]}
    if path not in _KINDS:
        return None
    return {"resources": [_resource(plural, kind) for plural, kind in _KINDS[path].items()]}


def _resource(plural: str, kind: str) -> Document:
    verbs = ["get", "list", "watch", "patch"]
    return {"name": plural, "kind": kind, "namespaced": False, "verbs": verbs, "singularName": kind.lower()}


def _group(name: str, version: str) -> Document:
    preferred = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [preferred], "preferredVersion": preferred}


def _selected(request: web.Request, document: Document) -> bool:
    key, _, value = request.query.get("fieldSelector", "").partition("=")
    return not key or (key == "metadata.name" and document["metadata"]["name"] == value)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)
