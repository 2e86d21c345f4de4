from collections.abc import Iterator

import pytest

from eni_testing.nodes import PRIMARY, SECONDARY, Node


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
