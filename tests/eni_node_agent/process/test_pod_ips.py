"""ANNOTATE_POD_IP: addresses are noted on pods, also after the API server or the agent was away."""

import signal

import pytest

from eni_testing.agents import AgentNode
from eni_testing.api_server import PODS, pod
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_addresses_are_noted_on_pods_where_that_was_asked_for(node: AgentNode) -> None:
    node.variables["ANNOTATE_POD_IP"] = "true"
    await node.give(supply(eni(0, addresses=FOUR)))
    for name in ("web", "late"):
        await node.api.put(PODS, pod(name))
    node.start()
    await node.until_able()

    def noted(name: str) -> str | None:
        annotations = node.api.objects[PODS][name]["metadata"].get("annotations", {})
        value: str | None = annotations.get("vpc.amazonaws.com/pod-ips")
        return value

    address = await node.address_of("web")
    await eventually(lambda: noted("web") == address, "the address is noted")
    node.api.refusal = 503
    late = await node.address_of("late")
    assert noted("late") is None, "the pod has its address although the API server is away"
    node.api.refusal = None
    await eventually(lambda: noted("late") == late, "noted once it is back", within=15)
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: noted("web") == "", "emptied")
    node.stop(signal.SIGKILL)
    node.api.objects[PODS]["late"]["metadata"]["annotations"].clear()
    node.start()
    await eventually(lambda: noted("late") == late, "made up for after a restart", within=15)
    assert 'eni_agent_pod_ip_annotations_total{outcome="written"} 1.0' in node.http("/metrics")[1]
