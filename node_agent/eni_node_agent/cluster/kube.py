"""The API server over REST: list, watch, server-side apply and patch of raw JSON, nothing else.

Decides content types, timeouts and what an error means. Does not retry (``cluster.reflector`` and ``cluster.usage``
do) and knows no kinds. TLS, proxies and the rotation of the service account's token are kubernetes_asyncio's.
"""

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiohttp
import msgspec

from eni_node_agent.cluster.api import ApiError, Json, Listing, PatchKind, Selection, UnreachableError

CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 90.0
"""A watch that brings nothing for so long is dead; the API server sends a bookmark about every minute."""
APPLY_PATCH: Final = "application/apply-patch+yaml"
LARGEST_EVENT: Final = 8 << 20
"""Bytes; objects are limited to 1.5 MiB by etcd."""


class KubeApi:
    """One API server, one identity. Make it inside the event loop, close it at the end."""

    def __init__(self, configuration: Any) -> None:
        """Takes a ``kubernetes_asyncio.client.Configuration``."""
        self._configuration = configuration
        self._rest = _kubernetes().rest.RESTClientObject(configuration)

    @classmethod
    def in_cluster(cls, endpoint: str, service_account: Path) -> Self:
        """Returns the API of the cluster this pod runs in.

        Args:
            endpoint: URL to use instead of the service address; empty: the service address.
            service_account: folder of the token, which is read anew every minute, and of ``ca.crt``.

        Raises:
            OSError: the service account is not mounted.
        """
        kubernetes = _kubernetes()
        configuration = kubernetes.configuration.Configuration()
        try:
            kubernetes.incluster_config.load_incluster_config(
                client_configuration=configuration,
                token_filename=str(service_account / "token"),
                cert_filename=str(service_account / "ca.crt"),
            )
        except kubernetes.config_exception.ConfigException as error:
            raise OSError(f"service account cannot be used: {error}") from error
        if endpoint:
            configuration.host = endpoint
        return cls(configuration)

    async def list_objects(self, selection: Selection) -> Listing:
        """Returns the selected objects."""
        parameters = [("fieldSelector", selection.field_selector)]
        if selection.may_be_stale:
            parameters.append(("resourceVersion", "0"))
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        with _outages():
            response = await self._request("GET", selection.path, parameters, timeout=timeout)
            async with response:
                found = msgspec.json.decode(await _body(response), type=_Collection)
        return Listing(_documents(found.items or ()), found.metadata.resource_version)

    async def watch_objects(
        self, selection: Selection, resource_version: str, server_seconds: int
    ) -> AsyncGenerator[Json, None]:
        """Yields watch events; see ``cluster.api``. A connection that is quiet for too long counts as broken."""
        parameters = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("fieldSelector", selection.field_selector),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(server_seconds)),
        ]
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS)
        with _outages():
            response = await self._request("GET", selection.path, parameters, timeout=timeout)
            async with response:
                async for line in _lines(response):
                    yield _event(line)

    async def apply(self, path: str, manifest: Json, field_manager: str) -> None:
        """Applies our fields of an object (server-side apply without force: another's field is a 409)."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        with _outages():
            manager = [("fieldManager", field_manager)]
            async with await self._request("PATCH", path, manager, timeout=timeout, body=manifest) as response:
                await response.read()

    async def patch(self, path: str, document: Json | Sequence[Json], kind: PatchKind) -> None:
        """Changes an object that exists."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        with _outages():
            response = await self._request("PATCH", path, [], timeout=timeout, body=document, content_type=kind)
            async with response:
                await response.read()

    async def close(self) -> None:
        """Closes the connections."""
        await self._rest.close()

    async def _request(
        self,
        method: str,
        path: str,
        parameters: list[tuple[str, str]],
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own limits, of which a total is only one
        body: Json | Sequence[Json] | None = None,
        content_type: str = APPLY_PATCH,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type if body else "application/json"}
        for setting in (await self._configuration.auth_settings()).values():
            if setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        response: aiohttp.ClientResponse = await self._rest.request(
            method,
            f"{self._configuration.host}{path}",
            query_params=parameters,
            headers=headers,
            body=body,
            _preload_content=False,
            _request_timeout=timeout,
        )
        if response.status >= 300:
            async with response:
                raise ApiError(response.status, _message(await response.text()))
        return response


class _CollectionMetadata(msgspec.Struct):
    """Of a metav1.ListMeta."""

    resource_version: str = msgspec.field(name="resourceVersion")


class _Collection(msgspec.Struct):
    """A list as it comes, of which each object is still JSON."""

    metadata: _CollectionMetadata
    items: list[msgspec.Raw] | None = None


def _documents(items: Iterable[msgspec.Raw]) -> Iterator[Json]:
    for item in items:
        with _outages():
            document: Json = msgspec.json.decode(item)
        yield document


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    """Calls by one name what can befall a request; the last four are an answer that is no answer."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error


def _event(line: bytes) -> Json:
    event: Json = msgspec.json.decode(line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise ApiError(int(status.get("code", 500)), str(status.get("message", "")))
    return event


def _message(text: str) -> str:
    """Returns the sentence in a metav1.Status, or the beginning of whatever a proxy said instead."""
    try:
        return str(msgspec.json.decode(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


async def _body(response: aiohttp.ClientResponse) -> bytearray:
    """Returns the whole body without a second copy of it, which aiohttp's own ``read`` makes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
    return body


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yields the lines of a stream; not limited to the size of aiohttp's buffer as its own are."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LARGEST_EVENT:
            raise aiohttp.ClientPayloadError(f"watch event has more than {LARGEST_EVENT} bytes")
        for line in lines:
            if line:
                yield line


class _Kubernetes(NamedTuple):
    """The few modules of kubernetes_asyncio that are needed."""

    configuration: types.ModuleType
    rest: types.ModuleType
    incluster_config: types.ModuleType
    config_exception: types.ModuleType


def _kubernetes() -> _Kubernetes:
    """Imports them without what they do not need here, on every node.

    Without the package's 1,100 generated model modules: 38 MB less. Without urllib3, of which the configuration makes
    headers for a name and password: 1 MB less.
    """
    packages = ("kubernetes_asyncio", "kubernetes_asyncio.client", "kubernetes_asyncio.config")
    with _bare_packages("urllib3"), _bare_packages(*packages):
        configuration = importlib.import_module("kubernetes_asyncio.client.configuration")
        # incluster_config asks the package, whose own __init__ has not run, for this one name.
        vars(sys.modules["kubernetes_asyncio.client"]).setdefault("Configuration", configuration.Configuration)
        return _Kubernetes(
            configuration,
            importlib.import_module("kubernetes_asyncio.client.rest"),
            importlib.import_module("kubernetes_asyncio.config.incluster_config"),
            importlib.import_module("kubernetes_asyncio.config.config_exception"),
        )


@contextlib.contextmanager
def _bare_packages(root: str, *packages: str) -> Iterator[None]:
    """Lets packages be imported from without running their __init__; afterwards nobody sees that they were."""
    spec = importlib.util.find_spec(root)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    base = Path(spec.submodule_search_locations[0])
    absent = [name for name in (root, *packages) if name not in sys.modules]
    for name in absent:
        package = types.ModuleType(name)
        package.__path__ = [str(base.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
