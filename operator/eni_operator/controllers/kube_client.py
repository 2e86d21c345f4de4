"""The Kubernetes API through kubernetes_asyncio's transport: addresses, content types, time-outs, errors.

Uses the generic request only, never the generated classes: they cost 30 MB and validate what the API server already
has. Makes each call once; the loop tries again. Counterpart of the protocol in ``controllers.kube``.
"""

import json
from typing import Any, Final

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient

from eni_crds.names import (
    ENICONFIG_GROUP,
    ENICONFIG_PLURAL,
    ENICONFIG_VERSION,
    OPERATOR_FIELD_MANAGER,
    POOL_GROUP,
    POOL_PLURAL,
    POOL_VERSION,
)
from eni_operator.controllers.kube import KubeError, KubeObject

TIMEOUT_SECONDS: Final = 10
_POOLS: Final = f"/apis/{POOL_GROUP}/{POOL_VERSION}/{POOL_PLURAL}"
_ENICONFIGS: Final = f"/apis/{ENICONFIG_GROUP}/{ENICONFIG_VERSION}/{ENICONFIG_PLURAL}"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"


class KubeClient:
    """Implements ``KubeApi``. One for a process."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get_node(self, name: str) -> KubeObject | None:
        """Returns a Node."""
        return await self._get(f"/api/v1/nodes/{name}")

    async def get_pool(self, name: str) -> KubeObject | None:
        """Returns a NodeIPPool."""
        return await self._get(f"{_POOLS}/{name}")

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

    async def _apply(self, path: str, body: KubeObject) -> KubeObject:
        query = [("fieldManager", OPERATOR_FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._send("PATCH", path, body, query=query, content=_APPLY)

    async def _send(
        self,
        method: str,
        path: str,
        body: KubeObject | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        content: str = "application/json",
    ) -> KubeObject:
        try:
            status, text = await self._exchange(method, path, body, query, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(f"{method} {path}", 0, str(error) or type(error).__name__) from error
        if status >= 300:
            raise KubeError(f"{method} {path}", status, _message(text))
        reply: KubeObject = json.loads(text)
        return reply

    async def _exchange(
        self, method: str, path: str, body: KubeObject | None, query: list[tuple[str, str]] | None, content: str
    ) -> tuple[int, bytes]:
        response: Any = await self._client.call_api(
            path,
            method,
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": content},
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
