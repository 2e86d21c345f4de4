"""The loop on a real engine: grows, shrinks, tells why not, writes only what differs."""

import asyncio

import pytest

from eni_crds.nodeippool import Supply
from eni_operator.controllers.kube import KubeError
from eni_operator.domain.reasons import Verdict
from eni_testing.operator_node import OperatorNode

WRITES = ("Assign", "Create", "Attach", "Modify", "Unassign", "Detach", "Delete")


def writes(node: OperatorNode) -> list[str]:
    return [call for call in node.calls if call.startswith(WRITES)]


async def test_a_cold_node_gets_addresses_for_its_pods() -> None:
    node = OperatorNode()
    node.agent.want(5)
    await node.settle()
    assert node.leaked() == []
    assert node.kube.condition("Ready")["status"] == "True"


async def test_twenty_pods_take_the_calls_that_are_needed_and_no_more() -> None:
    node = OperatorNode()
    await node.settle()
    node.calls.clear()
    node.agent.want(20)
    await node.settle()
    assert len(node.calls) == len(writes(node)) == 5  # two assigns; a third ENI in three calls; nothing described


async def test_fifty_pods_on_a_cold_node_take_nine_calls_at_most() -> None:
    node = OperatorNode("c5.xlarge")
    await node.step()
    await node.step()
    node.calls.clear()
    node.agent.want(50)
    await node.settle()
    assert len(node.calls) <= 9


async def test_fifty_pods_in_prefix_mode_take_one_call() -> None:
    node = OperatorNode()
    await node.step()
    assert node.kube.pool is not None
    node.kube.pool["spec"] = {"policy": {"mode": "prefix"}}
    node.agent_speaks()
    await node.settle()
    node.calls.clear()
    node.agent.want(50)
    await node.settle()
    assert node.calls == ["AssignPrivateIpAddresses"]


async def test_pods_that_go_give_their_addresses_and_enis_back() -> None:
    node = OperatorNode()
    node.agent.want(24)
    await node.settle()
    assert len(node.enis()) == 3
    node.agent.want(2)
    await node.settle()
    supply = node.kube.supply()
    assert supply is not None
    assert supply.totals.addresses == len(node.owned()) == supply.wanted == 3
    assert len(node.enis()) == supply.totals.enis
    assert node.leaked() == []


async def test_a_settled_pool_is_left_in_peace() -> None:
    node = OperatorNode()
    node.agent.want(5)
    await node.settle()
    before = (len(node.calls), node.kube.writes)
    for _ in range(50):
        await node.step()
    assert (len(node.calls), node.kube.writes) == before


async def test_ec2_is_asked_again_after_an_hour() -> None:
    node = OperatorNode()
    await node.settle()
    node.calls.clear()
    node.lab.now += 3601
    await node.step()
    assert node.calls == ["DescribeNetworkInterfaces"]


async def test_an_address_somebody_took_away_leaves_the_supply_after_two_answers() -> None:
    node = OperatorNode()
    node.agent.want(3)
    await node.settle()
    [primary] = [eni for eni in node.enis() if eni.addresses]
    free = sorted(set(primary.addresses) - set(node.agent.pods.values()))
    node.lab.call("UnassignPrivateIpAddresses", NetworkInterfaceId=primary.id, PrivateIpAddresses=free)
    node.lab.now += 3601
    await node.reconciler.once()
    node.lab.now += 6
    await node.reconciler.once()
    after = node.kube.supply()
    assert after is not None
    assert set(free).isdisjoint(after.enis[0].addresses)


async def test_a_pool_that_somebody_deletes_comes_back() -> None:
    node = OperatorNode()
    node.agent.want(3)
    await node.settle()
    node.reconciler.observed.take("nodeippools", "DELETED", node.kube.snapshot())
    node.kube.pool = None
    await node.settle()
    supply = node.kube.supply()
    assert supply is not None
    assert supply.totals.addresses >= 3
    assert node.kube.snapshot()["metadata"]["ownerReferences"][0]["kind"] == "Node"


async def test_a_pool_that_somebody_deleted_while_no_watch_was_up_comes_back_with_the_next_write() -> None:
    node = OperatorNode()
    await node.settle()
    node.kube.pool = None
    node.kube.node["status"]["capacity"]["pods"] = "8"
    node.reconciler.observed.take("nodes", "MODIFIED", node.kube.node)
    with pytest.raises(KubeError, match="404"):
        await node.reconciler.once()
    await node.reconciler.once()
    assert node.kube.supply() is not None


async def test_nothing_is_done_in_ec2_that_could_not_be_written_first() -> None:
    node = OperatorNode()
    await node.settle()
    node.calls.clear()
    node.agent.want(20)
    node.agent_speaks()
    node.kube.outage = 503
    with pytest.raises(KubeError):
        await node.reconciler.once()
    assert writes(node) == []
    node.kube.outage = None
    await node.settle()
    assert node.agent.pending == 0


