"""STATUS: 50 where no pod could be served, 51 where those that run feel it too, and success on a node that is full.

What STATUS says decides whether a node is Ready, and a node that is not loses its pods: see docs/cni.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from eni_crds.conditions import Reason
from eni_testing.agents import AgentNode, node_beside_api_server
from eni_testing.cni_client import DONE, Client
from eni_testing.eventually import eventually
from eni_testing.supplies import SUBNET_FULL, eni, supply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from eni_testing.cni import Outcome

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]


@pytest.fixture
async def fresh() -> AsyncIterator[AgentNode]:
    """A node of the test's own, with an API server for the operator's words."""
    async with node_beside_api_server() as made:
        made.variables["ENI_HOLD_SECONDS"] = "0.2"
        made.start()
        await made.until_serving()
        yield made


async def until(node: AgentNode, code: int) -> Outcome:
    """Returns the first STATUS with that code; what an operator or a clock changes comes a moment later."""
    async with asyncio.timeout(10):
        while True:
            status = await node.status()
            if code == (status.code if status.exit_code else 0):
                return status


async def test_a_full_node_is_ready_and_an_empty_one_without_addresses_is_not(fresh: AgentNode) -> None:
    status = await fresh.status()
    assert (status.code, "no supply" in status.json["msg"]) == (50, True)
    await fresh.give(supply(eni(0, addresses=["10.0.1.4"]), cooldown_seconds=1), SUBNET_FULL)
    await fresh.until_able()
    assert (await fresh.status()).exit_code == 0
    await fresh.address_of("web")
    assert (await fresh.status()).exit_code == 0, "full, and its pod is well"
    assert (await fresh.add("late")).code == 11
    assert (await fresh.delete("web")).exit_code == 0
    assert (await fresh.status()).exit_code == 0, "the address cools and comes back"
    await fresh.give(supply(eni(0), cooldown_seconds=1), SUBNET_FULL)
    status = await until(fresh, 50)  # no pod would be hurt, none could be served
    assert "subnet-1 has 0 free addresses" in status.json["msg"]
    assert status.json["details"] == Reason.SUBNET_FULL
    await fresh.give(supply(eni(0)))
    await until(fresh, 0)  # the pool may grow


async def test_a_host_network_that_is_broken_is_worse_for_pods_that_run(fresh: AgentNode) -> None:
    await fresh.give(supply(eni(0, addresses=["10.0.1.4", "10.0.1.5"])))
    await fresh.until_able()
    fresh.host.run(["ip", "link", "delete", "eth0"])
    await eventually(lambda: fresh.http("/readyz")[0] == 503, "the agent sees it", within=10)
    assert (await fresh.status()).code == 50, "no pod runs that could be cut off"
    fresh.host.run(["ip", "link", "add", "eth0", "address", "02:00:00:00:00:00", "type", "veth", "peer", "wire0"])
    await eventually(lambda: fresh.http("/readyz")[0] == 200, "the link is back", within=10)
    await fresh.address_of("web")
    fresh.host.run(["ip", "link", "delete", "eth0"])
    await eventually(lambda: fresh.http("/readyz")[0] == 503, "the agent sees it", within=10)
    status = await fresh.status()
    assert (status.code, "eni-00000000000000000" in status.json["msg"]) == (51, True)


def test_an_agent_that_is_gone_is_50_and_pods_run_on(executable: list[str], tmp_path: Path) -> None:
    assert Client(executable, tmp_path / "agent.sock", timeout=1).call("STATUS").code == 50


def test_status_of_a_node_that_serves_is_success(runtime: Client) -> None:
    assert runtime.call("STATUS") == DONE
