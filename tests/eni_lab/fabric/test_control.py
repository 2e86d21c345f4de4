"""Plugging nodes into the fabric over HTTP, and a service that follows the ports by itself."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from eni_lab.aws.engine.ports import Port
from eni_lab.fabric.control import add_routes
from eni_lab.fabric.firewall import load
from eni_lab.fabric.service import FabricService, Pace
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.ports import eni_port
from eni_testing.routed import RoutedLab

pytestmark = pytest.mark.netns

ENI = eni_port("a")

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def ports() -> list[Port]:
    return [ENI]


@pytest.fixture
def service(lab: RoutedLab, ports: list[Port]) -> FabricService:
    return FabricService(lab.fabric, lab.thread, lambda: list(ports), Pace(ports=0.01, kernel=0.05))


@pytest.fixture
async def client(service: FabricService) -> AsyncIterator[Client]:
    app = web.Application()
    add_routes(app, service)
    async with TestClient(TestServer(app)) as connected:
        yield connected


@pytest.fixture
async def running(service: FabricService) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def has_link(host: Host, name: str) -> bool:
    return name in {link["ifname"] for link in json.loads(host.run(["ip", "-j", "link"]).stdout)}


async def eventually_has_link(host: Host, name: str, *, expected: bool = True) -> None:
    await eventually(lambda: has_link(host, name) is expected, f"{name} {'is there' if expected else 'is gone'}")


async def test_node_is_plugged_when_the_reply_comes_and_unplugged_likewise(lab: RoutedLab, client: Client) -> None:
    with Host() as node:
        reply = await client.post("/_lab/nodes", json={"instance": ENI.instance_id, "pid": node.pid})
        assert reply.status == 200
        assert lab.reaches(ENI.primary_ip)
        await client.delete(f"/_lab/nodes/{ENI.instance_id}")
        assert not has_link(node, "eth0")


async def test_namespace_may_be_given_by_path(lab: RoutedLab, client: Client) -> None:
    with Host() as node:
        await client.post("/_lab/nodes", json={"instance": ENI.instance_id, "netns": node.path})
        assert lab.reaches(ENI.primary_ip)


async def test_status_shows_nodes_ports_and_drops(client: Client) -> None:
    with Host() as node:
        await client.post("/_lab/nodes", json={"instance": ENI.instance_id, "pid": node.pid})
        node.run(["ip", "address", "add", "10.0.1.99/32", "dev", "eth0"])
        node.reaches("10.0.255.10", source="10.0.1.99", timeout=0.2)
        status = await (await client.get("/_lab/fabric")).json()
        assert status["nodes"] == {ENI.instance_id: {"namespace": node.path, "alive": True}}
    [port], [drop] = status["ports"], status["drops"]
    assert (port["primary_ip"], port["name_in_node"], port["problem"]) == ("10.0.1.10", "eth0", None)
    assert (drop["eni_id"], drop["source"], drop["packets"]) == (ENI.eni_id, "10.0.1.99", 1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "the body is not JSON"),
        ("[]", "the body is []"),
        ('{"instance": "i-1", "pid": 1, "name": "a"}', "unknown field 'name'"),
        ('{"pid": 1}', "instance is None"),
        ('{"instance": "node-a", "pid": 1}', "instance is 'node-a'"),
        ('{"instance": "i-1"}', "pid is None and netns is None"),
        ('{"instance": "i-1", "pid": -1}', "pid is -1"),
        ('{"instance": "i-1", "pid": 1, "netns": "/proc/1/ns/net"}', "one must be given"),
        ('{"instance": "i-1", "netns": "/nowhere"}', "no network namespace at /nowhere: No such file"),
    ],
)
async def test_bad_request_names_the_field(client: Client, body: str, sentence: str) -> None:
    reply = await client.post("/_lab/nodes", data=body)
    assert reply.status == 400
    assert sentence in await reply.text()


KNOCK = """
import socket, sys
try:
    socket.create_connection(("10.0.255.10", int(sys.argv[1])), timeout=0.5).close()
    print("answered")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(("how", "found"), [("refused", "ConnectionRefusedError"), ("unheard", "TimeoutError")])
async def test_the_endpoint_is_away_for_one_caller_only(
    lab: RoutedLab, node_a: Host, ports: list[Port], client: Client, how: str, found: str
) -> None:
    other = eni_port("b")
    ports.append(other)
    with Host() as node_b:
        lab.plug(other.instance_id, node_b)
        await eventually_has_link(node_b, "eth0")
        await eventually_has_link(node_a, "eth0")

        def knock(node: Host, port: int) -> str:
            return node.run(["python3", "-c", KNOCK, str(port)]).stdout.strip()

        with lab.call(socket.create_server, ("10.0.255.10", 8000)), lab.call(socket.create_server, ("", 6443)):
            assert knock(node_a, 8000) == "answered"
            await client.post("/_lab/outages", json={"address": ENI.primary_ip, "how": how})
            assert (knock(node_a, 8000), knock(node_a, 6443), knock(node_b, 8000)) == (found, "answered", "answered")
            assert (await (await client.get("/_lab/fabric")).json())["outages"] == {ENI.primary_ip: how}
            await client.delete("/_lab/outages")
            assert knock(node_a, 8000) == "answered"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"how": "refused"}, "address is None"),
        ({"address": "node-a1"}, "address is 'node-a1', it must be an IPv4 address"),
        ({"address": "10.0.1.1", "how": "slow"}, "how is 'slow', allowed are refused, unheard"),
    ],
)
async def test_a_bad_outage_is_answered_with_a_sentence(client: Client, body: object, sentence: str) -> None:
    reply = await client.post("/_lab/outages", json=body)
    assert (reply.status, sentence in await reply.text()) == (400, True)


@pytest.mark.usefixtures("running")
async def test_links_follow_the_ports(node_a: Host, ports: list[Port]) -> None:
    await eventually_has_link(node_a, "eth0")
    ports.clear()
    await eventually_has_link(node_a, "eth0", expected=False)


@pytest.mark.usefixtures("running")
async def test_lost_link_is_made_again(node_a: Host) -> None:
    await eventually_has_link(node_a, "eth0")
    node_a.run(["ip", "link", "del", "eth0"])
    await eventually_has_link(node_a, "eth0")


async def test_failure_to_apply_is_logged_and_tried_again(
    lab: RoutedLab, node_a: Host, service: FabricService, caplog: pytest.LogCaptureFixture
) -> None:
    rules = lab.run(["nft", "list", "ruleset"]).stdout
    lab.run(["nft", "flush", "ruleset"])
    task = asyncio.create_task(service.run())
    await eventually(lambda: "fabric not applied" in caplog.text, "the failure is logged")
    lab.call(load, rules)
    await eventually_has_link(node_a, "eth0")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
