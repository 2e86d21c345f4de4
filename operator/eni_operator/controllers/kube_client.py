"""The Kubernetes API through kubernetes_asyncio's transport: addresses, content types, time-outs, errors.

Uses the generic request only, never the generated classes: they cost 30 MB and validate what the API server already
has. Makes each call once; the loop tries again. Counterpart of the protocol in ``controllers.kube``.
"""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient

from eni_crds.names import (
    ENICONFIG_GROUP,
    ENICONFIG_PLURAL,
    ENICONFIG_VERSION,
    LEADER_FIELD_MANAGER,
    LEASE,
    LEASE_NAMESPACE,
    OPERATOR_FIELD_MANAGER,
    POOL_GROUP,
    POOL_PLURAL,
    POOL_VERSION,
)
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, KubeError, KubeObject

TIMEOUT_SECONDS: Final = 10
PAGE: Final = 100
"""Objects asked for at once: reading a page of Nodes takes the process no longer than a few milliseconds."""
NAMES_PAGE: Final = 500
_POOLS: Final = f"/apis/{POOL_GROUP}/{POOL_VERSION}/{POOL_PLURAL}"
_ENICONFIGS: Final = f"/apis/{ENICONFIG_GROUP}/{ENICONFIG_VERSION}/{ENICONFIG_PLURAL}"
_PATHS: Final = {NODES: "/api/v1/nodes", POOLS: _POOLS, ENICONFIGS: _ENICONFIGS}
_LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"
_JSON: Final = "application/json"
_NAMES_ONLY: Final = f"{_JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, {_JSON}"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"


class KubeClient:
    """Implements ``KubeApi``, ``FleetApi``, ``LeaderApi`` and ``LeaseApi``. One for a process."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get_node(self, name: str) -> KubeObject | None:
        """Returns a Node."""
        return await self.get(NODES, name)

    async def get_pool(self, name: str) -> KubeObject | None:
        """Returns a NodeIPPool."""
        return await self.get(POOLS, name)

    async def get(self, plural: str, name: str) -> KubeObject | None:
        """Returns a Node, NodeIPPool or ENIConfig."""
        return await self._get(f"{_PATHS[plural]}/{name}")

    async def names(self, plural: str, only: str | None = None) -> frozenset[str]:
        """Returns the names there are of a kind, without reading the objects."""
        selector = [("fieldSelector", f"metadata.name={only}")] if only is not None else []
        pages = self._list(_PATHS[plural], [("limit", str(NAMES_PAGE)), *selector], accept=_NAMES_ONLY)
        return frozenset([item["metadata"]["name"] async for page in pages for item in page])

    async def pages(self, plural: str) -> AsyncIterator[list[KubeObject]]:
        """Yields all objects of a kind, a page at a time."""
        async for page in self._list(_PATHS[plural], [("limit", str(PAGE))]):
            yield page

    async def list_eniconfigs(self) -> list[KubeObject]:
        """Returns every ENIConfig, from the API server's cache."""
        reply = await self._get(_ENICONFIGS, [("resourceVersion", "0")])
        items: list[KubeObject] = (reply or {}).get("items", [])
        return items

    async def apply_pool(self, pool: KubeObject) -> KubeObject:
        """Applies a NodeIPPool's metadata."""
        return await self._apply(f"{_POOLS}/{pool['metadata']['name']}", pool)

    async def apply_pool_status(self, pool: KubeObject) -> KubeObject:
        """Applies our part of a NodeIPPool's status."""
        return await self._apply(f"{_POOLS}/{pool['metadata']['name']}/status", pool)

    async def delete_pool(self, name: str, uid: str) -> None:
        """Deletes this very NodeIPPool; nothing to do is fine."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._send("DELETE", f"{_POOLS}/{name}", options)
        except KubeError as error:
            if error.status != 404:
                raise

    async def apply_eniconfig_status(self, config: KubeObject) -> KubeObject:
        """Applies an ENIConfig's status as the leader."""
        path = f"{_ENICONFIGS}/{config['metadata']['name']}/status"
        return await self._apply(path, config, manager=LEADER_FIELD_MANAGER)

    async def get_lease(self) -> KubeObject | None:
        """Returns the Lease."""
        return await self._get(f"{_LEASES}/{LEASE}")

    async def create_lease(self, lease: KubeObject) -> KubeObject:
        """Creates the Lease."""
        return await self._send("POST", _LEASES, lease)

    async def update_lease(self, lease: KubeObject) -> KubeObject:
        """Replaces the Lease in the version named."""
        return await self._send("PUT", f"{_LEASES}/{LEASE}", lease)

    async def create_event(self, event: KubeObject) -> None:
        """Creates an Event."""
        await self._send("POST", f"/api/v1/namespaces/{event['metadata']['namespace']}/events", event)

    async def patch_event(self, namespace: str, name: str, patch: KubeObject) -> None:
        """Merges into an Event."""
        await self._send("PATCH", f"/api/v1/namespaces/{namespace}/events/{name}", patch, content=_MERGE)

    async def _get(self, path: str, query: list[tuple[str, str]] | None = None) -> KubeObject | None:
        try:
            return await self._send("GET", path, query=query)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def _list(
        self, path: str, query: list[tuple[str, str]], accept: str = _JSON
    ) -> AsyncIterator[list[KubeObject]]:
        token = ""
        while True:
            more = [("continue", token)] if token else []
            reply = await self._send("GET", path, query=[*query, *more], accept=accept)
            yield reply.get("items", [])
            token = reply["metadata"].get("continue", "")
            if not token:
                return

    async def _apply(self, path: str, body: KubeObject, *, manager: str = OPERATOR_FIELD_MANAGER) -> KubeObject:
        query = [("fieldManager", manager), ("fieldValidation", "Strict")]
        return await self._send("PATCH", path, body, query=query, content=_APPLY)

    async def _send(
        self,
        method: str,
        path: str,
        body: KubeObject | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> KubeObject:
        headers = {"Accept": accept, "Content-Type": content}
        try:
            status, text = await self._exchange(method, path, body, query, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(f"{method} {path}", 0, str(error) or type(error).__name__) from error
        if status >= 300:
            raise KubeError(f"{method} {path}", status, _message(text))
        reply: KubeObject = json.loads(text)
        return reply

    async def _exchange(
        self,
        method: str,
        path: str,
        body: KubeObject | None,
        query: list[tuple[str, str]] | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        response: Any = await self._client.call_api(
            path,
            method,
            query_params=query,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=TIMEOUT_SECONDS,
        )
        try:
            return response.status, await response.read()
        finally:
            response.release()


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
