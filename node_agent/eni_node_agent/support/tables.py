"""The host's links, addresses, routes and rules as text: both families, whoever made them, much as ``ip`` lists them.

For a person to read in a support bundle: the image has no ``ip``. Decides nothing.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from eni_cni_shim.plugin.netlink import Socket, parse_attributes
from eni_node_agent.network import links, rtnetlink
from eni_node_agent.network.drift import Link

_HEADER: Final = struct.Struct("=BBBBBBBBI")
"""rtmsg, and fib_rule_hdr, which is as long."""
_IFADDR: Final = struct.Struct("=BBBBI")
_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_FWMASK = 1, 2, 3, 6, 10, 15, 16
_FRA_PROTOCOL: Final = 21
_ROUTE_KINDS: Final = {1: "", 2: "local ", 3: "broadcast ", 6: "blackhole ", 7: "unreachable ", 8: "prohibit "}


def text() -> str:
    """Returns the tables of the calling thread's network namespace; raises OSError."""
    with Socket() as kernel:
        found = links.read_links(kernel)
        names = {link.index: link.ifname for link in found.values()}
        parts = ["# links", *(_link(link) for link in found.values())]
        for family, number in _FAMILIES.items():
            parts += [
                "",
                f"# {family} addresses",
                *_dump(kernel, rtnetlink.RTM_GETADDR, _IFADDR, number, names, _address),
            ]
            parts += ["", f"# {family} rules", *_dump(kernel, rtnetlink.RTM_GETRULE, _HEADER, number, names, _rule)]
            parts += ["", f"# {family} routes", *_dump(kernel, rtnetlink.RTM_GETROUTE, _HEADER, number, names, _route)]
    return "\n".join(parts) + "\n"


_Line = Callable[[bytes, Mapping[int, str]], str]


def _dump(
    kernel: Socket, kind: int, header: struct.Struct, family: int, names: Mapping[int, str], line: _Line
) -> Iterator[str]:
    question = header.pack(family, *(0 for _ in header.unpack(bytes(header.size))[1:]))
    yield from sorted(line(body, names) for body in rtnetlink.dump(kernel, kind, question))


def _link(link: Link) -> str:
    state = "up" if link.is_up else "down"
    return f"{link.index}: {link.ifname} {link.mac or 'no MAC'} mtu {link.mtu} {state} {link.kind or 'hardware'}"


def _address(body: bytes, names: Mapping[int, str]) -> str:
    family, length, _flags, scope, index = _IFADDR.unpack_from(body)
    parts = parse_attributes(body[_IFADDR.size :])
    value = _ip(family, parts.get(2) or parts.get(1))  # IFA_LOCAL, IFA_ADDRESS
    return f"{names.get(index, index)} {value}/{length} scope {scope}"


def _route(body: bytes, names: Mapping[int, str]) -> str:
    family, length, _, _, table, protocol, scope, kind, _ = _HEADER.unpack_from(body)
    parts = parse_attributes(body[_HEADER.size :])
    number = rtnetlink.number(parts.get(_RTA_TABLE)) or table
    words = [f"table {number}: {_ROUTE_KINDS.get(kind, f'type {kind} ')}{_ip(family, parts.get(_RTA_DST))}/{length}"]
    if _RTA_GATEWAY in parts:
        words.append(f"via {_ip(family, parts[_RTA_GATEWAY])}")
    if _RTA_OIF in parts:
        index = rtnetlink.number(parts[_RTA_OIF])
        words.append(f"dev {names.get(index, index)}")
    if _RTA_PREFSRC in parts:
        words.append(f"src {_ip(family, parts[_RTA_PREFSRC])}")
    if _RTA_PRIORITY in parts:
        words.append(f"metric {rtnetlink.number(parts[_RTA_PRIORITY])}")
    return " ".join([*words, f"proto {protocol} scope {scope}"])


def _rule(body: bytes, _: Mapping[int, str]) -> str:
    family, to_length, from_length, _, table, _, _, action, flags = _HEADER.unpack_from(body)
    parts = parse_attributes(body[_HEADER.size :])
    words = [f"{rtnetlink.number(parts.get(_FRA_PRIORITY)):5}:"]
    words.append(f"from {_ip(family, parts[_FRA_SRC])}/{from_length}" if _FRA_SRC in parts else "from all")
    if _FRA_DST in parts:
        words.append(f"to {_ip(family, parts[_FRA_DST])}/{to_length}")
    if _FRA_FWMARK in parts:
        mark, mask = rtnetlink.number(parts[_FRA_FWMARK]), rtnetlink.number(parts.get(_FRA_FWMASK))
        words.append(f"fwmark {mark:#x}/{mask:#x}")
    if _FRA_IIFNAME in parts:
        words.append(f"iif {rtnetlink.text(parts[_FRA_IIFNAME])}")
    number = rtnetlink.number(parts.get(_FRA_TABLE)) or table
    words.append(f"lookup {number}" if action == 1 else f"action {action}")
    inverted = " not" if flags & 2 else ""  # FIB_RULE_INVERT
    return f"{' '.join(words)} proto {rtnetlink.number(parts.get(_FRA_PROTOCOL))}{inverted}"


def _ip(family: int, packed: bytes | None) -> str:
    if packed is None:
        return "0.0.0.0" if family == socket.AF_INET else "::"  # noqa: S104  an absent destination means any
    return socket.inet_ntop(family, packed)
