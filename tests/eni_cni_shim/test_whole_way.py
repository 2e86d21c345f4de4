"""From the executable to the kernel: what a runtime calls, and the pod it gets."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from eni_cni_shim.plugin.pod_network import PodNetwork
from eni_cni_shim.plugin.verbs import Plugin
from eni_testing import cni
from eni_testing.cni import NODE_ADDRESS, MemoryPool, Outcome, Pod
from eni_testing.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from eni_testing.hosts import Host

pytestmark = pytest.mark.netns


class Runtime:
    """A container runtime and the agent it talks to."""

    def __init__(self, executable: list[str], socket: Path, pool: MemoryPool) -> None:
        self._executable = executable
        self._socket = socket
        self.pool = pool
        self.threads = ThreadPoolExecutor(16, "runtime")

    async def call(self, command: str, container_id: str = "c1", netns: str = "", **fields: Any) -> Outcome:
        environ = {**cni.environ(command, container_id, netns), "ENI_AGENT_SOCKET": str(self._socket)}
        stdin = json.dumps({**cni.CONFIG, "cniVersion": "1.1.0", **fields}).encode()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, cni.run, self._executable, environ, stdin)


@pytest.fixture
async def runtime(node: Host, executable: list[str]) -> AsyncIterator[Runtime]:
    assert node.pid
    pool, network = MemoryPool(), PodNetwork()
    with cni.socket_path() as path:
        async with cni.served(Plugin(pool, network), path):
            runtime = Runtime(executable, path, pool)
            yield runtime
            runtime.threads.shutdown()
    await network.aclose()


async def test_a_pod_lives_and_goes(node: Host, runtime: Runtime, make_pod: Callable[[], Pod]) -> None:
    pod = make_pod()
    added = await runtime.call("ADD", netns=pod.path)
    assert added.exit_code == 0, added
    assert added.json["ips"][0]["address"] == "10.0.1.20/32"
    assert node.reaches("10.0.1.20")
    assert pod.reaches(NODE_ADDRESS)
    assert await runtime.call("CHECK", netns=pod.path, prevResult=added.json) == (0, b"")
    pod.run(["ip", "route", "delete", "default"])
    assert (await runtime.call("CHECK", netns=pod.path, prevResult=added.json)).code == 102
    assert await runtime.call("DEL", netns=pod.path, prevResult=added.json) == (0, b"")
    assert not node.reaches("10.0.1.20", timeout=0.2)
    assert runtime.pool.held == {}


async def test_del_after_the_namespace_is_gone_frees_the_address(
    node: Host, runtime: Runtime, make_pod: Callable[[], Pod]
) -> None:
    pod = Pod()
    path = pod.path
    assert (await runtime.call("ADD", netns=path)).exit_code == 0
    pod.close()
    await eventually(lambda: "eni" not in node.run(["ip", "-br", "link"]).stdout, "the veth went with the namespace")
    assert await runtime.call("DEL", netns=path) == (0, b"")
    assert runtime.pool.held == {}
    assert make_pod().pid


@pytest.mark.parametrize("path", ["/nonexistent/netns", "/etc/hostname", "/proc/self/ns/net", "relative/netns"])
async def test_a_path_that_is_no_pods_namespace_is_named(runtime: Runtime, path: str) -> None:
    outcome = await runtime.call("ADD", netns=path)
    assert outcome.code == 4
    assert path in outcome.json["msg"]
    assert runtime.pool.held == {}


async def test_a_burst_of_pods_comes_and_goes(node: Host, runtime: Runtime, make_pod: Callable[[], Pod]) -> None:
    pods = {f"c{number}": make_pod() for number in range(10)}
    added = await asyncio.gather(*(runtime.call("ADD", name, pod.path) for name, pod in pods.items()))
    addresses = [outcome.json["ips"][0]["address"].removesuffix("/32") for outcome in added]
    assert len(set(addresses)) == len(pods)
    assert all(node.reaches(address) for address in addresses)
    valid: Any = [{"containerID": name, "ifname": "eth0"} for name in ("c0", "c1")]
    assert await runtime.call("GC", **{"cni.dev/valid-attachments": valid}) == (0, b"")
    assert sorted(key.container_id for key in runtime.pool.held) == ["c0", "c1"]
    removed = await asyncio.gather(*(runtime.call("DEL", name, pod.path) for name, pod in pods.items()))
    assert removed == [(0, b"")] * len(pods)
    assert runtime.pool.held == {}
