"""Which announcements the kernel passes on, as the kernel itself has it: its filter runs on any kind of socket."""

import socket
import struct

import pytest

from eni_cni_shim.plugin.netlink import Message, dump_attribute, dump_message
from eni_node_agent.network import pod_filter, rtnetlink

IPV4, IPV6 = 2, 10


def link(name: str) -> bytes:
    return struct.pack("=BxHiII", 0, 1, 7, 0, 0) + dump_attribute(3, name.encode() + b"\0")


def route(table: int, family: int = IPV4) -> bytes:
    header = struct.pack("=BBBBBBBBI", family, 32, 0, 0, 0, 4, 0, 1, 0)
    return header + dump_attribute(1, bytes(4)) + dump_attribute(15, rtnetlink.word(table))


def setting(*kinds: int) -> bytes:
    return struct.pack("=Bxxx", 2) + b"".join(dump_attribute(kind, rtnetlink.word(1)) for kind in kinds)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (rtnetlink.RTM_NEWLINK, link("eth1"), True),
        (rtnetlink.RTM_DELLINK, link("ens6"), True),
        (rtnetlink.RTM_NEWLINK, link("en"), True),
        (rtnetlink.RTM_NEWLINK, link("eni0a1b2c3d4e5"), False),
        (rtnetlink.RTM_DELLINK, link("eni0a1b2c3d4e5"), False),
        (rtnetlink.RTM_DELROUTE, route(2), True),
        (rtnetlink.RTM_NEWROUTE, route(10203), True),
        (rtnetlink.RTM_NEWROUTE, route(512), False),
        (rtnetlink.RTM_NEWROUTE, route(512, IPV6), False),
        (rtnetlink.RTM_DELROUTE, route(512), True),
        (rtnetlink.RTM_DELROUTE, route(512, IPV6), False),
        (rtnetlink.RTM_DELROUTE, route(254), False),
        (rtnetlink.RTM_DELROUTE, route(255, IPV6), False),
        (rtnetlink.RTM_NEWROUTE, b"\x02" + bytes(11), True),
        (rtnetlink.RTM_NEWROUTE, route(254), False),
        (rtnetlink.RTM_NEWROUTE, route(255), False),
        (rtnetlink.RTM_DELRULE, b"", True),
        (rtnetlink.RTM_DELADDR, b"", True),
        (rtnetlink.RTM_NEWNETCONF, setting(1, 2), True),
        (rtnetlink.RTM_NEWNETCONF, setting(1, 2, 3, 4), False),
        (rtnetlink.RTM_DELNETCONF, setting(1), False),
    ],
)
def test_an_announcement_of_the_host_is_heard_and_a_pods_is_not(kind: int, body: bytes, expected: bool) -> None:  # noqa: FBT001  # a table's column
    assert is_heard(kind, body, "eni") is expected


@pytest.mark.parametrize("prefix", ["v", "ve", "vet", "veth"])
def test_the_whole_prefix_tells_a_pods_link(prefix: str) -> None:
    assert not is_heard(rtnetlink.RTM_NEWLINK, link(f"{prefix}0a1b"), prefix)
    assert is_heard(rtnetlink.RTM_NEWLINK, link(f"{prefix[:-1]}0a1b"), prefix)


def is_heard(kind: int, body: bytes, prefix: str) -> bool:
    mouth, ear = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with mouth, ear:
        pod_filter.attach(ear, prefix)
        ear.settimeout(0)
        mouth.send(dump_message(Message(kind, 0, body), 1))
        try:
            return bool(ear.recv(1 << 16))
        except BlockingIOError:
            return False
