"""The few rtnetlink messages a pod's network needs, encoded by hand.

Why by hand: a pod takes ten messages, and encoding them costs pyroute2 2 to 4 ms where ``struct`` needs 0.1; the
node's CPU is what limits a burst of pods. pyroute2 stays the reference: a test compares the bytes. ``netlink`` sends
them, ``pod_network`` decides which. Sources: rtnetlink(7), <linux/rtnetlink.h>, <linux/if_link.h>, <linux/veth.h>.
"""

import socket
import struct
from typing import NamedTuple

from eni_cni_shim.plugin.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    dump_attribute,
    parse_attributes,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE, RTM_NEWNEIGH, RTM_GETNEIGH = 20, 22, 24, 26, 28, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD = 1, 3, 4, 5, 18, 27, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 31, 32, 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, NDA_DST, NDA_LLADDR = 1, 2, 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE, FRA_SRC, FRA_PRIORITY, FRA_TABLE = 1, 4, 5, 15, 2, 6, 15
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 254, 4, 1, 0, 253
RT_TABLE_LOCAL, RTPROT_KERNEL, RTN_LOCAL = 255, 2, 2
IFF_UP, NUD_PERMANENT, FR_ACT_TO_TBL = 1, 0x80, 1
IFA_F_NODAD = 2

_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_RULE = _ROUTE  # fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action, flags
_NEIGHBOUR = struct.Struct("=BxHiHBB")  # ndmsg: family, index, state, flags, type
_U32 = struct.Struct("=I")


class Link(NamedTuple):
    """A network interface as the kernel reports it."""

    ifindex: int
    peer_ifindex: int
    """Of a veth: the index its other end has in the other namespace."""
    name: str
    mac: str
    mtu: int
    group: int
    is_up: bool


class Veth(NamedTuple):
    """A pair of interfaces to be created, its peer straight in another namespace (a later move costs 20 ms)."""

    name: str
    mac: str
    peer_name: str
    peer_mac: str
    peer_netns: int
    """Descriptor of the peer's namespace."""
    mtu: int


def new_veth(pair: Veth) -> Message:
    """Returns the creation of both ends, down. One queue each: a queue per CPU makes creating them six times dearer."""
    queues = dump_attribute(IFLA_NUM_TX_QUEUES, _U32.pack(1)) + dump_attribute(IFLA_NUM_RX_QUEUES, _U32.pack(1))
    mtu = dump_attribute(IFLA_MTU, _U32.pack(pair.mtu))
    netns = dump_attribute(IFLA_NET_NS_FD, _U32.pack(pair.peer_netns))
    peer = _LINK.pack(0, 0, 0, 0, 0) + _name(pair.peer_name) + _mac(IFLA_ADDRESS, pair.peer_mac) + mtu + netns + queues
    data = dump_attribute(IFLA_INFO_DATA, dump_attribute(VETH_INFO_PEER, peer))
    info = dump_attribute(IFLA_LINKINFO, dump_attribute(IFLA_INFO_KIND, b"veth\0") + data)
    body = _LINK.pack(0, 0, 0, 0, 0) + _name(pair.name) + _mac(IFLA_ADDRESS, pair.mac) + mtu + queues + info
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def get_link(name: str) -> Message:
    """Returns the question for a link, answered with one message for ``parse_link``."""
    return Message(RTM_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name))


def set_link_up(index: int) -> Message:
    """Returns the change that sets a link up."""
    return Message(RTM_SETLINK, 0, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))


def retire_link(name: str, group: int) -> Message:
    """Returns the change that sets a link down, which takes its routes along, and puts it into a group."""
    return Message(
        RTM_SETLINK, 0, _LINK.pack(0, 0, 0, 0, IFF_UP) + _name(name) + dump_attribute(IFLA_GROUP, _U32.pack(group))
    )


