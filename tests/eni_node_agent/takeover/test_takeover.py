"""A node changes hands: VPC CNI's pods talk on and keep their addresses, and nothing of its own is left in the end."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack

import pytest

from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_testing.api_server import PODS, pod
from eni_testing.datapath import STRICT
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node
from eni_testing.routed import RoutedLab
from eni_testing.vpc_cni import ON_PREFIX, ON_PRIMARY, ON_SECONDARY, LeftNode, Talk, echoing, leftover_supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

THREE = {"old-a": ON_PRIMARY, "old-b": ON_SECONDARY, "old-c": ON_PREFIX}


@pytest.fixture
async def node(lab: RoutedLab, node_a: Node, node_b: Node, request: pytest.FixtureRequest) -> AsyncIterator[LeftNode]:
    """A node with both ENIs as VPC CNI has them; its daemon does not run any more. A parameter names its back ends."""
    for each in (node_a, node_b):
        each.run(STRICT)
    lab.apply([PRIMARY, SECONDARY, NEIGHBOUR])
    node_a.run(["sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=2", "net.ipv4.ip_forward=1"])
    made = LeftNode(node_a, **getattr(request, "param", {}))
    try:
        async with made.api_server():
            yield made
    finally:
        made.close()


def add_three(node: LeftNode) -> dict[str, Host]:
    return {name: node.add_by_vpc_cni(name) for name in THREE}


async def begin(node: LeftNode, *, cooldown_seconds: int = 30) -> None:
    """Starts the agent on what is left, and waits until it serves and VPC CNI's own rules are gone."""
    await node.serve(leftover_supply(cooldown_seconds=cooldown_seconds))
    await eventually(lambda: not node.their_conflist.exists(), "VPC CNI's conflist is set aside", within=15)
    await eventually(lambda: not [line for line in node.traces() if "AWS" in line], "its rules are gone", within=15)


@pytest.mark.parametrize("node", [{"connmark": "nftables"}, {"connmark": "iptables"}], indirect=True, ids=str)
async def test_pods_talk_on_while_the_node_changes_hands(node: LeftNode, lab: RoutedLab, node_b: Node) -> None:
    pods = add_three(node)
    outside = lab.fabric._outside.path
    with echoing(outside, node_b.path, *(pod.path for pod in pods.values())), ExitStack() as stack:
        talks: dict[tuple[str, str], Talk] = {}
        expected: dict[tuple[str, str], str] = {}

        def talk(name: str, asker: Host, peer: str, seen: str) -> None:
            # Those of a pod of a secondary ENI need most to be in its place: they see gaps of a millisecond.
            talks[name, peer] = Talk(asker, peer, pause=0.001 if name == "old-b" else 0.05)
            stack.callback(talks[name, peer].close)
            expected[name, peer] = seen

        for name, pod in pods.items():
            talk(name, pod, OUTSIDE, PRIMARY.primary_ip)
            talk(name, pod, NEIGHBOUR.primary_ip, THREE[name])
            talk("neighbour", node_b, THREE[name], NEIGHBOUR.primary_ip)
        talk("old-a", pods["old-a"], ON_PREFIX, ON_PRIMARY)
        await until_said(talks.values(), 20)  # some of it before
        await begin(node)
        await node.add("new")
        await until_said(talks.values(), 20)  # and some of it after
        for each in talks.values():
            each.end()
        answers = {who: each.lines() for who, each in talks.items()}
    assert {who: sorted(set(lines)) for who, lines in answers.items()} == {
        who: [seen] for who, seen in expected.items()
    }
    assert "repaired the host network" not in node.log


async def until_said(talks: Iterable[Talk], more: int) -> None:
    """Returns once everybody has been answered so many times more."""
    wanted = [(talk, len(talk.lines()) + more) for talk in talks]
    said = f"{more} more answers to everybody"
    await eventually(lambda: all(len(talk.lines()) >= number for talk, number in wanted), said, within=15)


def of_pods(node: LeftNode) -> list[str]:
    """Returns VPC CNI's rules for single pods."""
    return [line for line in node.traces() if line.startswith(("512:", "1536:"))]


