"""Which announcements of the kernel are about the host's network."""

import struct

import pytest

from eni_cni_shim.plugin.netlink import Message, dump_attribute
from eni_node_agent.network import rtnetlink
from eni_node_agent.network.events import concerns_host


def link(name: str) -> bytes:
    return struct.pack("=BxHiII", 0, 1, 7, 0, 0) + dump_attribute(3, name.encode() + b"\0")


def route(table: int) -> bytes:
    return struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 0, 4, 0, 1, 0) + dump_attribute(15, rtnetlink.word(table))


def setting(*kinds: int) -> bytes:
    return struct.pack("=Bxxx", 2) + b"".join(dump_attribute(kind, rtnetlink.word(1)) for kind in kinds)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (rtnetlink.RTM_NEWLINK, link("eth1"), True),
        (rtnetlink.RTM_DELLINK, link("ens6"), True),
        (rtnetlink.RTM_NEWLINK, link("eni0a1b2c3d4e5"), False),
        (rtnetlink.RTM_DELLINK, link("eni0a1b2c3d4e5"), False),
        (rtnetlink.RTM_DELROUTE, route(2), True),
        (rtnetlink.RTM_NEWROUTE, route(10203), True),
        (rtnetlink.RTM_NEWROUTE, route(512), False),
        (rtnetlink.RTM_DELROUTE, route(512), True),
        (rtnetlink.RTM_NEWROUTE, route(254), False),
        (rtnetlink.RTM_NEWROUTE, route(255), False),
        (rtnetlink.RTM_DELRULE, b"", True),
        (rtnetlink.RTM_DELADDR, b"", True),
        (rtnetlink.RTM_NEWNETCONF, setting(1, 2), True),
        (rtnetlink.RTM_NEWNETCONF, setting(1, 2, 3, 4), False),
        (rtnetlink.RTM_DELNETCONF, setting(1), False),
    ],
)
def test_announcement_concerns_the_host(kind: int, body: bytes, expected: bool) -> None:  # noqa: FBT001  # a table's column
    assert concerns_host(Message(kind, 0, body), "eni") is expected
