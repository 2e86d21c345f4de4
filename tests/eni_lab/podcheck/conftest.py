from collections.abc import Iterator

import pytest

from eni_testing.nodes import Node, unplugged_node


@pytest.fixture
def node() -> Iterator[Node]:
    """A node without a VPC: its ENIs eth0 and eth1 are there and lead nowhere."""
    with unplugged_node() as made:
        yield made
