"""Compares what a node and a pod hold with what is due to an address, and names every difference in a sentence. Pure.

``while_running`` is for a pod that lives, ``after_removal`` for one that has gone. The first of them also holds that
there is not more than is due: one route, one rule of the ENI's, one address.
"""

import ipaddress
from collections.abc import Iterator

from eni_lab.podcheck.expected import (
    ENI_PRIORITY,
    POD_PRIORITY,
    POD_TABLE,
    SOURCE_PRIORITY,
    PodAddress,
)
from eni_lab.podcheck.kernel import MAIN_TABLE, Kernel, Link, Neighbour, Route, Rule, host_cidr, network


def while_running(host: Kernel, pod: Kernel, due: PodAddress) -> list[str]:
    """What is wrong about a running pod's address, on its node and in its namespace."""
    inside = pod.links.get(due.ifname)
    veth = _other_end(host, inside)
    found = [*_on_the_way_to(host, veth, due), *_on_the_way_from(host, due), *_of_the_eni(host, due)]
    found += [*_inside(pod, due), *_of_the_interface("the host veth", veth, due)]
    if veth is None or inside is None:
        return found
    if Neighbour(due.gateway, due.ifname, veth.mac) not in pod.neighbours:
        found.append(f"the pod has no permanent neighbour {due.gateway} with the MAC {veth.mac} of {veth.name}")
    if Neighbour(due.address, veth.name, inside.mac) not in host.neighbours:
        found.append(f"the node has no permanent neighbour {due.address} with the MAC {inside.mac} of the pod")
    return found


def after_removal(host: Kernel, address: str, veth: str, *, owned: bool = True) -> list[str]:
    """What is left on a node of an address whose pod has gone.

    Args:
        host: the node.
        address: the pod's.
        veth: the name of its host veth, as ``veth_of`` gave it while the pod was running.
        owned: whether an ENI of the node still has the address, so that its rule is due: that serves the next pod.
    """
    left = [f"the link {veth} is still there"] if veth in host.links else []
    left += [f"there is still a route: {route}" for route in _routes_to(host, address)]
    left += [f"there is still a neighbour: {one}" for one in host.neighbours if one.address == address]
    left += [f"there is still a rule: {rule}" for rule in host.rules if rule.destination == host_cidr(address)]
    if not owned:
        left += [f"there is still a rule: {rule}" for rule in _rules_from(host, address)]
    return left


def veth_of(host: Kernel, address: str) -> str:
    """The host veth of the pod that has the address, by the node's routes; empty when no route leads to one."""
    links = {route.link for route in _routes_to(host, address)}
    return next((link for link in sorted(links)), "")


def _other_end(host: Kernel, inside: Link | None) -> Link | None:
    """The node's link that is the other end of the pod's: each names the other's index."""
    if inside is None:
        return None
    pairs = (link for link in host.links.values() if link.namespace_id is not None)
    return next((link for link in pairs if (link.index, link.peer_index) == (inside.peer_index, inside.index)), None)


def _on_the_way_to(host: Kernel, veth: Link | None, due: PodAddress) -> Iterator[str]:
    rules = [rule for rule in host.rules if rule.family == due.family and rule.priority == POD_PRIORITY]
    if rules != [Rule(POD_PRIORITY, POD_TABLE, due.family)]:
        yield f"rules of priority {POD_PRIORITY} are {rules}, due is one for every packet, into table {POD_TABLE}"
    routes = _routes_to(host, due.address)
    name = veth.name if veth else f"{due.veth_prefix}..."
    if not name.startswith(due.veth_prefix):
        yield f"the host veth of {due.address} is called {name}, due is {due.veth_prefix}..."
    if routes != [Route(POD_TABLE, host_cidr(due.address), name)]:
        yield f"routes to {due.address} are {routes}, due is one, in table {POD_TABLE} to {name}"


