"""Our bytes against pyroute2's, message by message."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl import fibmsg, ifaddrmsg, ifinfmsg, ndmsg, rtmsg

from eni_cni_shim.plugin import messages, netlink
from eni_cni_shim.plugin.messages import Link, Veth
from eni_cni_shim.plugin.netlink import Message

VETH = Veth("eni0a1b2c3d4e5", "ee:58:0a:00:01:17", "eth0", "ea:58:0a:00:01:17", peer_netns=9, mtu=9001)
CREATE, EXCL, REPLACE = 0x400, 0x200, 0x100


def encoded(message: Any, kind: int, request_flags: int, attributes: list[Any], **fields: Any) -> bytes:
    """Returns pyroute2's encoding of the same request."""
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message["header"]["type"] = kind
    message["header"]["flags"] = request_flags | netlink.NLM_F_REQUEST
    message["header"]["sequence_number"] = 7
    message.encode()
    return bytes(message.data)


def ipv6_route(length: int, attributes: list[Any], flags: int, **fields: Any) -> bytes:
    common = {"family": 10, "dst_len": length, "proto": 4, "type": 1}
    return encoded(rtmsg.rtmsg(), messages.RTM_NEWROUTE, flags, attributes, **common | fields)


def source_rule(kind: int, flags: int, address: str, length: int, family: int) -> bytes:
    attributes = [["FRA_SRC", address], ["FRA_PRIORITY", 1], ["FRA_TABLE", 2]]
    return encoded(fibmsg.fibmsg(), kind, flags, attributes, family=family, src_len=length, table=2, action=1)


def link(kind: int, request_flags: int, attributes: list[Any], **fields: Any) -> bytes:
    return encoded(ifinfmsg.ifinfmsg(), kind, request_flags, attributes, **fields)


def route(length: int, attributes: list[Any], flags: int, **fields: Any) -> bytes:
    common = {"family": 2, "dst_len": length, "proto": 4, "type": 1}
    return encoded(rtmsg.rtmsg(), messages.RTM_NEWROUTE, flags, attributes, **common, **fields)


def veth() -> bytes:
    queues = [["IFLA_NUM_TX_QUEUES", 1], ["IFLA_NUM_RX_QUEUES", 1]]
    peer = ifinfmsg.ifinfmsg()
    peer["attrs"] = [
        ["IFLA_IFNAME", "eth0"],
        ["IFLA_ADDRESS", VETH.peer_mac],
        ["IFLA_MTU", 9001],
        ["IFLA_NET_NS_FD", 9],
        *queues,
    ]
    info = {"attrs": [["IFLA_INFO_KIND", "veth"], ["IFLA_INFO_DATA", {"attrs": [["VETH_INFO_PEER", peer]]}]]}
    attributes = [["IFLA_IFNAME", VETH.name], ["IFLA_ADDRESS", VETH.mac], ["IFLA_MTU", 9001], *queues]
    return link(messages.RTM_NEWLINK, CREATE | EXCL, [*attributes, ["IFLA_LINKINFO", info]])


