"""What a pod's links need of the kernel: names, MACs, messages for both ends, and how the kernel compares.

For the pod 10.0.1.23, 2001:db8::17 with interface eth0 and host end eni0a1b2c3d4e5, in a pool of both families:

    pod    eth0 (ea:58:0a:00:01:17)  10.0.1.23/32, 2001:db8::17/128
           169.254.1.1 dev eth0 scope link; default via 169.254.1.1; default via fe80::1 dev eth0
           169.254.1.1 and fe80::1 lladdr ee:58:0a:00:01:17 permanent
    host   eni0a1b2c3d4e5 (ee:58:0a:00:01:17), no address
           10.0.1.23 and 2001:db8::17 dev eni0a1b2c3d4e5 scope link, in the table of pod routes
           10.0.1.23 and 2001:db8::17 lladdr ea:58:0a:00:01:17 permanent

A second link, mNicIf1 with 10.0.9.5, has the next hop 169.254.1.2 in the pod's table 1 and the rule ``1: from 10.0.9.5
lookup 1``. The next hops are on no interface: the permanent entries answer for ARP and neighbour discovery. Decides
messages only; ``pod_network`` sends them, how packets go on from the host is the agent's ``network``.
"""

import functools
import hashlib
import socket
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from eni_cni_shim import spec
from eni_cni_shim.plugin import messages
from eni_cni_shim.plugin.addresspool import Assignment, PodLink
from eni_cni_shim.plugin.netlink import Message, Socket

RULE_PRIORITY: Final = 1
"""Of a rule inside the pod, as in VPC CNI: right after the kernel's own for local addresses."""


MOST_PLACES: Final = 200
"""Next hops and tables of a pod's own that we count through; the kernel's own tables begin at 253."""
_EVERYWHERE: Final = frozenset({"0.0.0.0/0", "::/0"})
_HOPS: Final = frozenset(f"{spec.gateway(number, ipv6=False)}/32" for number in range(MOST_PLACES))


class Made(NamedTuple):
    """A link of a pod whose veth is there."""

    number: int
    """Place among the pod's links; 0 has the default routes of the main table."""
    link: PodLink
    veth: messages.Link
    """The host's end."""


def place(routes: Collection[tuple[int, str, str, int]], ifindex: int | None) -> int:
    """Returns the number of a sandbox's first link in its pod.

    0, unless the pod has a way to everywhere already: another sandbox of ours is in it, or another network's link, as
    a meta-plugin makes them. Then it is the first number whose table is free, and the link serves what is sent from
    its addresses, as a further card's link does.

    Args:
        routes: of the pod, in all tables, as ``messages.parse_route`` returns them.
        ifindex: of the sandbox's interface where it is there already; it keeps its number. None: it is not.
    """
    found = ways(routes)
    for oif, table in found:
        if oif == ifindex:
            return 0 if table == messages.RT_TABLE_MAIN else table
    if messages.RT_TABLE_MAIN not in (table for _, table in found):
        return 0
    taken = {table for table, *_ in routes}
    return next((number for number in range(1, MOST_PLACES) if number not in taken), MOST_PLACES)


def ways(routes: Collection[tuple[int, str, str, int]]) -> list[tuple[int, int]]:
    """Returns link index and table of a pod's ways to everywhere, and of next hops like ours."""
    return [(oif, table) for table, destination, _, oif in routes if destination in _EVERYWHERE or destination in _HOPS]


def routes_of(where: Socket, links: Collection[PodLink]) -> list[tuple[int, str, str, int]]:
    """Returns a namespace's routes of the families that the links have."""
    families = (socket.AF_INET, socket.AF_INET6) if any(map(has_ipv6, links)) else (socket.AF_INET,)
    dumps = (where.dump(messages.get_routes(family)) for family in families)
    return [messages.parse_route(answer.body) for answers in dumps for answer in answers]


@functools.lru_cache(maxsize=1024)
def ends(link: PodLink) -> spec.Ends:
    """Returns both ends. Their MACs are unicast and locally administered (IEEE 802), of no range AWS gives.

    They follow from the address the link is known by, so that two pods of a node never share one.
    """
    tail = _mac_tail(link.addresses[0])
    host, pod = spec.Interface(link.host_ifname, f"ee:{tail}"), spec.Interface(link.ifname, f"ea:{tail}")
    return spec.Ends(host, pod, link.addresses)


def ends_of(assignment: Assignment) -> list[spec.Ends]:
    """Returns the ends of all links."""
    return [ends(link) for link in assignment.links]


def veth_of(link: PodLink, netns: int, mtu: int) -> messages.Veth:
    """Returns the pair to be created."""
    host, pod, _ = ends(link)
    return messages.Veth(host.name, host.mac, pod.name, pod.mac, netns, mtu)


def has_ipv6(link: PodLink) -> bool:
    """Tells whether there is an IPv6 address on the link."""
    return any(":" in address for address in link.all_addresses)