def _on_the_way_from(host: Kernel, due: PodAddress) -> Iterator[str]:
    rules = _rules_from(host, due.address)
    if due.eni.is_primary:
        if rules:
            yield f"{due.address} is of the primary ENI and there are rules from it: {rules}"
    elif [(rule.priority, rule.table) for rule in rules] != [(SOURCE_PRIORITY, due.eni.table)]:
        yield f"rules from {due.address} are {rules}, due is one into table {due.eni.table} of its ENI"


def _of_the_eni(host: Kernel, due: PodAddress) -> Iterator[str]:
    eni = due.eni
    link = next((link for link in host.links.values() if link.mac == eni.mac), None)
    if link is None:
        yield f"the node has no link with the MAC {eni.mac} of the address's ENI"
        return
    if not link.is_up:
        yield f"{link.name}, the address's ENI, is down"
    if link.mtu != eni.mtu:
        yield f"{link.name}, the address's ENI, has MTU {link.mtu}, due is {eni.mtu}"
    if not eni.is_primary:
        yield from _of_the_table(host, due, link)


def _of_the_table(host: Kernel, due: PodAddress, link: Link) -> Iterator[str]:
    gateway = due.eni.gateway(due.family)
    wanted = {
        Route(due.eni.table, host_cidr(gateway), link.name),
        Route(due.eni.table, due.default, link.name, gateway),
    }
    routes = {route for route in _of_family(host.routes, due.family) if route.table == due.eni.table}
    if routes != wanted:
        yield f"table {due.eni.table} of {link.name} has {sorted(map(str, routes))}, due is {sorted(map(str, wanted))}"
    in_main = [
        route
        for route in _of_family(host.routes, due.family)
        if route.table == MAIN_TABLE and route.link == link.name and not network(route.destination).is_link_local
    ]
    if in_main:
        yield f"the main table leads to {link.name}: {in_main}"
    own = [one for one in link.addresses if ipaddress.ip_interface(one).version == due.family]
    for one in own:
        source = host_cidr(one.partition("/")[0])
        if Rule(ENI_PRIORITY, due.eni.table, due.family, source) not in host.rules:
            yield f"no rule of priority {ENI_PRIORITY} leads from {source} of {link.name} into table {due.eni.table}"


def _inside(pod: Kernel, due: PodAddress) -> Iterator[str]:
    link = pod.links.get(due.ifname)
    yield from _of_the_interface(f"the pod's {due.ifname}", link, due)
    if link is None:
        return
    own = [one for one in link.addresses if ipaddress.ip_interface(one).version == due.family]
    if own != [host_cidr(due.address)]:
        yield f"the pod's {due.ifname} has the addresses {own}, due is {host_cidr(due.address)} alone"
    if due.address in link.tentative:
        yield f"{due.address} of the pod is tentative or was found to be somebody else's"
    routes = {route for route in _of_family(pod.routes, due.family) if route.link == due.ifname}
    if missing := due.pod_routes - routes:
        yield f"the pod has the routes {sorted(map(str, routes))} and lacks {sorted(map(str, missing))}"
    rules = _rules_from(pod, due.address)
    if rules != due.pod_rules:
        yield f"the pod has the rules {rules} from {due.address}, due are {due.pod_rules}"


def _of_the_interface(what: str, link: Link | None, due: PodAddress) -> Iterator[str]:
    if link is None:
        yield f"{what} of {due.address} is not there"
        return
    if not link.is_up:
        yield f"{what} of {due.address} is down"
    if link.mtu != due.mtu:
        yield f"{what} of {due.address} has MTU {link.mtu}, due is {due.mtu}"


def _routes_to(host: Kernel, address: str) -> list[Route]:
    return [route for route in host.routes if route.destination == host_cidr(address)]


def _rules_from(host: Kernel, address: str) -> list[Rule]:
    value = ipaddress.ip_address(address)
    return [rule for rule in host.rules if rule.source and value in network(rule.source)]


def _of_family(routes: list[Route], family: int) -> list[Route]:
    return [route for route in routes if network(route.destination).version == family]
