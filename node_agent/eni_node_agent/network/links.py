"""Reads the host's links and their IPv4 addresses, and encodes changes of them. What is wanted is ``desired``'s.

IPv4 settings of a device go over netlink too (IFLA_INET_CONF), for a container may not be able to write them as files.
"""

import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from eni_cni_shim.plugin.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Socket,
    dump_attribute,
    parse_attributes,
)
from eni_node_agent.network import rtnetlink
from eni_node_agent.network.desired import Address
from eni_node_agent.network.drift import OUR_PROTOCOL, AddressFacts, Link

_IFINFO: Final = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, mask of changed flags
_IFADDR: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_IFF_UP: Final = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_EXT_MASK = 1, 3, 4, 18, 29
_IFLA_INFO_KIND: Final = 1
_IFLA_AF_SPEC, _IFLA_INET_CONF = 26, 1
_RP_FILTER: Final = 8  # IPV4_DEVCONF_RP_FILTER in linux/ip.h, counted from 1; what is read is an array
_NESTED: Final = 0x8000  # NLA_F_NESTED
_RTEXT_FILTER_SKIP_STATS: Final = 8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_PROTO = 1, 2, 8, 11
_IFA_F_NOPREFIXROUTE: Final = 0x200
_SCOPE_GLOBAL: Final = 0
_STACKED: Final = frozenset({"bond", "bridge", "ipvlan", "macvlan", "macvtap", "team", "vlan"})


def read_links(socket: Socket) -> dict[str, Link]:
    """Returns the links by name."""
    skip_statistics = dump_attribute(_IFLA_EXT_MASK, rtnetlink.word(_RTEXT_FILTER_SKIP_STATS))
    bodies = rtnetlink.dump(socket, rtnetlink.RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + skip_statistics)
    return {link.ifname: link for link in map(parse_link, bodies)}


def parse_link(body: bytes) -> Link:
    """Returns the link a RTM_NEWLINK message describes."""
    _family, _type, index, flags, _change = _IFINFO.unpack_from(body)
    found = parse_attributes(body[_IFINFO.size :])
    kind = parse_attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND)
    return Link(
        index=index,
        ifname=rtnetlink.text(found.get(_IFLA_IFNAME)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=rtnetlink.number(found.get(_IFLA_MTU)),
        is_up=bool(flags & _IFF_UP),
        kind=rtnetlink.text(kind),
        rp_filter=_rp_filter(found.get(_IFLA_AF_SPEC, b"")),
    )


def ifnames_by_mac(links: Iterable[Link]) -> dict[str, str]:
    """Returns names of links by MAC. VLANs, bridges and the like borrow the MAC of what they sit on: not counted."""
    return {link.mac: link.ifname for link in links if link.mac and not is_stacked(link.kind)}


def is_stacked(kind: str) -> bool:
    """Tells whether links of a kind sit on others and may have their MAC."""
    return kind in _STACKED


def bring_up(index: int, mtu: int) -> Message:
    """Returns the change that sets the MTU and brings the link up."""
    body = _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP) + dump_attribute(_IFLA_MTU, rtnetlink.word(mtu))
    return Message(rtnetlink.RTM_SETLINK, 0, body)


def set_rp_filter(index: int, mode: int) -> Message:
    """Returns the change that sets how strictly the link checks IPv4 sources."""
    settings = dump_attribute(_IFLA_INET_CONF | _NESTED, dump_attribute(_RP_FILTER, rtnetlink.word(mode)))
    ipv4 = dump_attribute(rtnetlink.AF_INET | _NESTED, settings)
    body = _IFINFO.pack(0, 0, index, 0, 0) + dump_attribute(_IFLA_AF_SPEC | _NESTED, ipv4)
    return Message(rtnetlink.RTM_SETLINK, 0, body)


def read_addresses(socket: Socket, ifnames: Mapping[int, str]) -> dict[Address, AddressFacts]:
    """Returns the IPv4 addresses on the links named by index."""
    found = {}
    for body in rtnetlink.dump(socket, rtnetlink.RTM_GETADDR, _IFADDR.pack(rtnetlink.AF_INET, 0, 0, 0, 0)):
        _family, length, _flags, scope, index = _IFADDR.unpack_from(body)
        parts = parse_attributes(body[_IFADDR.size :])
        if index in ifnames:
            interface = f"{IPv4Address(parts[_IFA_LOCAL])}/{length}"
            found[Address(ifnames[index], interface)] = AddressFacts(
                is_ours=rtnetlink.number(parts.get(_IFA_PROTO)) == OUR_PROTOCOL,
                has_connected_route=not rtnetlink.number(parts.get(_IFA_FLAGS)) & _IFA_F_NOPREFIXROUTE,
                is_global=scope == _SCOPE_GLOBAL,
            )
    return found


def add_address(index: int, interface: str) -> Message:
    """Returns the change that adds ``10.0.1.5/24`` without its connected route."""
    flags = dump_attribute(_IFA_FLAGS, rtnetlink.word(_IFA_F_NOPREFIXROUTE))
    origin = dump_attribute(_IFA_PROTO, bytes([OUR_PROTOCOL]))
    body = _address_body(index, interface) + flags + origin
    return Message(rtnetlink.RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def remove_address(index: int, interface: str) -> Message:
    """Returns the change that removes an address and the routes the kernel derived from it."""
    return Message(rtnetlink.RTM_DELADDR, 0, _address_body(index, interface))


def _address_body(index: int, interface: str) -> bytes:
    parsed = IPv4Interface(interface)
    header = _IFADDR.pack(rtnetlink.AF_INET, parsed.network.prefixlen, 0, _SCOPE_GLOBAL, index)
    local = dump_attribute(_IFA_LOCAL, parsed.ip.packed)
    return header + local + dump_attribute(_IFA_ADDRESS, parsed.ip.packed)


def _rp_filter(specifics: bytes) -> int:
    settings = parse_attributes(parse_attributes(specifics).get(rtnetlink.AF_INET, b"")).get(_IFLA_INET_CONF, b"")
    return rtnetlink.number(settings[4 * (_RP_FILTER - 1) : 4 * _RP_FILTER])
