"""An ADD waits for what it needs and is answered then; one that waited in vain says why."""

import asyncio
import re

import pytest

from eni_testing.agents import BLOCKED_SECONDS, AgentNode
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, SUBNET_FULL, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_a_pod_gets_its_address_once_the_operator_has_spoken(node: AgentNode) -> None:
    node.start()
    await node.until_serving()
    outcome = await node.status()
    assert (outcome.code, "no supply has been seen yet" in outcome.json["msg"]) == (50, True)
    assert not node.conflist.exists()
    await node.give(supply(eni(0, addresses=FOUR)))
    await node.until_able()
    assert (await node.status()).exit_code == 0
    assert await node.address_of("web") == "10.0.1.4"
    assert node.host.reaches("10.0.1.4")
    await eventually(lambda: node.usage.get("assigned") == 1, "usage reported")
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: node.usage.get("cooling") == 1, "usage reported")
    await eventually(lambda: node.pod_links() == [], "no link is left")


async def test_an_add_waits_for_the_pool_to_grow(node: AgentNode) -> None:
    await node.serve(supply(eni(0)))
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: node.usage.get("pending") == 1, "the wait is reported as demand")
    await node.give(supply(eni(0, addresses=FOUR)))
    assert await adding == "10.0.1.4"


async def test_an_add_that_waited_in_vain_says_why_in_the_operators_words(node: AgentNode) -> None:
    node.variables["ENI_HOLD_SECONDS"] = "0.3"
    await node.give(supply(eni(0)), SUBNET_FULL)
    node.start()
    why = "subnet-1 has 0 free addresses"
    await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
    assert node.http("/readyz")[0] == 503
    outcome = await node.add("web")
    assert outcome.code == 11
    assert why in outcome.json["msg"]
    assert outcome.json["details"] == "SubnetFull"
    assert not node.conflist.exists()
    await eventually(lambda: len(node.api.events) == 1, "the pod has an Event")
    [event] = node.api.events.values()
    assert (event["reason"], event["message"]) == ("SubnetFull", outcome.json["msg"])
    assert event["involvedObject"]["uid"] == "uid-web"
    assert 'eni_agent_add_refused_total{reason="SubnetFull"} 1.0' in node.http("/metrics")[1]


async def test_a_pod_that_waits_is_told_of_before_its_add_ends(node: AgentNode) -> None:
    await node.serve(supply(eni(0)))
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: "eni_agent_waiting_sandboxes 1.0" in node.http("/metrics")[1], "the sandbox waits")
    await eventually(lambda: len(node.api.events) == 1, "the pod has an Event")
    assert not adding.done()
    await node.give(supply(eni(0, addresses=FOUR)))
    assert await adding == "10.0.1.4"
    assert "eni_agent_waiting_sandboxes 0.0" in node.http("/metrics")[1]
    assert "eni_agent_add_refused_total{" not in node.http("/metrics")[1]


def lag_figures(node: AgentNode) -> float:
    found = re.search(r"^eni_agent_loop_lag_seconds_count (\S+)$", node.http("/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_fifty_pods_at_once_on_an_empty_pool_all_get_their_address(node: AgentNode) -> None:
    await node.serve(supply(eni(0)))
    names = [f"web-{number}" for number in range(50)]
    adding = asyncio.gather(*(node.address_of(name) for name in names))
    await eventually(lambda: node.usage.get("pending") == 50, "the whole burst is reported", within=15)
    await node.give(supply(eni(0, prefixes=["10.0.1.0/28", "10.0.1.16/28", "10.0.1.32/28", "10.0.1.48/28"])))
    addresses = await adding
    assert len(set(addresses)) == 50
    seen = lag_figures(node)
    await eventually(lambda: lag_figures(node) > seen + 1, "the loop's lag during the burst is known")
    assert node.own_stalls(BLOCKED_SECONDS) == []


async def test_an_eni_that_appears_later_serves_then(node: AgentNode) -> None:
    node.host.run(["ip", "link", "set", "eth0", "down"])
    await node.serve(supply(eni(0), eni(1, addresses=["10.0.1.9"])))
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: node.usage.get("pending") == 1, "the pod waits")
    node.host.run(["ip", "link", "add", "eth1", "address", "02:00:00:00:00:01", "type", "veth", "peer", "wire1"])
    assert await adding == "10.0.1.9"
    assert node.host.reaches("10.0.1.9")
