import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes_asyncio.client.configuration import Configuration

from eni_node_agent.cluster.api import ApiError, Json, Selection, UnreachableError
from eni_node_agent.cluster.kube import KubeApi
from eni_node_agent.cluster.reflector import Reflector
from eni_testing.api_server import PODS, POOLS, ApiServer, pod
from eni_testing.eventually import eventually

SELECTION = Selection(PODS, "spec.nodeName=node-a", may_be_stale=True)


@asynccontextmanager
async def api_of(server: ApiServer) -> AsyncIterator[KubeApi]:
    api = KubeApi(Configuration(host=server.url))
    try:
        yield api
    finally:
        await api.close()


class Copy:
    """What a reflector reports, and how long it waits."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.reports = 0
        self.pauses: list[float] = []

    def changed(self, copy: Mapping[str, str]) -> None:
        self.names = set(copy.values())
        self.reports += 1

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[KubeApi]:
    """Yields the API of something that has the same answer to everything."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    async with proxy, api_of(ApiServer(url=f"http://127.0.0.1:{port}")) as api:
        yield api


@asynccontextmanager
async def reflecting(server: ApiServer) -> AsyncIterator[Copy]:
    copy = Copy()
    async with api_of(server) as api:
        reflector = Reflector(api, SELECTION, keep=name_of, changed=copy.changed, sleep=copy.sleep, jitter=lambda: 0.5)
        task = asyncio.create_task(reflector.run())
        yield copy
        task.cancel()
        await asyncio.wait([task])


def name_of(document: Json) -> str | None:
    name: str = document["metadata"]["name"]
    return None if name.startswith("unwanted") else name


async def watches(server: ApiServer, count: int = 1) -> None:
    await eventually(lambda: server.count("watch=true") >= count, "a watch is open")


async def test_lists_and_then_follows_changes_of_its_own_node() -> None:
    async with ApiServer().serve() as server:
        await server.put(PODS, pod("old"))
        await server.put(PODS, pod("elsewhere", node="node-b"))
        async with reflecting(server) as copy:
            await eventually(lambda: copy.names == {"old"}, "listed")
            await server.put(PODS, pod("new"))
            await eventually(lambda: copy.names == {"old", "new"}, "added")
            await server.delete(PODS, "old")
            await eventually(lambda: copy.names == {"new"}, "deleted")
        assert server.requests[0] == "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&resourceVersion=0"


async def test_reports_nothing_when_what_it_keeps_did_not_change() -> None:
    async with ApiServer().serve() as server:
        await server.put(PODS, pod("web"))
        async with reflecting(server) as copy:
            await eventually(lambda: copy.reports == 1, "listed")
            await watches(server)
            await server.put(PODS, pod("web", phase="Running"))
            await server.put(PODS, pod("unwanted"))
            await server.put(PODS, pod("last"))
            await eventually(lambda: "last" in copy.names, "added")
            assert copy.reports == 2


async def test_goes_on_from_where_it_was_when_a_watch_breaks() -> None:
    async with ApiServer().serve() as server, reflecting(server) as copy:
        await watches(server)
        await server.cut_watches()
        await server.put(PODS, pod("meanwhile"))
        await eventually(lambda: copy.names == {"meanwhile"}, "caught up")
        assert server.count("resourceVersion=0") == 1


async def test_lists_again_when_history_is_gone_and_notices_what_vanished() -> None:
    async with ApiServer().serve() as server:
        await server.put(PODS, pod("vanishes"))
        async with reflecting(server) as copy:
            await watches(server)
            server.refusal = 503
            await server.cut_watches()
            await server.delete(PODS, "vanishes")
            await server.put(PODS, pod("new"))
            server.forget_history()
            server.refusal = None
            await eventually(lambda: copy.names == {"new"}, "listed anew")


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_outlasts_an_api_server_that_refuses(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with ApiServer().serve() as server:
        server.refusal = status
        async with reflecting(server) as copy:
            await eventually(lambda: len(copy.pauses) >= 8, "several tries")
            server.refusal = None
            await server.put(PODS, pod("web"))
            await eventually(lambda: copy.names == {"web"}, "followed again")
        assert copy.pauses[:7] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        assert caplog.text.count("API server does not serve") == 1
        assert "API server answers again" in caplog.text


async def test_outlasts_an_api_server_that_is_not_there() -> None:
    async with ApiServer().serve() as server:
        gone = ApiServer(url=server.url)
    copy = Copy()
    async with api_of(gone) as api:
        task = asyncio.create_task(
            Reflector(api, SELECTION, keep=name_of, changed=copy.changed, sleep=copy.sleep).run()
        )
        await eventually(lambda: len(copy.pauses) > 2, "several tries")
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"items": []}', "<html>a proxy</html>"])
async def test_an_answer_that_is_no_answer_is_an_outage(text: str) -> None:
    async with answering(text.encode()) as api:
        with pytest.raises(UnreachableError):
            await api.list_objects(SELECTION)


async def test_an_object_that_cannot_be_read_is_an_outage_too() -> None:
    """The list is read first, its objects later."""
    async with answering(b'{"metadata": {"resourceVersion": "7"}, "items": [{}, {"a": "\xff"}]}') as api:
        listing = await api.list_objects(SELECTION)
        assert next(listing.items) == {}
        with pytest.raises(UnreachableError):
            next(listing.items)


async def test_the_pods_of_a_full_node_are_read_one_at_a_time_with_others_work_in_between() -> None:
    turns, seen = 0, []

    async def others_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def keep(document: Json) -> str | None:
        seen.append(turns)
        return name_of(document)

    async with ApiServer().serve() as server, api_of(server) as api:
        for number in range(110):
            await server.put(PODS, pod(f"web-{number}"))
        copy = Copy()
        following = asyncio.create_task(Reflector(api, SELECTION, keep=keep, changed=copy.changed).run())
        working = asyncio.create_task(others_work())
        await eventually(lambda: len(copy.names) == 110, "listed")
        for task in (following, working):
            task.cancel()
        await asyncio.wait([following, working])
    assert len(set(seen)) == 110


async def test_a_watch_event_may_be_larger_than_a_buffer() -> None:
    async with ApiServer().serve() as server, reflecting(server) as copy:
        await watches(server)
        large = pod("large")
        large["metadata"]["annotations"] = {"text": "x" * 1_000_000}
        await server.put(PODS, large)
        await eventually(lambda: copy.names == {"large"}, "event taken")


async def test_applies_without_force_in_the_servers_own_format() -> None:
    async with ApiServer().serve() as server, api_of(server) as api:
        await server.put(POOLS, {"metadata": {"name": "node-a"}})
        body: dict[str, Any] = {"status": {"usage": {"assigned": 1}}}
        await api.apply(f"{POOLS}/node-a/status", body, "eni-agent")
        [applied] = server.applied
        assert (applied.field_manager, applied.content_type) == ("eni-agent", "application/apply-patch+yaml")
        assert applied.body == body
        assert "force" not in server.requests[-1]
        with pytest.raises(ApiError, match='404: nodeippools "node-b" not found'):
            await api.apply(f"{POOLS}/node-b/status", body, "eni-agent")


def test_using_the_client_does_not_load_its_generated_models() -> None:
    program = (
        "import json, sys; from eni_node_agent.cluster import kube; kube._kubernetes();"
        "early = sorted(name for name in sys.modules if name.startswith('kubernetes_asyncio'));"
        "import kubernetes_asyncio.client as whole; whole.CoreV1Api, whole.Configuration;"
        "print(json.dumps(early))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=25)
    early = json.loads(result.stdout)
    assert not [name for name in early if ".models" in name or ".api." in name]
