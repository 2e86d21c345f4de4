"""Nodes for tests of a whole agent, and the VPC's fabric with two nodes on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from eni_testing.agents import AgentNode, node_beside_api_server
from eni_testing.nodes import NEIGHBOUR, PRIMARY, Node
from eni_testing.routed import RoutedLab


@pytest.fixture
async def node() -> AsyncIterator[AgentNode]:
    """A node on which no agent has run yet."""
    async with node_beside_api_server() as made:
        yield made


@pytest.fixture
def lab() -> Iterator[RoutedLab]:
    with RoutedLab() as routed:
        yield routed


@pytest.fixture
def node_a(lab: RoutedLab) -> Iterator[Node]:
    with Node() as made:
        lab.plug(PRIMARY.instance_id, made)
        yield made


@pytest.fixture
def node_b(lab: RoutedLab) -> Iterator[Node]:
    with Node() as made:
        lab.plug(NEIGHBOUR.instance_id, made)
        yield made
