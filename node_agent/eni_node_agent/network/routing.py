"""Reads routes and policy rules of both families, and encodes changes of them. What is wanted is ``desired``'s.

Rules match in order of priority, each costs a packet some 12 ns: https://man7.org/linux/man-pages/man8/ip-rule.8.html.
"""

import struct
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from eni_cni_shim.plugin.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Socket,
    dump_attribute,
    parse_attributes,
)
from eni_crds.nodeippool import Family
from eni_node_agent.network import rtnetlink
from eni_node_agent.network.desired import POD_TABLE, Route, Rule
from eni_node_agent.network.drift import OUR_PROTOCOL

_RTMSG: Final = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, destination length, source length, tos, table, protocol, scope, type, flags; fib_rule_hdr is as long:
family, destination length, source length, tos, table, two reserved, action, flags."""
_NUMBERS: Final[Mapping[Family, int]] = {Family.IPV4: rtnetlink.AF_INET, Family.IPV6: rtnetlink.AF_INET6}
_FAMILIES: Final[Mapping[int, Family]] = {number: family for family, number in _NUMBERS.items()}
_BYTES: Final[Mapping[Family, int]] = {Family.IPV4: 4, Family.IPV6: 16}
_ANY: Final = _RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)
_PROTOCOL_OFFSET: Final = 5
_UNICAST: Final = 1
_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_TO_TABLE: Final = 1
_FRA_DST, _FRA_SRC, _FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN = 1, 2, 6, 10, 14
_FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 15, 16, 21
_SELECTORS_WE_USE: Final = frozenset(
    {
        _FRA_DST,
        _FRA_SRC,
        _FRA_PRIORITY,
        _FRA_FWMARK,
        _FRA_SUPPRESS_PREFIXLEN,
        _FRA_TABLE,
        _FRA_FWMASK,
        _FRA_PROTOCOL,
    }
)
_SUPPRESS_NOTHING: Final = 0xFFFFFFFF


def read_routes(socket: Socket, ifnames: Mapping[int, str]) -> frozenset[Route]:
    """Returns our routes over the links named by index, and everybody's in ``POD_TABLE``: the plugin wrote those."""
    routes = ((body, parse_route(body, ifnames)) for body in _dump_routes(socket))
    return frozenset(route for body, route in routes if route is not None and _matters(body, route))


def _matters(body: bytes, route: Route) -> bool:
    return body[_PROTOCOL_OFFSET] == OUR_PROTOCOL or route.table == POD_TABLE


def parse_route(body: bytes, ifnames: Mapping[int, str]) -> Route | None:
    """Returns the route a RTM_NEWROUTE message describes; None when it leaves by none of the links."""
    family, length, *_ = _RTMSG.unpack_from(body)
    parts = parse_attributes(body[_RTMSG.size :])
    ifname = ifnames.get(rtnetlink.number(parts.get(_RTA_OIF)))
    if ifname is None or family not in _FAMILIES:
        return None
    destination = f"{ip_address(parts.get(_RTA_DST, bytes(_BYTES[_FAMILIES[family]])))}/{length}"
    gateway = parts.get(_RTA_GATEWAY)
    table = rtnetlink.number(parts[_RTA_TABLE])
    return Route(table, destination, ifname, None if gateway is None else str(ip_address(gateway)))


def read_pod_routes(socket: Socket, ifnames: Mapping[int, str]) -> dict[str, str]:
    """Returns the name of the host's link by pod address, as the CNI plugin wrote them into ``POD_TABLE``."""
    routes = (parse_route(body, ifnames) for body in _dump_routes(socket))
    pods = (route for route in routes if route is not None and route.table == POD_TABLE)
    return {route.destination.rpartition("/")[0]: route.ifname for route in pods}


def ensure_route(route: Route, index: int) -> Message:
    """Returns the change that adds the route, in place of another's to the same destination."""
    return Message(rtnetlink.RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route_body(route, index))


def remove_route(route: Route, index: int) -> Message:
    """Returns the change that removes the route if it is ours."""
    return Message(rtnetlink.RTM_DELROUTE, 0, _route_body(route, index))


