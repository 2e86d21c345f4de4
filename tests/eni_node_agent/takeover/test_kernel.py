"""What VPC CNI keeps in the kernel's routing is read, and replaced without a moment in which it is missing."""

from collections.abc import Iterator

import pytest

from eni_node_agent.takeover.kernel import Kernel, eni_primaries
from eni_node_agent.takeover.plan import PolicyRule
from eni_testing.nodes import Node

pytestmark = pytest.mark.netns


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        made.add_link("eth1", "02:00:00:00:0a:01")
        made.run(["ip", "link", "set", "eth1", "up"])
        made.run(["ip", "address", "add", "10.0.1.20/24", "dev", "eth1"])
        made.run(["ip", "route", "del", "10.0.1.0/24", "dev", "eth1"])
        made.run(["ip", "route", "add", "10.0.1.1", "dev", "eth1", "table", "2"])
        made.run(["ip", "route", "add", "default", "via", "10.0.1.1", "dev", "eth1", "table", "2"])
        yield made


@pytest.fixture
def kernel(node: Node) -> Iterator[Kernel]:
    made = node.do(Kernel)
    yield made
    node.do(made.__exit__)


def rules(node: Node, kernel: Kernel, priority: int) -> list[PolicyRule]:
    return [rule for rule in node.do(kernel.rules) if rule.priority == priority]


def shown(node: Node, priority: int) -> list[str]:
    lines = node.run(["ip", "-d", "rule", "show", "pref", str(priority)]).stdout.splitlines()
    return [line.partition("\t")[2].replace(" proto unspec", "").strip() for line in lines]


def test_routes_of_both_families_are_read_from_main_alone(node: Node, kernel: Kernel) -> None:
    node.run(["ip", "route", "add", "10.0.1.21", "dev", "eth1"])
    node.run(["ip", "-6", "route", "add", "2001:db8::5/128", "dev", "eth1"])
    node.run(["ip", "route", "add", "10.0.1.22", "dev", "eth1", "table", "99"])
    node.run(["ip", "route", "add", "10.0.9.0/24", "dev", "eth1"])
    assert node.do(kernel.host_routes) == {"10.0.1.21": "eth1", "2001:db8::5": "eth1"}


def test_a_pod_is_routed_in_the_pod_table_by_either_family(node: Node, kernel: Kernel) -> None:
    index = node.do(kernel.links)["eth1"].index
    for address in ("10.0.1.21", "2001:db8::5"):
        for _ in range(2):
            node.do(kernel.ensure_pod_route, address, index)
    shown = [node.ip(family, "route", "show", "table", "512") for family in ("-4", "-6")]
    assert [(route["dst"], route["dev"]) for routes in shown for route in routes] == [
        ("10.0.1.21", "eth1"),
        ("2001:db8::5", "eth1"),
    ]


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("pref 512 to 10.0.1.21 lookup main", "10.0.1.21"),
        ("pref 1536 from 10.0.1.21 lookup 10203", "10.0.1.21"),
        ("-6 pref 512 to 2001:db8::5 lookup main", "2001:db8::5"),
        ("pref 512 to 10.0.0.0/16 lookup main", ""),
        ("pref 512 to 10.0.1.21 lookup main proto 169", ""),
        ("pref 1536 from 10.0.0.0/28 lookup 2", ""),
    ],
)
def test_whose_rule_it_is(node: Node, kernel: Kernel, words: str, address: str) -> None:
    family = ["-6"] if words.startswith("-6") else []
    node.run(["ip", *family, "rule", "add", *words.removeprefix("-6 ").split()])
    [rule] = rules(node, kernel, int(words.removeprefix("-6 ").split()[1]))
    assert (rule.pod_address if not rule.is_ours else "") == address


@pytest.mark.parametrize("protocol", [[], ["proto", "3"]], ids=["no protocol", "boot"])
@pytest.mark.parametrize("words", ["from 10.0.1.21 lookup 2", "from all fwmark 0x80/0x80 lookup main"])
def test_a_rule_of_theirs_becomes_ours(node: Node, kernel: Kernel, words: str, protocol: list[str]) -> None:
    node.run(["ip", "rule", "add", "pref", "1536", *words.split(), *protocol])
    [rule] = rules(node, kernel, 1536)
    node.do(kernel.own, rule)
    assert shown(node, 1536) == [f"{words} proto 169"]
    node.do(kernel.own, rule._replace(body=rule.body))  # somebody has just added it again and it is gone again


def test_ours_is_there_before_theirs_goes(node: Node, kernel: Kernel) -> None:
    node.run(["ip", "rule", "add", "pref", "1536", "from", "10.0.1.21", "lookup", "2", "proto", "169"])
    node.run(["ip", "rule", "add", "pref", "1536", "from", "10.0.1.21", "lookup", "2"])
    for _ in range(2):  # the first time the kernel may take ours away, which leaves the like of it
        for rule in rules(node, kernel, 1536):
            if not rule.is_ours:
                node.do(kernel.own, rule)
        assert shown(node, 1536)
    for rule in rules(node, kernel, 1536):
        assert rule.is_ours or len(shown(node, 1536)) == 1


@pytest.mark.parametrize("was_killed_before", [False, True])
def test_an_enis_address_is_replaced_and_its_routes_stay(
    node: Node,
    kernel: Kernel,
    was_killed_before: bool,  # noqa: FBT001
) -> None:
    node.run(["ip", "rule", "add", "pref", "32765", "from", "10.0.1.20", "lookup", "2"])
    routes = node.run(["ip", "route", "show", "table", "2"]).stdout
    assert "default via 10.0.1.1" in routes
    if was_killed_before:
        node.run(["ip", "address", "add", "10.0.1.20/32", "dev", "eth1", "noprefixroute"])
    node.do(kernel.own_addresses, set(eni_primaries(node.do(kernel.rules))))
    assert node.run(["ip", "route", "show", "table", "2"]).stdout == routes
    [address] = [
        found for found in node.ip("address", "show", "dev", "eth1")[0]["addr_info"] if found["family"] == "inet"
    ]
    assert (address["local"], address["prefixlen"], address.get("noprefixroute")) == ("10.0.1.20", 24, True)
    assert node.run(["ip", "route", "show", "table", "main"]).stdout == ""


def test_our_tables_are_those_with_routes_of_ours(node: Node, kernel: Kernel) -> None:
    assert node.do(kernel.our_tables) == set()
    node.run(["ip", "route", "replace", "10.0.1.1", "dev", "eth1", "table", "2", "proto", "169"])
    assert node.do(kernel.our_tables) == {2}