def pod_messages(made: Made, rules: Collection[tuple[int, str, int]] = ()) -> Iterator[Message]:
    """Yields what the pod's end needs, in the order that the kernel takes it in.

    Args:
        made: the link.
        rules: those the pod has, as ``messages.parse_rule`` returns them; a rule outlives the link it was made for.
    """
    number, link, veth = made
    host = ends(link).host
    ifindex, table = veth.peer_ifindex, _table(number)
    yield messages.set_link_up(ifindex)
    for address in link.all_addresses:
        hop = spec.gateway(number, ipv6=":" in address)
        yield messages.new_address(ifindex, address)
        if ":" in hop:  # fe80::1 is on the link by its very kind
            yield messages.new_local_route(ifindex, address)
        else:
            yield messages.new_host_route(ifindex, hop, table)
        yield messages.new_neighbour(ifindex, hop, host.mac)
        yield messages.new_default_route(ifindex, hop, table)
        if number and (RULE_PRIORITY, spec.with_mask(address), table) not in rules:
            yield messages.new_source_rule(address, table, RULE_PRIORITY)


def rule_removals(made: Made) -> Iterator[Message]:
    """Yields what takes the pod's rules for a link back."""
    if made.number:
        yield from (messages.delete_source_rule(a, made.number, RULE_PRIORITY) for a in made.link.all_addresses)


def host_messages(made: Made, route_table: int) -> Iterator[Message]:
    """Yields what the host's end needs; to be sent last: while the pod's end is down, the first packets are lost."""
    ifindex, pod = made.veth.ifindex, ends(made.link).pod
    yield messages.set_link_up(ifindex)
    for address in made.link.all_addresses:
        yield messages.new_neighbour(ifindex, address, pod.mac)
        yield messages.new_host_route(ifindex, address, route_table)


def rules_of(where: Socket) -> set[tuple[int, str, int]]:
    """Returns the policy rules of both families."""
    return {
        messages.parse_rule(answer.body)
        for family in (socket.AF_INET, socket.AF_INET6)
        for answer in where.dump(messages.get_rules(family))
    }


class View:
    """One namespace as its kernel tells of it, a kind of object at a time and each asked for once."""

    def __init__(self, where: Socket, *, ipv6: bool) -> None:
        families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        dumps = [(where.dump, family) for family in families]
        self.addresses = {messages.parse_address(a.body) for dump, f in dumps for a in dump(messages.get_addresses(f))}
        self.routes = {messages.parse_route(a.body) for dump, f in dumps for a in dump(messages.get_routes(f))}
        self.rules = {messages.parse_rule(a.body) for dump, f in dumps for a in dump(messages.get_rules(f))}
        self.neighbours = {
            messages.parse_neighbour(a.body) for dump, f in dumps for a in dump(messages.get_neighbours(f))
        }


def pod_differences(made: Made, view: View) -> list[str]:
    """Returns in sentences what the pod lacks of a link."""
    number, link, veth = made
    host_mac, ifindex, table = ends(link).host.mac, veth.peer_ifindex, _table(number)
    expected: dict[str, bool] = {}
    for address in link.all_addresses:
        hop, any_address = spec.gateway(number, ipv6=":" in address), "::/0" if ":" in address else "0.0.0.0/0"
        masked = spec.with_mask(address)
        expected[f"the address {masked}"] = (ifindex, masked) in view.addresses
        if ":" not in hop:
            expected[f"the route {hop}/32"] = (table, f"{hop}/32", "", ifindex) in view.routes
        expected[f"the default route via {hop}"] = (table, any_address, hop, ifindex) in view.routes
        expected[f"the neighbour {hop}"] = (ifindex, hop, host_mac, True) in view.neighbours
        if number:
            expected[f"the rule from {masked}"] = (RULE_PRIORITY, masked, table) in view.rules
    return [f"the pod lacks {what}" for what, present in expected.items() if not present]


def host_differences(made: Made, view: View, route_table: int) -> list[str]:
    """Returns in sentences what the host lacks of a link."""
    host, pod, _ = ends(made.link)
    ifindex = made.veth.ifindex
    found = []
    for address in made.link.all_addresses:
        masked = spec.with_mask(address)
        if (route_table, masked, "", ifindex) not in view.routes:
            found.append(f"table {route_table} has no route {masked} to {host.name}")
        if (ifindex, address, pod.mac, True) not in view.neighbours:
            found.append(f"the host lacks the neighbour {address} on {host.name}")
    return found


def link_differences(end: spec.Interface, link: messages.Link | None, mtu: int) -> list[str]:
    """Returns in sentences what is wrong with one end."""
    if link is None:
        return [f"{end.name} does not exist"]
    found = [] if link.is_up else [f"{end.name} is down"]
    if link.mac != end.mac:
        found.append(f"{end.name} has the MAC {link.mac}, not {end.mac}")
    if link.mtu != mtu:
        found.append(f"{end.name} has the MTU {link.mtu}, not {mtu}")
    return found


def _table(number: int) -> int:
    """Returns the pod's table for a link: main for the first, its number for the others, as in VPC CNI."""
    return number or messages.RT_TABLE_MAIN


def _mac_tail(address: str) -> str:
    if ":" in address:
        return hashlib.sha1(address.encode(), usedforsecurity=False).digest()[:5].hex(":")
    return "58:" + ":".join(f"{int(part):02x}" for part in address.split("."))
