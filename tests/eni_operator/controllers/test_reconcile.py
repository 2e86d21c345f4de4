"""The loop on a real engine: grows, shrinks, tells why not, writes only what differs."""

from eni_testing.operator_node import OperatorNode


async def test_a_cold_node_gets_addresses_for_its_pods_and_a_bare_eni() -> None:
    node = OperatorNode()
    node.agent.want(5)
    await node.settle()
    assert node.agent.pending == 0
    assert node.leaked() == []
    assert node.kube.condition("Ready")["status"] == "True"


async def test_twenty_pods_take_the_calls_that_are_needed_and_no_more() -> None:
    node = OperatorNode()
    await node.settle()
    node.calls.clear()
    node.agent.want(20)
    await node.settle()
    assert len([c for c in node.calls if not c.startswith("Describe")]) <= 5


async def test_pods_that_go_give_their_addresses_and_enis_back() -> None:
    node = OperatorNode()
    node.agent.want(24)
    await node.settle()
    assert len(node.enis()) == 3
    node.agent.want(2)
    await node.settle()
    supply = node.kube.supply()
    assert supply is not None
    assert supply.totals.addresses <= 4
    assert len(node.enis()) == 1 + sum(e.device_index > 0 for e in supply.enis)
    assert node.leaked() == []
