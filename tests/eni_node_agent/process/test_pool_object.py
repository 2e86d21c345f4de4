"""What the agent takes from its NodeIPPool and what it writes there."""

import pytest

from eni_crds.nodeippool import EniState
from eni_testing.agents import NODE, AgentNode
from eni_testing.api_server import PODS, POOLS, pod
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_demand_is_reported_before_anybody_asks_for_an_address(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    await node.api.put(PODS, pod("early"))
    node.start()
    await eventually(lambda: node.usage.get("pending") == 1, "pending reported", within=15)
    for number in range(5):
        await node.api.put(PODS, pod(f"web-{number}"))
    await eventually(lambda: node.usage.get("pending") == 6, "pending reported")
    conditions = {entry["type"]: entry["status"] for entry in node.api.applied[-1].body["status"]["conditions"]}
    assert conditions == {"AgentConnected": "True", "DriftDetected": "False"}


async def test_a_quiet_agent_goes_on_saying_that_it_is_there(node: AgentNode) -> None:
    node.variables["ENI_HEARTBEAT_SECONDS"] = "1"
    await node.serve(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: len(node.api.applied) >= 6, "usage is written again and again", within=15)
    *_, before, last = (applied.usage for applied in node.api.applied)
    assert before.pop("reportedAt") != last.pop("reportedAt")
    assert before == last


async def test_an_excluded_eni_keeps_its_pod_connected_and_gets_no_new_one(node: AgentNode) -> None:
    node.host.run(["ip", "link", "add", "eth1", "address", "02:00:00:00:00:01", "type", "veth", "peer", "wire1"])
    await node.serve(supply(eni(0), eni(1, addresses=FOUR)))
    address = await node.address_of("web")
    leaving = [(f"{each}/32", f"token-{each}") for each in FOUR]
    excluded = eni(1, addresses=FOUR, excluded="subnet-1 is out of use", state=EniState.RELEASING, releasing=leaving)
    await node.give(supply(eni(0, addresses=["10.0.1.9"]), excluded))
    let_go = [{"cidr": cidr, "token": token} for cidr, token in leaving if cidr != f"{address}/32"]
    await eventually(lambda: node.usage.get("released") == let_go, "three of four are let go of")
    assert node.usage["leaving"] == [{"cidr": f"{address}/32", "token": f"token-{address}", "held": 1}]
    assert await node.address_of("next") == "10.0.1.9"
    assert node.host.reaches(address)
    assert f"from {address.rpartition('.')[0]}.4/30 lookup 2" in node.host.run(["ip", "rule"]).stdout


async def test_a_release_is_confirmed_when_the_pod_has_gone_and_its_address_has_rested(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR), cooldown_seconds=1))
    address = await node.address_of("web")
    marked = supply(eni(0, addresses=FOUR, releasing=[(f"{address}/32", "t1")]), cooldown_seconds=1)
    await node.give(marked)
    assert await node.address_of("other") != address
    await eventually(lambda: node.usage.get("assigned") == 2, "usage reported")
    assert node.usage["released"] == []
    await node.delete("web")
    expected = [{"cidr": f"{address}/32", "token": "t1"}]
    await eventually(lambda: node.usage["released"] == expected, "the release is confirmed", within=8)


async def test_an_object_that_was_deleted_and_made_anew_gets_its_usage_again(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.usage.get("free") == 4, "usage reported")
    await node.api.delete(POOLS, NODE)
    node.api.applied.clear()
    await node.give(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.usage.get("free") == 4, "usage reported again")


async def test_a_bad_object_leaves_the_last_good_supply(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    await node.api.put(POOLS, {"metadata": {"name": NODE}, "status": {"supply": {"enis": 3}}})
    await eventually(lambda: "NodeIPPool cannot be read" in node.log, "said so")
    assert await node.address_of("web") == "10.0.1.4"
