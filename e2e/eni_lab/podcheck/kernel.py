"""Reads links, addresses, routes, rules and neighbours of one network namespace with ip(8), both families at once.

Numbers are left as ip prints them with ``-N``; nothing is judged here.
"""

import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[list[str]], str]
"""Runs a command in the namespace; what it printed."""
Entry = dict[str, Any]
"""One object of ip's JSON."""
MAIN_TABLE = 254
LOCAL_TABLE = 255
UNICAST = "1"
"""RTN_UNICAST: the type of a route that leads to a neighbour, which ip leaves away."""

_QUESTIONS = (
    "address",
    "-4 route show table all",
    "-6 route show table all",
    "-4 rule",
    "-6 rule",
    "neighbour",
)
_DIVIDER = "--"


@dataclass(frozen=True)
class Route:
    """A route to a neighbour or to a link."""

    table: int
    destination: str
    """As a CIDR, ``10.0.1.50/32`` or ``0.0.0.0/0``."""
    link: str
    gateway: str = ""


@dataclass(frozen=True)
class Rule:
    """A policy rule; without source and mark it is for every packet."""

    priority: int
    table: int
    family: int
    """4 or 6."""
    source: str = ""
    """As a CIDR, empty for all."""
    destination: str = ""
    mark: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """An entry that stays until somebody removes it."""

    address: str
    link: str
    mac: str


@dataclass(frozen=True)
class Link:
    """A link, with its addresses of global scope as ``10.0.1.50/32``."""

    name: str
    index: int
    peer_index: int
    """Of the other end of a veth, in the other end's namespace; 0 for what has no other end."""
    mac: str
    mtu: int
    is_up: bool
    """Set up, and with a carrier."""
    addresses: tuple[str, ...]
    tentative: tuple[str, ...]
    """IPv6 addresses that cannot be used yet, or never because somebody else has them."""
    namespace_id: int | None
    """Of the other end, where it is in another namespace."""


@dataclass(frozen=True)
class Kernel:
    """What one namespace holds."""

    links: dict[str, Link] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    neighbours: list[Neighbour] = field(default_factory=list)


def read(run: Run) -> Kernel:
    """What is in the namespace that ``run`` runs commands in, asked in one go."""
    script = f"; echo {_DIVIDER}; ".join(f"ip -j -N {question}" for question in _QUESTIONS)
    texts = run(["sh", "-c", script]).split(_DIVIDER)
    links, routes4, routes6, rules4, rules6, neighbours = (json.loads(text or "[]") for text in map(str.strip, texts))
    return Kernel(
        links={entry["ifname"]: _link(entry) for entry in links if entry},
        routes=[
            _route(entry, default)
            for entries, default in ((routes4, "0.0.0.0/0"), (routes6, "::/0"))
            for entry in entries
            if entry.get("type", UNICAST) == UNICAST
        ],
        rules=[_rule(entry, family) for entries, family in ((rules4, 4), (rules6, 6)) for entry in entries],
        neighbours=[
            Neighbour(entry["dst"], entry["dev"], entry.get("lladdr", ""))
            for entry in neighbours
            if "PERMANENT" in entry["state"]
        ],
    )


def network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The CIDR as a value."""
    return ipaddress.ip_network(cidr)


def host_cidr(address: str) -> str:
    """``10.0.1.50/32`` for an address alone."""
    return str(ipaddress.ip_network(address))


def _link(entry: Entry) -> Link:
    usable = [one for one in entry["addr_info"] if one["scope"] in ("global", "0")]
    return Link(
        name=entry["ifname"],
        index=entry["ifindex"],
        peer_index=entry.get("link_index", 0),
        mac=entry["address"],
        mtu=entry["mtu"],
        is_up={"UP", "LOWER_UP"} <= set(entry["flags"]),
        addresses=tuple(f"{one['local']}/{one['prefixlen']}" for one in usable),
        tentative=tuple(one["local"] for one in entry["addr_info"] if one.get("tentative") or one.get("dadfailed")),
        namespace_id=entry.get("link_netnsid"),
    )


def _route(entry: Entry, default: str) -> Route:
    destination = default if entry["dst"] == "default" else host_cidr(entry["dst"])
    return Route(int(entry.get("table", MAIN_TABLE)), destination, entry.get("dev", ""), entry.get("gateway", ""))


def _rule(entry: Entry, family: int) -> Rule:
    return Rule(
        priority=entry["priority"],
        table=int(entry["table"]),
        family=family,
        source=_selector(entry, "src", "srclen"),
        destination=_selector(entry, "dst", "dstlen"),
        mark=int(entry["fwmark"], 16) if "fwmark" in entry else None,
    )


def _selector(entry: Entry, key: str, length: str) -> str:
    value = entry.get(key, "all")
    if value == "all":
        return ""
    return str(ipaddress.ip_network(f"{value}/{entry[length]}" if length in entry else value))
