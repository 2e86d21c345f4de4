"""Looks at the network are counted by how they ended, and the thread that makes them can be asked whether it hangs."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from eni_lab.fabric.namespaces import entered
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.network.repair import HostNetwork
from eni_testing.nodes import PRIMARY, SECONDARY, Node, supply_of

pytestmark = pytest.mark.netns


@pytest_asyncio.fixture
async def network(node: Node) -> AsyncIterator[HostNetwork]:
    with entered(node.path):
        made = HostNetwork(NetworkSettings())
        yield made
        await made.close()


async def test_looks_are_counted_by_how_they_ended(network: HostNetwork, node: Node) -> None:
    await network.ensure(supply_of(PRIMARY, SECONDARY))
    assert network.looks == {"success": 1}
    node.run(["ip", "rule", "add", "from", "10.0.1.48/28", "lookup", "99", "priority", "1536"])
    bad = supply_of(PRIMARY, SECONDARY)
    bad = bad.replace(enis=[bad.enis[0].replace(primary_ip="here"), *bad.enis[1:]])
    await network.ensure(bad)
    assert network.looks == {"success": 1, "error": 1}


async def test_a_thread_that_hangs_does_not_answer(network: HostNetwork) -> None:
    async with asyncio.timeout(5):
        await network.answer()
    gate = threading.Event()
    hanging = network._thread.submit(gate.wait)
    asking = asyncio.ensure_future(network.answer())
    done, _ = await asyncio.wait({asking}, timeout=0.2)
    assert not done
    gate.set()
    hanging.result(5)
    await asking
