"""A node changes hands: VPC CNI's pods talk on and keep their addresses, and nothing of its own is left in the end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node
from eni_testing.routed import RoutedLab
from eni_testing.vpc_cni import ON_PREFIX, ON_PRIMARY, ON_SECONDARY, LeftNode, Talk, echoing, leftover_supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

THREE = {"old-a": ON_PRIMARY, "old-b": ON_SECONDARY, "old-c": ON_PREFIX}
STRICT = ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1"]


@pytest.fixture
def lab() -> Iterator[RoutedLab]:
    with RoutedLab() as routed:
        yield routed


@pytest.fixture
def neighbour(lab: RoutedLab) -> Iterator[Node]:
    with Node() as made:
        lab.plug(NEIGHBOUR.instance_id, made)
        yield made


@pytest.fixture(params=["nftables", "iptables"])
async def node(lab: RoutedLab, neighbour: Node, request: pytest.FixtureRequest) -> AsyncIterator[LeftNode]:
    """A node with both ENIs as VPC CNI has them, its marks by either back end; its daemon does not run any more."""
    host = Node()
    lab.plug(PRIMARY.instance_id, host)
    for each in (host, neighbour):
        each.run(STRICT)
    lab.apply([PRIMARY, SECONDARY, NEIGHBOUR])
    host.run(["sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=2", "net.ipv4.ip_forward=1"])
    made = LeftNode(host, connmark=request.param)
    try:
        async with made.api_server():
            yield made
    finally:
        made.close()


def add_three(node: LeftNode) -> dict[str, Host]:
    return {name: node.add_by_vpc_cni(name) for name in THREE}


async def begin(node: LeftNode, *, cooldown_seconds: int = 30) -> None:
    """Starts the agent on what is left, and waits until it serves and VPC CNI's own rules are gone."""
    await node.give(leftover_supply(cooldown_seconds=cooldown_seconds))
    node.start()
    await node.until_able()
    await eventually(lambda: not node.their_conflist.exists(), "VPC CNI's conflist is set aside", within=15)
    await eventually(lambda: not [line for line in node.traces() if "AWS" in line], "its rules are gone", within=15)


async def test_pods_talk_on_while_the_node_changes_hands(node: LeftNode, lab: RoutedLab, neighbour: Node) -> None:
    pods = add_three(node)
    outside = lab.fabric._outside.path
    with echoing(outside, neighbour.path, *(pod.path for pod in pods.values())), ExitStack() as stack:
        talks: dict[tuple[str, str], Talk] = {}
        expected: dict[tuple[str, str], str] = {}

        def talk(name: str, asker: Host, peer: str, seen: str) -> None:
            talks[name, peer] = Talk(asker, peer)
            stack.callback(talks[name, peer].close)
            expected[name, peer] = seen

        for name, pod in pods.items():
            talk(name, pod, OUTSIDE, PRIMARY.primary_ip)
            talk(name, pod, NEIGHBOUR.primary_ip, THREE[name])
            talk("neighbour", neighbour, THREE[name], NEIGHBOUR.primary_ip)
        talk("old-a", pods["old-a"], ON_PREFIX, ON_PRIMARY)
        await asyncio.sleep(0.5)  # some of it before
        await begin(node)
        await node.add("new")
        await asyncio.sleep(0.5)  # and some of it after
        for each in talks.values():
            each.end()
        answers = {who: each.lines() for who, each in talks.items()}
    assert min(map(len, answers.values())) > 50
    assert {who: sorted(set(lines)) for who, lines in answers.items()} == {
        who: [seen] for who, seen in expected.items()
    }
    assert "address" not in node.log.partition("repaired the host network")[2]