CASES = {
    "new veth": (messages.new_veth(VETH), veth),
    "get link": (messages.get_link("eth0"), lambda: link(18, 0, [["IFLA_IFNAME", "eth0"]])),
    "set link up": (messages.set_link_up(5), lambda: link(19, 0, [], index=5, flags=1, change=1)),
    "retire link": (
        messages.retire_link("eth0", 77),
        lambda: link(19, 0, [["IFLA_IFNAME", "eth0"], ["IFLA_GROUP", 77]], flags=0, change=1),
    ),
    "delete group": (messages.delete_group(77), lambda: link(17, 0, [["IFLA_GROUP", 77]])),
    "new address": (
        messages.new_address(5, "10.0.1.23"),
        lambda: encoded(
            ifaddrmsg.ifaddrmsg(),
            20,
            CREATE | EXCL,
            [["IFA_LOCAL", "10.0.1.23"], ["IFA_ADDRESS", "10.0.1.23"]],
            family=2,
            prefixlen=32,
            index=5,
        ),
    ),
    "new host route": (
        messages.new_host_route(5, "10.0.1.23", 512),
        lambda: route(
            32, [["RTA_TABLE", 512], ["RTA_DST", "10.0.1.23"], ["RTA_OIF", 5]], CREATE | REPLACE, table=0, scope=253
        ),
    ),
    "new route to the gateway": (
        messages.new_host_route(5, "169.254.1.1"),
        lambda: route(
            32, [["RTA_TABLE", 254], ["RTA_DST", "169.254.1.1"], ["RTA_OIF", 5]], CREATE | REPLACE, table=254, scope=253
        ),
    ),
    "new default route": (
        messages.new_default_route(5, "169.254.1.1"),
        lambda: route(0, [["RTA_GATEWAY", "169.254.1.1"], ["RTA_OIF", 5]], CREATE | EXCL, table=254),
    ),
    "new neighbour": (
        messages.new_neighbour(5, "169.254.1.1", "ee:58:0a:00:01:17"),
        lambda: encoded(
            ndmsg.ndmsg(),
            28,
            CREATE | REPLACE,
            [["NDA_DST", "169.254.1.1"], ["NDA_LLADDR", "ee:58:0a:00:01:17"]],
            family=2,
            ifindex=5,
            state=0x80,
        ),
    ),
    "new IPv6 address": (
        messages.new_address(5, "2001:db8::17"),
        lambda: encoded(
            ifaddrmsg.ifaddrmsg(),
            20,
            CREATE | EXCL,
            [["IFA_LOCAL", "2001:db8::17"], ["IFA_ADDRESS", "2001:db8::17"]],
            family=10,
            prefixlen=128,
            flags=2,
            index=5,
        ),
    ),
    "new IPv6 host route": (
        messages.new_host_route(5, "2001:db8::17", 512),
        lambda: ipv6_route(
            128, [["RTA_TABLE", 512], ["RTA_DST", "2001:db8::17"], ["RTA_OIF", 5]], CREATE | REPLACE, scope=253
        ),
    ),
    "new local route": (
        messages.new_local_route(5, "2001:db8::17"),
        lambda: ipv6_route(
            128, [["RTA_DST", "2001:db8::17"], ["RTA_OIF", 5]], CREATE | REPLACE, table=255, proto=2, type=2
        ),
    ),
    "new IPv6 default route": (
        messages.new_default_route(5, "fe80::2", 1),
        lambda: ipv6_route(0, [["RTA_GATEWAY", "fe80::2"], ["RTA_OIF", 5]], CREATE | EXCL, table=1),
    ),
    "new IPv6 neighbour": (
        messages.new_neighbour(5, "fe80::1", "ee:58:0a:00:01:17"),
        lambda: encoded(
            ndmsg.ndmsg(),
            28,
            CREATE | REPLACE,
            [["NDA_DST", "fe80::1"], ["NDA_LLADDR", "ee:58:0a:00:01:17"]],
            family=10,
            ifindex=5,
            state=0x80,
        ),
    ),
    "new source rule": (
        messages.new_source_rule("10.0.9.5", 2, 1),
        lambda: source_rule(32, CREATE | EXCL, "10.0.9.5", 32, 2),
    ),
    "new IPv6 source rule": (
        messages.new_source_rule("2001:db8::17", 2, 1),
        lambda: source_rule(32, CREATE | EXCL, "2001:db8::17", 128, 10),
    ),
    "delete source rule": (
        messages.delete_source_rule("10.0.9.5", 2, 1),
        lambda: source_rule(33, 0, "10.0.9.5", 32, 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_of_pyroute2(name: str) -> None:
    ours, theirs = CASES[name]
    assert theirs().hex(" ", 4) == netlink.dump_message(ours, 7).hex(" ", 4)


def test_a_link_reads_as_pyroute2_wrote_it() -> None:
    attributes = [
        ["IFLA_IFNAME", "eni0"],
        ["IFLA_ADDRESS", "ee:58:0a:00:01:17"],
        ["IFLA_MTU", 9001],
        ["IFLA_LINK", 4],
        ["IFLA_GROUP", 77],
    ]
    body = link(16, 0, attributes, index=5, flags=0x1003)[16:]
    assert Link(5, 4, "eni0", "ee:58:0a:00:01:17", 9001, 77, is_up=True) == messages.parse_link(body)


def test_routes_addresses_and_neighbours_read_as_they_were_written() -> None:
    assert messages.parse_route(messages.new_host_route(5, "10.0.1.23", 512).body) == (512, "10.0.1.23/32", "", 5)
    assert messages.parse_route(messages.new_default_route(5, "169.254.1.1").body) == (
        254,
        "0.0.0.0/0",
        "169.254.1.1",
        5,
    )
    assert messages.parse_address(messages.new_address(5, "10.0.1.23").body) == (5, "10.0.1.23/32")
    assert messages.parse_route(messages.new_host_route(5, "2001:db8::17", 512).body) == (
        512,
        "2001:db8::17/128",
        "",
        5,
    )
    assert messages.parse_route(messages.new_default_route(5, "fe80::1").body) == (254, "::/0", "fe80::1", 5)
    assert messages.parse_address(messages.new_address(5, "2001:db8::17").body) == (5, "2001:db8::17/128")
    assert messages.parse_rule(messages.new_source_rule("10.0.9.5", 2, 1).body) == (1, "10.0.9.5/32", 2)
    neighbour = messages.new_neighbour(5, "169.254.1.1", "ee:58:0a:00:01:17")
    assert messages.parse_neighbour(neighbour.body) == (5, "169.254.1.1", "ee:58:0a:00:01:17", True)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=40))))
def test_a_datagram_is_cut_where_its_messages_were_joined(parts: list[tuple[int, int, bytes]]) -> None:
    sent = [(number, Message(kind, flags | 1, body)) for number, (kind, flags, body) in enumerate(parts)]
    data = b"".join(bytes(packed := netlink.dump_message(m, n)) + bytes(-len(packed) % 4) for n, m in sent)
    assert sent == netlink.parse_messages(data)


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40)))
def test_attributes_are_read_as_they_were_written(attributes: dict[int, bytes]) -> None:
    data = b"".join(netlink.dump_attribute(kind, payload) for kind, payload in attributes.items())
    assert attributes == netlink.parse_attributes(data)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_torn_attributes_end_the_reading(data: bytes) -> None:
    assert all(len(payload) <= len(data) for payload in netlink.parse_attributes(data).values())


def test_the_first_error_of_a_batch_is_raised_and_the_socket_serves_on() -> None:
    with netlink.Socket() as routing:
        with pytest.raises(OSError, match="No such device") as caught:
            routing.request(messages.get_link("eni-nonexistent"), messages.get_link("lo"))
        assert caught.value.errno == 19
        [answer] = routing.request(messages.get_link("lo"))
        assert messages.parse_link(answer.body).name == "lo"
        addresses = {messages.parse_address(answer.body)[1] for answer in routing.dump(messages.get_addresses())}
        assert socket.inet_ntoa(bytes([127, 0, 0, 1])) + "/8" in addresses
