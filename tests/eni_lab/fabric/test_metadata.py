"""An instance reaches its own metadata; a pod behind it sends, and never hears the answer."""

import asyncio
import subprocess
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from eni_lab.fabric.metadata import asking_instance, listen
from eni_testing.hosts import Host
from eni_testing.vpc import Node, Vpc, vpc

pytestmark = pytest.mark.netns

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())"


@pytest.fixture
async def cloud() -> AsyncIterator[Vpc]:
    """Two nodes, and a metadata service that says which instance is asking."""
    with vpc(nodes=2) as made:
        instance_of = asking_instance(made.engine.ports)

        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=str(instance_of(request)))

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, made.lab.call(listen)).start()
        yield made
        await runner.cleanup()


async def fetch(host: Host) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(host.run, ["python3", "-c", FETCH, "http://169.254.169.254/"], check=False)


def add_pod(node: Node, pod: Host, address: str) -> None:
    """A pod with ``address``, routed behind the node as a CNI plugin would."""
    node.run(["ip", "link", "add", "pod0", "type", "veth", "peer", "name", "eth0", "netns", str(pod.pid)])
    node.run(["ip", "link", "set", "pod0", "up"])
    node.run(["ip", "route", "add", f"{address}/32", "dev", "pod0"])
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.pod0.proxy_arp=1"])
    pod.run(["ip", "address", "add", f"{address}/32", "dev", "eth0"])
    pod.run(["ip", "link", "set", "eth0", "up"])
    pod.run(["ip", "route", "add", "default", "dev", "eth0"])


async def test_each_instance_is_known_by_its_address(cloud: Vpc) -> None:
    for node in cloud.nodes:
        assert (await fetch(node)).stdout.strip() == node.instance_id


async def test_pod_behind_a_node_reaches_other_nodes_but_no_metadata(cloud: Vpc) -> None:
    node, other = cloud.nodes
    [address] = cloud.assign(cloud.ports(node)[0].eni_id, addresses=1).addresses
    with Host() as pod:
        add_pod(node, pod, address)
        assert pod.reaches(other.primary_ip)
        assert "timed out" in (await fetch(pod)).stderr