def delete_group(group: int) -> Message:
    """Returns the deletion of all links of a group; ENODEV when there are none."""
    return Message(RTM_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + dump_attribute(IFLA_GROUP, _U32.pack(group)))


def new_address(index: int, address: str) -> Message:
    """Returns the assignment of ``10.0.1.23/32`` to a link; of IPv6, to be used at once.

    Nobody else on a veth could have it, so duplicate-address detection would only keep the pod waiting (RFC 4862, 5.4).
    """
    packed = _packed(address)
    flags = 0 if len(packed) == 4 else IFA_F_NODAD
    body = _ADDRESS.pack(_family(packed), 8 * len(packed), flags, 0, index)
    body += dump_attribute(IFA_LOCAL, packed) + dump_attribute(IFA_ADDRESS, packed)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def new_host_route(index: int, address: str, table: int = RT_TABLE_MAIN) -> Message:
    """Returns ``10.0.1.23/32 dev <link> scope link table <table>``; replaces what the table has for the address."""
    packed = _packed(address)
    body = _ROUTE.pack(
        _family(packed), 8 * len(packed), 0, 0, _table8(table), RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0
    )
    body += dump_attribute(RTA_TABLE, _U32.pack(table)) + dump_attribute(RTA_DST, packed)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body + dump_attribute(RTA_OIF, _U32.pack(index)))


def new_local_route(index: int, address: str) -> Message:
    """Returns ``local 2001:db8::17 dev <link>``, by which packets to the address are the pod's own.

    The kernel makes it of an IPv6 address only when a worker of its own comes by (addrconf_dad_work()): what arrives in
    the milliseconds before would be lost.
    """
    packed = _packed(address)
    body = _ROUTE.pack(
        _family(packed), 8 * len(packed), 0, 0, RT_TABLE_LOCAL, RTPROT_KERNEL, RT_SCOPE_UNIVERSE, RTN_LOCAL, 0
    )
    body += dump_attribute(RTA_DST, packed) + dump_attribute(RTA_OIF, _U32.pack(index))
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body)


def new_default_route(index: int, gateway: str, table: int = RT_TABLE_MAIN) -> Message:
    """Returns ``default via <gateway> dev <link> table <table>``, for a table below 256."""
    packed = _packed(gateway)
    body = _ROUTE.pack(_family(packed), 0, 0, 0, table, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    body += dump_attribute(RTA_GATEWAY, packed) + dump_attribute(RTA_OIF, _U32.pack(index))
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body)


def new_source_rule(address: str, table: int, priority: int) -> Message:
    """Returns ``from <address> lookup <table> priority <priority>``."""
    return Message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _source_rule(address, table, priority))


def delete_source_rule(address: str, table: int, priority: int) -> Message:
    """Returns the removal of such a rule; ENOENT when there is none."""
    return Message(RTM_DELRULE, 0, _source_rule(address, table, priority))


def new_neighbour(index: int, address: str, mac: str) -> Message:
    """Returns a permanent neighbour entry: no ARP and no neighbour discovery is ever needed for the address."""
    packed = _packed(address)
    body = _NEIGHBOUR.pack(_family(packed), 0, index, NUD_PERMANENT, 0, 0)
    body += dump_attribute(NDA_DST, packed) + _mac(NDA_LLADDR, mac)
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def get_addresses(family: int = socket.AF_INET) -> Message:
    """Returns the question for all addresses of a family, to be dumped."""
    return Message(RTM_GETADDR, 0, _ADDRESS.pack(family, 0, 0, 0, 0))