async def test_what_serves_the_node_is_replaced_and_what_serves_a_pod_stays_with_it(node: LeftNode) -> None:
    add_three(node)
    checkpoint = node.checkpoint.read_text()
    await begin(node)
    kept = {f"512:\tfrom all to {address} lookup main" for address in THREE.values()}
    kept |= {f"1536:\tfrom {address} lookup 2" for address in (ON_SECONDARY, ON_PREFIX)}
    assert {line.partition(" proto")[0] for line in of_pods(node)} == kept
    assert [line for line in node.traces() if line.startswith(("1024:", "32765:"))] == []
    rules = node.host.run(["ip", "-d", "rule"]).stdout
    for line in ("1024:\tfrom all fwmark 0x80/0x80 lookup main", "32765:\tfrom 10.0.1.20 lookup 2"):
        assert f"{line} proto 169" in rules
    assert reason_of(node, "DriftDetected") == "NetworkInOrder"
    assert await inspected(node) == []
    # What VPC CNI needs to know its pods again, should the node go back to it:
    assert node.checkpoint.read_text() == checkpoint
    assert set(THREE.values()) <= set(node.host.run(["ip", "route"]).stdout.split())
    assert node.their_conflist_anywhere().name == "10-aws.conflist.before-eni"


async def test_an_address_is_given_again_only_after_its_pod_has_gone_and_it_has_cooled(node: LeftNode) -> None:
    add_three(node)
    await begin(node, cooldown_seconds=3)
    others = {await node.address_of(f"new-{number}") for number in range(16)}
    assert len(others | set(THREE.values())) == 19  # all there are
    clock = asyncio.get_running_loop().time
    began = clock()
    outcome = await node.delete("old-b")  # as containerd does: by our network's name, with the old container's id
    assert (outcome.exit_code, outcome.stdout) == (0, b"")
    assert [line for line in node.traces() if ON_SECONDARY in line] == []
    assert await usage_of(node) == {"assigned": 18, "cooling": 1}
    assert await node.address_of("last") == ON_SECONDARY
    assert clock() - began >= 3
    assert node.host.reaches(ON_SECONDARY)
    assert node._pods["last"].reaches(NEIGHBOUR.primary_ip)


async def usage_of(node: LeftNode) -> dict[str, int]:
    """Returns assigned and cooling as reported, once the report is of this moment."""
    tally = {"assigned": 0, "cooling": 0}

    def told() -> bool:
        text = node.http("/metrics")[1]
        for state in tally:
            line = next((line for line in text.splitlines() if f'state="{state}"' in line), "0")
            tally[state] = round(float(line.rpartition(" ")[2]))
        return bool(text)

    await eventually(told, "the metrics are there")
    return tally


async def test_with_the_last_pod_all_of_vpc_cni_is_gone(node: LeftNode) -> None:
    add_three(node)
    await begin(node)
    assert node.checkpoint.exists()
    for name in THREE:
        assert (await node.delete(name)).exit_code == 0
    await eventually(lambda: not node.checkpoint.exists(), "the checkpoint is removed", within=20)
    await eventually(lambda: node.traces() == [], "nothing of VPC CNI is left")
    assert "last pod of VPC CNI is gone" in node.log


async def test_a_runtime_that_keeps_the_old_configuration_is_served_by_the_old_executable(node: LeftNode) -> None:
    add_three(node)
    await begin(node)
    node.stop_daemon()
    node.delete_by_vpc_cni("old-b")  # CRI-O; our agent hears nothing of it
    await eventually(lambda: ON_SECONDARY not in "".join(node.traces()), "its rules are gone", within=20)
    assert node.host.reaches(ON_PRIMARY)


async def test_a_pod_that_went_while_nobody_looked_leaves_nothing(node: LeftNode) -> None:
    add_three(node)
    node.stop_daemon()
    gone = node._pods.pop("old-b")
    gone.close()  # killed with its namespace; the checkpoint still names it, and so do its rules
    await eventually(lambda: ON_SECONDARY not in node.host.run(["ip", "route"]).stdout, "its veth is gone")
    assert f"to {ON_SECONDARY} lookup main" in node.host.run(["ip", "rule"]).stdout
    await begin(node)
    assert [line for line in node.traces() if ON_SECONDARY in line] == []
    assert await usage_of(node) == {"assigned": 2, "cooling": 1}