async def test_a_minute_without_the_api_server_in_a_burst_loses_nothing() -> None:
    node = OperatorNode()
    node.agent.want(12)
    await node.settle()
    node.agent.want(24)
    await node.step()
    node.kube.outage = 0
    for _ in range(5):
        with pytest.raises(KubeError):
            await node.step()
        node.agent_speaks()
        node.lab.now += 12
    node.kube.outage = None
    await node.settle()
    assert node.leaked() == []


async def test_a_promise_whose_writing_failed_is_no_promise() -> None:
    """The write may have arrived or not; an answer to a token that it withdrew must not count."""
    node = OperatorNode()
    node.agent.want(8)
    await node.settle()
    node.agent.want(2)
    publisher = node.reconciler._publisher
    for _ in range(40):
        await node.step()
        if publisher.handshakes.releasing:
            break
    assert publisher.handshakes.releasing
    node.kube.outage = 0
    node.agent.want(8)
    node.agent_speaks()
    with pytest.raises(KubeError):
        await node.reconciler.once()
    assert not publisher.handshakes.releasing
    node.kube.outage = None
    await node.settle()
    assert node.agent.pending == 0


async def test_paused_means_hands_off() -> None:
    node = OperatorNode()
    node.agent.want(3)
    await node.settle()
    assert node.kube.pool is not None
    node.kube.pool["spec"] = {"paused": True}
    node.calls.clear()
    node.agent.want(20)
    for _ in range(30):
        await node.step()
    assert writes(node) == []
    assert node.kube.condition("Sufficient")["reason"] == "Paused"


async def test_tags_of_settings_eniconfig_and_ours_are_on_a_new_eni() -> None:
    node = OperatorNode(tags={"team": "net", "env": "x"}, cluster_name="prod")
    node.kube.node["metadata"]["labels"] = {"k8s.amazonaws.com/eniConfig": "special"}
    node.kube.eniconfigs = [
        {"metadata": {"name": "special"}, "spec": {"tags": {"env": "y"}, "policy": {"warmIPs": 12}}}
    ]
    await node.settle()
    [made] = [eni for eni in node.enis() if eni.attachment.device_index == 1]
    assert made.description == f"aws-K8S-{node.instance_id}"
    assert made.tags == {
        "team": "net",
        "env": "y",
        "node.k8s.amazonaws.com/instance_id": node.instance_id,
        "cluster.k8s.amazonaws.com/name": "prod",
    }
    supply = node.kube.supply()
    assert supply is not None
    assert (supply.eni_config, supply.policy["warmIPs"].origin, supply.wanted) == ("special", "eniconfig", 12)


async def test_an_eniconfig_that_cannot_be_read_is_named_and_stops_nothing() -> None:
    node = OperatorNode()
    node.kube.node["metadata"]["labels"] = {"k8s.amazonaws.com/eniConfig": "old"}
    node.kube.eniconfigs = [{"metadata": {"name": "old"}, "spec": {"subnet": "my-subnet"}}]
    node.agent.want(5)
    await node.settle()
    assert node.agent.pending == 0
    found = node.kube.condition("Sufficient")
    assert (found["status"], found["reason"]) == ("False", "ENIConfigInvalid")
    assert "'old', named by the node's label" in found["message"]
    assert "cannot be read: spec.subnet" in found["message"]


async def test_a_plan_made_before_something_ended_is_not_performed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the status is written an action may end; the plan, made before, would ask for the same a second time."""
    node = OperatorNode()
    await node.settle()
    node.agent.want(5)
    node.agent_speaks()
    node.calls.clear()
    publisher, workplace = node.reconciler._publisher, node.reconciler._workplace
    assert workplace is not None
    belief, publish = workplace.inventory.attachments, publisher.publish

    async def publish_while_something_ends(supply: Supply | None, verdicts: tuple[Verdict, ...]) -> float | None:
        belief.observe(belief.enis)
        return await publish(supply, verdicts)

    monkeypatch.setattr(publisher, "publish", publish_while_something_ends)
    again = await node.reconciler.once()
    for _ in range(5):
        await asyncio.sleep(0)
    assert writes(node) == []
    assert again <= node.lab.now
    monkeypatch.undo()
    await node.settle()
    assert node.agent.pending == 0


async def test_a_node_that_is_gone_leaves_nothing_with_the_events() -> None:
    node = OperatorNode()
    await node.step()
    assert node.events._allowances  # its kubelet takes more pods than the instance can address, and was told so
    await node.reconciler.close()
    assert not node.events._allowances
