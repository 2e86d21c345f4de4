"""Dumps are of one moment, though they come in pieces and each piece is read before the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_cni_shim.plugin.netlink import Socket
from eni_node_agent.network import links, rtnetlink
from eni_testing.nodes import Node

PAIRS = 60
"""Their 120 links of a kilobyte are more than the kernel has ready."""
EVERYTHING = bytes(16)

pytestmark = pytest.mark.netns


@pytest.fixture
def crowded(node: Node, tmp_path: Path) -> Node:
    """A node with many pods."""
    batch = tmp_path / "links"
    batch.write_text("".join(f"link add a{n} type veth peer b{n}\n" for n in range(PAIRS)))
    node.run(["ip", "-batch", str(batch)])
    return node


@pytest.fixture
def kernel(crowded: Node) -> Iterator[Socket]:
    with crowded.do(Socket) as opened:
        yield opened


def test_links_that_go_while_links_are_read_are_not_among_them(crowded: Node, kernel: Socket) -> None:
    read: list[str] = []

    def parse(body: bytes) -> str:
        if not read:
            crowded.run(["ip", "link", "delete", f"a{PAIRS - 1}"])
        read.append(links.parse_link(body).ifname)
        return read[-1]

    found = rtnetlink.read(kernel, rtnetlink.RTM_GETLINK, EVERYTHING, parse)
    assert len(read) > len(found), "it was not read again"
    assert {f"a{n}" for n in range(PAIRS - 1)} <= set(found)
    assert f"a{PAIRS - 1}" not in found


def test_a_reading_that_fails_half_way_is_nothing_to_the_next(kernel: Socket) -> None:
    def fail(_: bytes) -> None:
        raise ValueError("of no known shape")

    with pytest.raises(ValueError, match="of no known shape"):
        rtnetlink.read(kernel, rtnetlink.RTM_GETLINK, EVERYTHING, fail)
    assert rtnetlink.dump(kernel, rtnetlink.RTM_GETADDR, bytes(8))
    assert {f"a{n}" for n in range(PAIRS)} <= links.read_links(kernel).keys()
