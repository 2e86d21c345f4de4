"""What a node must have for pods with IPv6, and where a person reads what it lacks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eni_crds.conditions import ConditionType
from eni_crds.nodeippool import Family
from eni_node_agent.settings import Settings
from eni_node_agent.wiring import lacks_for_ipv6
from eni_testing.agents import AgentNode
from eni_testing.eventually import eventually
from eni_testing.supplies import eni, supply

ALLOWED = "with IPv6 1280 to 9001 bytes are allowed"


@pytest.fixture
def proc_sys(tmp_path: Path) -> Path:
    """The sysctls of a kernel with IPv6."""
    (tmp_path / "net/ipv6").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "lack"),
    [
        ({}, ""),
        ({"POD_MTU": "1280", "AWS_VPC_ENI_MTU": "1280"}, ""),
        ({"POD_MTU": "1279"}, f"POD_MTU is 1279, {ALLOWED}"),
        ({"AWS_VPC_ENI_MTU": "576", "POD_MTU": "1280"}, f"AWS_VPC_ENI_MTU is 576, {ALLOWED}"),
        ({"AWS_VPC_ENI_MTU": "1200"}, f"AWS_VPC_ENI_MTU is 1200, {ALLOWED} and POD_MTU is 1200, {ALLOWED}"),
    ],
)
def test_each_mtu_that_ipv6_cannot_use_is_named_with_its_value_and_what_is_allowed(
    proc_sys: Path, environ: dict[str, str], lack: str
) -> None:
    settings = Settings.from_env({"MY_NODE_NAME": "node-a", "ENI_PROC_SYS": str(proc_sys), **environ})
    assert lacks_for_ipv6(settings) == lack


def test_a_kernel_without_ipv6_comes_first(tmp_path: Path) -> None:
    settings = Settings.from_env({"MY_NODE_NAME": "node-a", "ENI_PROC_SYS": str(tmp_path), "POD_MTU": "1000"})
    assert lacks_for_ipv6(settings) == "the kernel of this node has no IPv6"


@pytest.fixture
async def node() -> AsyncIterator[AgentNode]:
    made = AgentNode()
    try:
        async with made.api_server():
            yield made
    finally:
        made.close()


def connected(node: AgentNode) -> tuple[str, str, str]:
    """Status, reason and sentence of the condition a person sees in the pool."""
    told = [each for sent in node.api.applied for each in sent.body["status"]["conditions"]]
    last = [each for each in told if each["type"] == ConditionType.AGENT_CONNECTED][-1:]
    return (last[0]["status"], last[0]["reason"], last[0]["message"]) if last else ("", "", "")


@pytest.mark.netns
@pytest.mark.timeout(90)
async def test_a_pool_with_ipv6_is_not_served_with_a_small_mtu_and_the_pool_says_why(node: AgentNode) -> None:
    node.variables["POD_MTU"] = "1200"
    block = "2001:db8:0:1:2::/80"
    await node.give(supply(eni(0, addresses=["10.0.1.4"], ipv6_prefixes=[block]), families=[Family.IPV6]))
    node.start()
    sentence = f"the pool gives pods IPv6 addresses, and POD_MTU is 1200, {ALLOWED}"
    told = ("False", "IPv6NotServed", sentence)
    await eventually(lambda: connected(node) == told, "the condition says why", within=15)
    assert sentence in (await node.status()).json["msg"]
    assert not node.conflist.exists()
    await node.give(supply(eni(0, addresses=["10.0.1.4"], ipv6_prefixes=[block])))
    await node.until_able()