async def test_a_restarted_agent_knows_the_old_pods_again(node: LeftNode) -> None:
    add_three(node)
    await begin(node)
    assert (await node.delete("old-a")).exit_code == 0
    node.stop(signal.SIGKILL)
    node.start()
    await node.until_serving()
    assert await usage_of(node) == {"assigned": 2, "cooling": 1}
    assert (await node.delete("old-b")).exit_code == 0
    assert await usage_of(node) == {"assigned": 1, "cooling": 2}


@pytest.mark.parametrize("damage", ["{", '{"version": "vpc-cni-ipam/2", "allocations": []}', None])
async def test_a_checkpoint_that_cannot_be_read_doubles_no_address(node: LeftNode, damage: str | None) -> None:
    pods = add_three(node)
    if damage is None:
        node.checkpoint.unlink()
    else:
        node.checkpoint.write_text(damage)
    await begin(node)
    assert ("checkpoint cannot be read" in node.log) == (damage is not None)
    others = {await node.address_of(f"new-{number}") for number in range(5)}
    assert others.isdisjoint(THREE.values())
    assert all(pod.reaches(NEIGHBOUR.primary_ip) for pod in pods.values())


async def test_while_vpc_cni_runs_nothing_is_touched_and_the_reason_is_told(node: LeftNode) -> None:
    add_three(node)
    before = node.host.run(["ip", "-d", "rule"]).stdout
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(node.run_dir / "ipamd.sock"))
        daemon.listen(8)
        await node.give(leftover_supply())
        node.start()
        why = f"its daemon answers on {node.run_dir}/ipamd.sock"
        await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
        await eventually(lambda: reason_of(node, "AgentConnected") == "VPCCNIRunning", "the condition says so")
        outcome = await node.status()
        assert (outcome.code, why in outcome.json["msg"]) == (50, True)
        assert node.host.run(["ip", "-d", "rule"]).stdout == before
        assert (node.their_conflist.exists(), node.conflist.exists()) == (True, False)
        assert node.usage["idle"] == node.usage["released"] == []
    await node.until_able()
    await eventually(lambda: reason_of(node, "AgentConnected") == "AgentServing", "the condition says so", within=15)


async def test_while_its_pod_is_bound_to_the_node_vpc_cni_may_come_back(node: LeftNode) -> None:
    add_three(node)
    labels = {"k8s-app": "aws-node"}
    document = pod("aws-node-x", phase="Running")
    document["metadata"]["labels"], document["spec"]["hostNetwork"] = labels, True
    await node.api.put(PODS, document)
    await node.give(leftover_supply())
    node.start()
    why = "its pod default/aws-node-x is bound to this node"
    await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
    await node.api.delete(PODS, "aws-node-x")
    await node.until_able()


async def test_vpc_cni_that_comes_back_stops_the_agent(node: LeftNode) -> None:
    add_three(node)
    await begin(node)
    (node.folder / "conf" / "10-aws.conflist").write_text("{}")
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(node.run_dir / "ipamd.sock"))
        daemon.listen(8)
        await eventually(
            lambda: reason_of(node, "AgentConnected") == "VPCCNIRunning", "the condition says so", within=20
        )
        outcome = await node.status()
        assert outcome.code == 50
        assert node.their_conflist.exists()


async def inspected(node: LeftNode) -> list[str]:
    """Returns what ``eni-agent inspect`` finds."""
    done = await node.execute("inspect", "--json")
    assert done.returncode in {0, 1}, done.stderr
    return [f"{each['kind']}: {each['sentence']}" for each in json.loads(done.stdout)["differences"]]


def reason_of(node: LeftNode, condition: str) -> str:
    return node.condition(condition).get("reason", "")


@pytest.mark.parametrize(
    "node", [{"connmark": "iptables", "iptables": "iptables-legacy"}], indirect=True, ids=["legacy"]
)
async def test_rules_of_the_legacy_iptables_are_told_and_pods_are_served(node: LeftNode) -> None:
    pods = add_three(node)
    await node.serve(leftover_supply())
    await eventually(lambda: "stay in the legacy iptables" in node.log, "said so", within=15)
    assert {line.split()[0] for line in node.traces() if "AWS" in line} == {"nat", "mangle"}
    assert all(pod.reaches(OUTSIDE) for pod in pods.values())
