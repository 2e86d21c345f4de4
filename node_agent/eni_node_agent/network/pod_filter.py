"""Has the kernel keep to itself what it would announce of pods' links, routes and settings: a socket filter.

Pods come and go by the dozen, each with eight announcements, and each of these would wake the event loop in the midst
of an ADD, on the processor that the ADD works on. Decides what is of a pod by its bytes; what is announced at all is
``events``'s choice of groups. Sources: bpf(4) of BSD for the machine, Documentation/networking/filter.rst for Linux's
extension that finds an attribute, netlink(7), rtnetlink(7).
"""

import ctypes
import socket
import struct
import sys
from typing import Final, NamedTuple

from eni_node_agent.network import rtnetlink
from eni_node_agent.network.desired import LOCAL_TABLE, MAIN_TABLE, POD_TABLE

_SO_ATTACH_FILTER: Final = 26
_KEEP_ALL: Final = 0xFFFFFFFF
_FIND_ATTRIBUTE: Final = 0xFFFFF00C  # SKF_AD_OFF + SKF_AD_NLATTR: offset of an attribute of type X from offset A on

# nlmsghdr has 16 bytes, its type at 4; then ifinfomsg with 16 or rtmsg with 12, each with the family first.
_TYPE, _FAMILY, _OF_LINK, _OF_ROUTE = 4, 16, 32, 28
_IFLA_IFNAME, _RTA_TABLE, _ATTRIBUTE_HEADER = 3, 15, 4
_LONGEST_OF_ONE_CHANGE: Final = 36
"""Bytes of an announcement that one setting changed: headers (20), whose and what. A new link names all settings."""


class _Step(NamedTuple):
    """One instruction, struct sock_filter."""

    code: int
    k: int = 0
    when: int = 0
    """How many steps to jump over when a condition holds, or does not."""
    otherwise: int = 0


_DROP: Final = _Step(0x06, 0)
_KEEP: Final = _Step(0x06, _KEEP_ALL)
_LOAD_TYPE: Final = _Step(0x28, _TYPE)
_LOAD_FAMILY: Final = _Step(0x30, _FAMILY)
_LOAD_LENGTH: Final = _Step(0x80)


def attach(listener: socket.socket, veth_prefix: str) -> None:
    """Lets a routing socket hear of the host's network only.

    Args:
        listener: of NETLINK_ROUTE, bound or not; any socket whose datagrams look like its announcements.
        veth_prefix: what the names of pods' links begin with, 1 to 4 bytes.
    """
    steps = b"".join(
        struct.pack("=HBBI", step.code, step.when, step.otherwise, step.k) for step in _program(veth_prefix)
    )
    code = ctypes.create_string_buffer(steps, len(steps))
    count = len(steps) // 8
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(code)))


def _program(veth_prefix: str) -> list[_Step]:
    link, of_others = _of_link(veth_prefix.encode()), [*_drop_if(_word(MAIN_TABLE)), *_drop_if(_word(LOCAL_TABLE))]
    return [
        *_case(rtnetlink.RTM_NEWLINK, link),
        *_case(rtnetlink.RTM_DELLINK, link),
        *_case(rtnetlink.RTM_NEWROUTE, [*_load_table(), *of_others, *_drop_if(_word(POD_TABLE)), _KEEP]),
        *_case(rtnetlink.RTM_DELROUTE, [*_load_table(), *of_others, *_of_deleted_pod_route()]),
        *_case(rtnetlink.RTM_NEWNETCONF, [_LOAD_LENGTH, _Step(0x25, _LONGEST_OF_ONE_CHANGE, 0, 1), _DROP, _KEEP]),
        *_case(rtnetlink.RTM_DELNETCONF, [_DROP]),
        _KEEP,
    ]


def _of_link(prefix: bytes) -> list[_Step]:
    mask = _big(b"\xff" * len(prefix))
    return [*_load_attribute(_OF_LINK, _IFLA_IFNAME), _Step(0x54, mask), *_drop_if(_big(prefix)), _KEEP]


def _of_deleted_pod_route() -> list[_Step]:
    """With its link a pod's IPv4 route goes without a word: one that is announced was deleted by somebody."""
    other = _Step(0x15, _word(POD_TABLE), 1, 0)
    return [other, _KEEP, _LOAD_FAMILY, *_drop_if(rtnetlink.AF_INET6), _KEEP]


def _load_table() -> list[_Step]:
    return _load_attribute(_OF_ROUTE, _RTA_TABLE)


def _case(kind: int, steps: list[_Step]) -> list[_Step]:
    """What is done with announcements of one type; the others go on behind it."""
    return [_LOAD_TYPE, _Step(0x15, _big(kind.to_bytes(2, sys.byteorder), 2), 0, len(steps)), *steps]


def _load_attribute(start: int, kind: int) -> list[_Step]:
    """The first four bytes of an attribute; an announcement without it is kept."""
    found = [_Step(0x07), _Step(0x40, _ATTRIBUTE_HEADER)]
    return [_Step(0x00, start), _Step(0x01, kind), _Step(0x20, _FIND_ATTRIBUTE), _Step(0x15, 0, 0, 1), _KEEP, *found]


def _drop_if(value: int) -> list[_Step]:
    return [_Step(0x15, value, 0, 1), _DROP]


def _word(value: int) -> int:
    return _big(rtnetlink.word(value))


def _big(data: bytes, size: int = 4) -> int:
    """The machine loads in network order, whatever the host's is."""
    return int.from_bytes(data.ljust(size, b"\0"), "big")
