from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from eni_node_agent.network.desired import NetworkSettings
from eni_testing import datapath
from eni_testing.datapath import FAR, PODS, STRICT, World, converge
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node, unplugged_node
from eni_testing.routed import RoutedLab


@pytest.fixture
def node() -> Iterator[Node]:
    """A node without a VPC: its ENIs eth0 and eth1 are there and lead nowhere."""
    with unplugged_node() as made:
        yield made


@pytest.fixture
def world(lab: RoutedLab, node_a: Node, node_b: Node) -> Iterator[World]:
    for node in (node_a, node_b):
        node.run(STRICT)
    lab.apply([PRIMARY, SECONDARY, NEIGHBOUR])
    converge(node_a, NetworkSettings(), PRIMARY, SECONDARY)
    converge(node_b, NetworkSettings(), NEIGHBOUR)
    with ExitStack() as stack:
        pods = {address: stack.enter_context(node_a.add_pod(address)) for address in PODS}
        pods[FAR] = stack.enter_context(node_b.add_pod(FAR))
        yield World(node_a, node_b, pods)


@pytest.fixture
def telling(world: World) -> Iterator[None]:
    """Every pod tells who calls on port 8080 what address it sees."""
    with datapath.telling(list(world.pods.values())):
        yield