def read_rules(socket: Socket) -> dict[Rule, bool]:
    """Returns the rules of the shapes we use; True for ours. Rules with other selectors are left out."""
    found: dict[Rule, bool] = {}
    for body in rtnetlink.dump(socket, rtnetlink.RTM_GETRULE, _ANY):
        rule = parse_rule(body)
        if rule is not None:
            found[rule] = found.get(rule, False) or _is_ours(body)
    return found


def parse_rule(body: bytes) -> Rule | None:
    """Returns the rule a RTM_NEWRULE message describes; None when it is of no shape of ours."""
    family, destination, source, tos, _table, _, _, action, flags = _RTMSG.unpack_from(body)
    parts = parse_attributes(body[_RTMSG.size :])
    mark, mask = rtnetlink.number(parts.get(_FRA_FWMARK)), rtnetlink.number(parts.get(_FRA_FWMASK))
    suppressed = rtnetlink.number(parts.get(_FRA_SUPPRESS_PREFIXLEN, b"\xff\xff\xff\xff"))
    is_plain = (tos, flags, action, suppressed) == (0, 0, _TO_TABLE, _SUPPRESS_NOTHING)
    if not is_plain or mark != mask or parts.keys() - _SELECTORS_WE_USE or family not in _FAMILIES:
        return None
    return Rule(
        priority=rtnetlink.number(parts.get(_FRA_PRIORITY)),
        table=rtnetlink.number(parts[_FRA_TABLE]),
        source=f"{ip_address(parts[_FRA_SRC])}/{source}" if source else None,
        mark=mark or None,
        destination=f"{ip_address(parts[_FRA_DST])}/{destination}" if destination else None,
        family=_FAMILIES[family],
    )


def add_rule(rule: Rule) -> Message:
    """Returns the change that adds the rule."""
    return Message(rtnetlink.RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _rule_body(rule))


def remove_rule(rule: Rule) -> Message:
    """Returns the change that removes the rule if it is ours."""
    return Message(rtnetlink.RTM_DELRULE, 0, _rule_body(rule))


def _dump_routes(socket: Socket) -> list[bytes]:
    return rtnetlink.dump(socket, rtnetlink.RTM_GETROUTE, _ANY)


def _is_ours(body: bytes) -> bool:
    return rtnetlink.number(parse_attributes(body[_RTMSG.size :]).get(_FRA_PROTOCOL)) == OUR_PROTOCOL


def _route_body(route: Route, index: int) -> bytes:
    destination = ip_network(route.destination)
    scope = _SCOPE_LINK if route.gateway is None and route.family is Family.IPV4 else _SCOPE_GLOBAL
    header = _RTMSG.pack(_NUMBERS[route.family], destination.prefixlen, 0, 0, 0, OUR_PROTOCOL, scope, _UNICAST, 0)
    parts = [
        dump_attribute(_RTA_TABLE, rtnetlink.word(route.table)),
        dump_attribute(_RTA_DST, destination.network_address.packed),
        dump_attribute(_RTA_OIF, rtnetlink.word(index)),
    ]
    if route.gateway is not None:
        parts.append(dump_attribute(_RTA_GATEWAY, ip_address(route.gateway).packed))
    return header + b"".join(parts)


def _rule_body(rule: Rule) -> bytes:
    selectors = {_FRA_DST: rule.destination, _FRA_SRC: rule.source}
    networks = {kind: ip_network(cidr) for kind, cidr in selectors.items() if cidr}
    lengths = (networks[kind].prefixlen if kind in networks else 0 for kind in selectors)
    header = _RTMSG.pack(_NUMBERS[rule.family], *lengths, 0, 0, 0, 0, _TO_TABLE, 0)
    return header + b"".join(
        _rule_attributes(rule, {kind: each.network_address.packed for kind, each in networks.items()})
    )


def _rule_attributes(rule: Rule, addresses: Mapping[int, bytes]) -> Iterator[bytes]:
    yield dump_attribute(_FRA_PRIORITY, rtnetlink.word(rule.priority))
    yield dump_attribute(_FRA_TABLE, rtnetlink.word(rule.table))
    yield dump_attribute(_FRA_PROTOCOL, bytes([OUR_PROTOCOL]))
    for kind, address in addresses.items():
        yield dump_attribute(kind, address)
    if rule.mark is not None:
        for kind in (_FRA_FWMARK, _FRA_FWMASK):
            yield dump_attribute(kind, rtnetlink.word(rule.mark))
