"""What wakes the agent: its own network, and not the pods that come and go on it."""

import asyncio
from contextlib import closing

import pytest

from eni_lab.fabric.namespaces import entered
from eni_node_agent.network.events import Events
from eni_testing.eventually import eventually
from eni_testing.nodes import Node

pytestmark = pytest.mark.netns


async def test_pods_that_come_and_go_are_not_heard_of_and_a_rule_is(node: Node) -> None:
    with entered(node.path):
        events = Events("eni")
    with closing(events):
        for last in range(20, 24):
            with node.add_pod(f"10.0.1.{last}"):
                node.run(["ip", "link", "delete", f"eni{last:08x}"])
        for _ in range(20):  # the kernel announces before its call returns: what is heard is read in these turns
            await asyncio.sleep(0)
        assert not events.happened.is_set()
        node.run(["ip", "rule", "add", "priority", "999", "lookup", "main"])
        await eventually(events.happened.is_set, "the rule is heard of")