def get_routes(family: int = socket.AF_INET) -> Message:
    """Returns the question for all routes of a family in all tables, to be dumped."""
    return Message(RTM_GETROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def get_rules(family: int = socket.AF_INET) -> Message:
    """Returns the question for all policy rules of a family, to be dumped."""
    return Message(RTM_GETRULE, 0, _RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def get_neighbours(family: int = socket.AF_INET) -> Message:
    """Returns the question for all neighbours of a family, to be dumped."""
    return Message(RTM_GETNEIGH, 0, _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0))


def parse_link(body: bytes) -> Link:
    """Returns the link in an RTM_NEWLINK message."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    attributes = parse_attributes(body[_LINK.size :])
    return Link(
        ifindex=index,
        peer_ifindex=_number(attributes.get(IFLA_LINK)),
        name=attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=attributes.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(attributes.get(IFLA_MTU)),
        group=_number(attributes.get(IFLA_GROUP)),
        is_up=bool(flags & IFF_UP),
    )


def parse_address(body: bytes) -> tuple[int, str]:
    """Returns link index and ``10.0.1.23/32`` in an RTM_NEWADDR message."""
    family, length, _, _, index = _ADDRESS.unpack_from(body)
    attributes = parse_attributes(body[_ADDRESS.size :])
    # An IPv6 address without a peer comes as IFA_ADDRESS alone, an IPv4 one as both.
    return index, f"{_address(family, attributes.get(IFA_LOCAL, attributes.get(IFA_ADDRESS)))}/{length}"


def parse_route(body: bytes) -> tuple[int, str, str, int]:
    """Returns table, destination, gateway (``""`` where there is none) and link index in an RTM_NEWROUTE message."""
    family, length, _, _, table, *_ = _ROUTE.unpack_from(body)
    attributes = parse_attributes(body[_ROUTE.size :])
    gateway = _address(family, attributes[RTA_GATEWAY]) if RTA_GATEWAY in attributes else ""
    table = _number(attributes.get(RTA_TABLE)) or table
    return table, f"{_address(family, attributes.get(RTA_DST))}/{length}", gateway, _number(attributes.get(RTA_OIF))


def parse_rule(body: bytes) -> tuple[int, str, int]:
    """Returns priority, source (``0.0.0.0/0`` where there is none) and table in an RTM_NEWRULE message."""
    family, _, length, _, table, *_ = _RULE.unpack_from(body)
    attributes = parse_attributes(body[_RULE.size :])
    table = _number(attributes.get(FRA_TABLE)) or table
    return _number(attributes.get(FRA_PRIORITY)), f"{_address(family, attributes.get(FRA_SRC))}/{length}", table


def parse_neighbour(body: bytes) -> tuple[int, str, str, bool]:
    """Returns link index, address, MAC and whether it is permanent in an RTM_NEWNEIGH message."""
    family, _, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    attributes = parse_attributes(body[_NEIGHBOUR.size :])
    mac = attributes.get(NDA_LLADDR, b"").hex(":")
    return index, _address(family, attributes.get(NDA_DST)), mac, bool(state & NUD_PERMANENT)


def _name(name: str) -> bytes:
    return dump_attribute(IFLA_IFNAME, name.encode() + b"\0")


def _mac(kind: int, mac: str) -> bytes:
    return dump_attribute(kind, bytes.fromhex(mac.replace(":", "")))


def _number(payload: bytes | None) -> int:
    return int(_U32.unpack(payload)[0]) if payload else 0


def _source_rule(address: str, table: int, priority: int) -> bytes:
    packed = _packed(address)
    body = _RULE.pack(_family(packed), 0, 8 * len(packed), 0, _table8(table), 0, 0, FR_ACT_TO_TBL, 0)
    body += dump_attribute(FRA_SRC, packed) + dump_attribute(FRA_PRIORITY, _U32.pack(priority))
    return body + dump_attribute(FRA_TABLE, _U32.pack(table))


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _family(packed: bytes) -> int:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6


def _table8(table: int) -> int:
    return table if table < 256 else 0  # the header has a byte for it; the attribute has the whole number


def _address(family: int, payload: bytes | None) -> str:
    # An absent destination means any.
    return socket.inet_ntop(family, payload or bytes(4 if family == socket.AF_INET else 16))
