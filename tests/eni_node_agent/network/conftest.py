from collections.abc import Iterator

import pytest

from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node
from eni_testing.routed import RoutedLab


@pytest.fixture
def node() -> Iterator[Node]:
    """A node without a VPC: its ENIs eth0 and eth1 are there and lead nowhere."""
    with Node() as made:
        made.add_link("eth0", PRIMARY.mac)
        made.run(["ip", "address", "add", "10.0.1.10/24", "dev", "eth0"])
        made.run(["ip", "link", "set", "eth0", "up"])
        made.run(["ip", "route", "add", "default", "via", "10.0.1.1"])
        made.add_link("eth1", SECONDARY.mac)
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
