"""Changes of a kind go to the kernel in one call, each keeps its own error, and our bytes are those pyroute2 reads."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from eni_cni_shim.plugin.netlink import dump_message
from eni_crds.nodeippool import Family
from eni_node_agent.network import routing
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import Address, Item, LinkSetting, NetworkSettings, ReversePath, Route, Rule
from eni_node_agent.network.drift import Change, Verb
from eni_testing.dual import dual_supply
from eni_testing.nodes import Node

BOTH = dual_supply([Family.IPV4, Family.IPV6])


@pytest.fixture
def converger(node: Node) -> Iterator[Converger]:
    made = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    yield made
    node.do(made.host.close)


def ensure(*items: Item) -> tuple[Change, ...]:
    return tuple(Change(Verb.ENSURE, item, "eni-1") for item in items)


class CountedSocket:
    """A socket that counts what it sends."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.sends: list[bytes] = []

    def send(self, data: bytes) -> int:
        self.sends.append(data)
        return self._inner.send(data)

    def recv(self, size: int) -> bytes:
        return self._inner.recv(size)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.netns
def test_one_send_sets_up_all_links_and_addresses_one_all_routes_one_all_rules(
    node: Node, converger: Converger
) -> None:
    found = node.do(converger.host.links)
    counted = CountedSocket(converger.host._socket._socket)
    converger.host._socket._socket = counted  # type: ignore[assignment]  # what a Socket uses of one
    rules = [Rule(1536, 2, f"10.0.1.{host}/32") for host in range(100, 200, 2)]
    routes = [Route(2, f"203.0.113.{host}/32", "eth1") for host in range(100)]
    links: list[Item] = [LinkSetting("eth1", 9001), ReversePath("eth1", 2), Address("eth1", "10.0.1.20/24")]
    assert node.do(converger.host.perform, ensure(*links, *routes, *rules), found) == {}
    assert len(counted.sends) == 3
    assert len(node.ip("rule")) == len(rules) + 3
    assert len(node.ip("route", "show", "table", "2")) == len(routes)


@pytest.mark.netns
@pytest.mark.parametrize("count", [1, 250, 251, 700])
def test_each_item_keeps_its_own_error_and_the_others_are_done(node: Node, converger: Converger, count: int) -> None:
    found = node.do(converger.host.links)
    node.run(["ip", "link", "set", "eth1", "up"])
    good = [Route(2, f"203.0.{host // 256}.{host % 256}/32", "eth1") for host in range(count)]
    bad = [Route(2, f"192.0.{host // 256}.{host % 256}/32", "eth1", "10.9.9.9") for host in range(count)]
    mixed = [route for pair in zip(good, bad, strict=True) for route in pair]
    failures = node.do(converger.host.perform, ensure(*mixed), found)
    assert set(failures) == set(bad)
    assert "Network is unreachable" in failures[bad[-1]]
    assert len(node.ip("route", "show", "table", "2")) == count


@pytest.mark.netns
@pytest.mark.parametrize(
    "item",
    [
        Rule(1536, 2, "10.0.1.99/32"),
        Rule(1536, 2, "2001:db8::/80", family=Family.IPV6),
        Route(2, "203.0.113.9/32", "eth1"),
        Route(2, "2001:db8::/64", "eth1"),
        Address("eth1", "10.0.1.99/24"),
    ],
    ids=str,
)
def test_what_is_gone_before_it_is_removed_is_no_failure(
    node: Node, converger: Converger, item: Rule | Route | Address
) -> None:
    found = node.do(converger.host.links)
    assert node.do(converger.host.perform, [Change(Verb.REMOVE, item, "")], found) == {}


@pytest.mark.netns
def test_a_whole_node_is_set_up_in_a_few_sends(node: Node, converger: Converger) -> None:
    counted = CountedSocket(converger.host._socket._socket)
    converger.host._socket._socket = counted  # type: ignore[assignment]  # what a Socket uses of one
    convergence = node.do(converger.converge, BOTH)
    dumps = 2 * 4  # links, addresses, routes and rules, before and after
    assert convergence.changed > 15
    assert len(counted.sends) == dumps + 3


@pytest.mark.parametrize(
    "rule",
    [
        Rule(512, 512),
        Rule(512, 512, family=Family.IPV6),
        Rule(1024, 254, mark=0x80),
        Rule(1535, 254, destination="192.0.2.0/24"),
        Rule(1536, 10203, "10.0.1.48/28"),
        Rule(1536, 2, "2001:db8:0:1:b::/80", family=Family.IPV6),
    ],
    ids=str,
)
def test_rule_is_what_pyroute2_reads(rule: Rule) -> None:
    read = fibmsg(dump_message(routing.add_rule(rule), 1))
    read.decode()
    assert (read["family"], read["src_len"], read["dst_len"]) == (
        socket.AF_INET6 if rule.family is Family.IPV6 else socket.AF_INET,
        int((rule.source or "/0").rpartition("/")[2]),
        int((rule.destination or "/0").rpartition("/")[2]),
    )
    attributes = {
        "FRA_PRIORITY": rule.priority,
        "FRA_TABLE": rule.table,
        "FRA_PROTOCOL": 169,
        "FRA_SRC": rule.source and rule.source.rpartition("/")[0],
        "FRA_DST": rule.destination and rule.destination.rpartition("/")[0],
        "FRA_FWMARK": rule.mark,
        "FRA_FWMASK": rule.mark,
    }
    assert {name: read.get_attr(name) for name in attributes} == attributes
    assert routing.parse_rule(routing.add_rule(rule).body) == rule


@pytest.mark.parametrize(
    "route",
    [
        Route(2, "10.0.1.1/32", "eth1"),
        Route(2, "0.0.0.0/0", "eth1", "10.0.1.1"),
        Route(10203, "fe80:ec2::1/128", "eth1"),
        Route(10203, "::/0", "eth1", "fe80:ec2::1"),
    ],
    ids=str,
)
def test_route_is_what_pyroute2_reads(route: Route) -> None:
    message = routing.ensure_route(route, 7)
    read = rtmsg(dump_message(message, 1))
    read.decode()
    destination, _, length = route.destination.rpartition("/")
    assert (read["dst_len"], read["proto"]) == (int(length), 169)
    attributes = {"RTA_TABLE": route.table, "RTA_DST": destination, "RTA_OIF": 7, "RTA_GATEWAY": route.gateway}
    assert {name: read.get_attr(name) for name in attributes} == attributes
    assert routing.parse_route(message.body, {7: "eth1"}) == route
