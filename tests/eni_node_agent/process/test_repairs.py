"""What others undo on the node is put back and told; what is in the way is told."""

import pytest

from eni_testing.agents import AgentNode
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_what_others_undo_is_repaired_and_told(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    address = await node.address_of("web")
    node.host.run(["ip", "rule", "delete", "priority", "512"])
    await eventually(lambda: "512:" in node.host.run(["ip", "rule"]).stdout, "the rule is back")
    assert node.host.reaches(address)
    await eventually(lambda: node.condition("DriftDetected")["status"] == "True", "drift reported")
    assert "rule 1" in node.condition("DriftDetected")["message"]
    assert 'eni_agent_network_repairs_total{kind="rule"} 1.0' in node.http("/metrics")[1]


async def test_routes_to_pods_that_others_take_are_put_back(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    address = await node.address_of("web")
    assert node.host.reaches(address)
    node.host.run(["ip", "route", "flush", "table", "512"])
    await eventually(lambda: node.host.reaches(address), "the pod is reached again", within=15)


async def test_rule_of_another_tool_that_is_in_the_way_is_told(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    node.host.run(["ip", "rule", "add", "from", FOUR[0], "lookup", "9", "priority", "100"])
    await eventually(lambda: node.condition("DriftDetected")["reason"] == "RuleConflict", "the conflict is told")
    assert f"100: from {FOUR[0]}/32 lookup 9" in node.condition("DriftDetected")["message"]
    assert "eni_agent_network_conflicts 1.0" in node.http("/metrics")[1]
    node.host.run(["ip", "rule", "delete", "priority", "100"])
    await eventually(lambda: node.condition("DriftDetected")["status"] == "False", "the conflict is over")


async def test_sysctls_are_kept_in_the_folder_that_is_mounted(node: AgentNode) -> None:
    forwards = node.folder / "sys" / "net/ipv4/ip_forward"
    forwards.parent.mkdir(parents=True)
    forwards.write_text("0\n")
    node.variables["ENI_PROC_SYS"] = str(node.folder / "sys")
    await node.serve(supply(eni(0, addresses=FOUR)))
    assert forwards.read_text() == "1"
    forwards.write_text("0\n")
    await eventually(lambda: forwards.read_text() == "1", "the value is back", within=15)
