"""One round brings the kernel to what a supply asks for, touches nothing else, and makes no change the second time."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eni_crds.nodeippool import EniState, Snat
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.network.drift import OUR_PROTOCOL
from eni_testing.nodes import POD_TABLE, PRIMARY, SECONDARY, Node, supply_eni, supply_of

pytestmark = pytest.mark.netns

BOTH = supply_of(PRIMARY, SECONDARY)
NETLINK_NETFILTER = 12
EVERY_GROUP = 0xFFFFFFFF


@pytest.fixture
def converger(node: Node) -> Iterator[Converger]:
    made = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    yield made
    node.do(made.host.close)


def rules(node: Node) -> set[tuple[int, str, str | None]]:
    """Returns (priority, table, selector) of all rules but the kernel's own."""
    found = set()
    for rule in node.ip("rule"):
        source = None if rule["src"] == "all" else f"{rule['src']}/{rule.get('srclen', 32)}"
        found.add((rule["priority"], rule["table"], source or rule.get("fwmark")))
    return found - {(0, "255", None), (32766, "254", None), (32767, "253", None)}


def routes(node: Node, table: int) -> list[dict[str, Any]]:
    listing = node.run(["ip", "-N", "-j", "route", "show", "table", str(table)], check=False)
    return [] if listing.returncode else node.ip("route", "show", "table", str(table))


def snapshot(node: Node) -> tuple[object, ...]:
    """Returns all that the host's network is made of."""
    addresses = [(link["ifname"], link["mtu"], link["flags"], link["addr_info"]) for link in node.ip("-4", "address")]
    links = [(link["ifname"], link["mtu"], link["flags"]) for link in node.ip("link")]
    tables = node.ip("rule"), node.ip("-4", "route", "show", "table", "all")
    return links, addresses, *tables, node.run(["nft", "list", "ruleset"]).stdout


def test_secondary_eni_gets_address_table_and_rules(node: Node, converger: Converger) -> None:
    convergence = node.do(converger.converge, BOTH)
    assert convergence.state.problems == ()
    assert convergence.state.ready == {PRIMARY.eni_id, SECONDARY.eni_id}
    assert rules(node) == {
        (512, "512", None),
        (1024, "254", "0x80"),
        (1536, "2", "10.0.1.21/32"),
        (1536, "2", "10.0.1.24/32"),
        (1536, "2", "10.0.1.48/28"),
        (32765, "2", "10.0.1.20/32"),
    }
    (link,) = node.ip("address", "show", "dev", "eth1")
    assert (link["mtu"], "UP" in link["flags"]) == (9001, True)
    assert [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"] if entry["family"] == "inet"] == [
        "10.0.1.20/24"
    ]
    assert {(route["dst"], route.get("gateway"), route["dev"]) for route in routes(node, 2)} == {
        ("10.0.1.1", None, "eth1"),
        ("default", "10.0.1.1", "eth1"),
    }


def test_subnet_stays_reachable_by_the_primary_alone(node: Node, converger: Converger) -> None:
    node.do(converger.converge, BOTH)
    assert {route["dev"] for route in routes(node, 254)} == {"eth0"}


def test_forwarding_is_on_and_the_primary_checks_sources_loosely(node: Node, converger: Converger) -> None:
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv4.conf.eth0.rp_filter=1"])
    node.do(converger.converge, BOTH)
    assert node.run(["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv4.conf.eth0.rp_filter"]).stdout.split() == [
        "1",
        "2",
    ]


def heard(node: Node) -> Callable[[], list[bytes]]:
    """Returns a function that returns what the kernel announced since: any change by rtnetlink or nftables."""
    listeners = []
    for family in (socket.NETLINK_ROUTE, NETLINK_NETFILTER):
        listener = node.do(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, family)
        listener.bind((0, EVERY_GROUP))
        listener.settimeout(0)
        listeners.append(listener)

    def announcements() -> list[bytes]:
        found = []
        for listener in listeners:
            with listener:
                try:
                    found.append(listener.recv(4096))
                except BlockingIOError:
                    continue
        return found

    return announcements


def test_second_round_writes_nothing(node: Node, converger: Converger) -> None:
    node.do(converger.converge, BOTH)
    for link in ("eth0", "eth1"):
        node.run(["ip", "link", "show", "dev", link])  # has the kernel tell of its carrier now, not within a second
    announcements = heard(node)
    convergence = node.do(converger.converge, BOTH)
    assert (convergence.changed, convergence.repairs) == (0, ())
    assert announcements() == []


def test_the_ear_of_the_test_above_hears_both_kinds_of_change(node: Node) -> None:
    announcements = heard(node)
    node.run(["ip", "rule", "add", "from", "10.9.9.9", "lookup", "7"])
    node.run(["nft", "add", "table", "ip", "other"])
    assert len(announcements()) == 2


def test_first_round_after_a_restart_repairs_nothing_and_changes_the_firewall_alone(
    node: Node, converger: Converger
) -> None:
    node.do(converger.converge, BOTH)
    successor = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    convergence = node.do(successor.converge, BOTH)
    node.do(successor.host.close)
    assert (convergence.changed, convergence.repairs) == (1, ())


def test_eni_that_leaves_leaves_nothing_behind(node: Node, converger: Converger) -> None:
    node.do(converger.converge, supply_of(PRIMARY))
    before = snapshot(node)
    node.do(converger.converge, BOTH)
    node.do(converger.converge, supply_of(PRIMARY))
    node.run(["ip", "link", "set", "eth1", "down"])
    node.run(["ip", "link", "set", "eth1", "mtu", "1500"])
    assert snapshot(node) == before


def test_eni_that_left_while_no_agent_ran_leaves_nothing_behind(node: Node, converger: Converger) -> None:
    node.do(converger.converge, BOTH)
    successor = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    node.do(successor.converge, supply_of(PRIMARY))
    node.do(successor.host.close)
    assert rules(node) == {(512, "512", None), (1024, "254", "0x80")}
    assert routes(node, 2) == []
    assert "10.0.1.20" not in node.run(["ip", "address"]).stdout


def test_detaching_eni_contributes_nothing(node: Node, converger: Converger) -> None:
    detaching = supply_of(PRIMARY, supply_eni(SECONDARY, EniState.DETACHING))
    assert node.do(converger.converge, detaching).state.ready == {PRIMARY.eni_id}
    assert rules(node) == {(512, "512", None), (1024, "254", "0x80")}


def test_translation_follows_the_supply_and_is_no_repair(node: Node, converger: Converger) -> None:
    def listing(snat: Snat | None) -> str:
        convergence = node.do(converger.converge, BOTH.replace(snat=snat))
        assert (convergence.state.problems, convergence.repairs) == ((), ())
        return node.run(["nft", "list", "table", "ip", "eni-agent"]).stdout

    assert "snat to 10.0.1.10" in listing(None)
    assert "snat to" not in listing(Snat(external=True))
    assert "198.51.100.0/24" in listing(Snat(exclude_cidrs=["198.51.100.0/24"]))
    assert "198.51.100.0/24" not in listing(None)


def test_what_others_own_stays(node: Node, converger: Converger) -> None:
    node.run(["ip", "rule", "add", "from", "10.0.1.99", "lookup", "7", "priority", "1536"])
    node.run(["ip", "rule", "add", "fwmark", "0x80/0x80", "lookup", "main", "priority", "1024"])
    node.run(["ip", "route", "add", "10.0.1.99/32", "dev", "eth0", "table", str(POD_TABLE)])
    node.run(["ip", "route", "add", "203.0.113.0/24", "via", "10.0.1.1", "table", "2"])
    node.run(["nft", "add", "table", "ip", "kube-proxy"])
    node.do(converger.converge, BOTH)
    node.do(converger.converge, supply_of(PRIMARY))
    assert (1536, "7", "10.0.1.99/32") in rules(node)
    assert [rule.get("protocol") for rule in node.ip("rule") if rule["priority"] == 1024] == [None]
    assert [route["dst"] for route in routes(node, POD_TABLE)] == ["10.0.1.99"]
    assert [route["dst"] for route in routes(node, 2)] == ["203.0.113.0/24"]
    assert "table ip kube-proxy" in node.run(["nft", "list", "ruleset"]).stdout


def test_ours_carry_our_number(node: Node, converger: Converger) -> None:
    node.do(converger.converge, BOTH)
    assert {route["protocol"] for route in routes(node, 2)} == {str(OUR_PROTOCOL)}
    assert {rule["protocol"] for rule in node.ip("rule") if rule["table"] == "2"} == {str(OUR_PROTOCOL)}


def test_address_a_dhcp_client_put_on_the_eni_loses_its_connected_route(node: Node, converger: Converger) -> None:
    node.run(["ip", "link", "set", "eth1", "up"])
    node.run(["ip", "address", "add", "10.0.1.20/24", "dev", "eth1"])
    node.run(["ip", "address", "add", "10.0.1.77/24", "dev", "eth1"])
    assert node.do(converger.converge, BOTH).repairs == ()
    assert {route["dev"] for route in routes(node, 254)} == {"eth0"}
    assert "10.0.1.77" not in node.run(["ip", "address"]).stdout


def test_device_on_another_network_card_has_a_table_of_its_own(node: Node, converger: Converger) -> None:
    eni = supply_eni(SECONDARY).replace(network_card=2, device_index=3)
    node.do(converger.converge, supply_of(PRIMARY, eni))
    assert len(routes(node, 10203)) == 2


def test_shared_rules_wait_for_no_link_and_no_eni_is_ready_without_the_primary(
    node: Node, converger: Converger
) -> None:
    node.run(["ip", "link", "delete", "eth0"])
    assert node.do(converger.converge, BOTH).state.ready == frozenset()
    assert (1536, "2", "10.0.1.21/32") in rules(node)


def test_bridge_with_the_mac_of_an_eni_is_not_taken_for_it(node: Node, converger: Converger) -> None:
    node.run(["ip", "link", "add", "br0", "address", SECONDARY.mac, "type", "bridge"])
    node.do(converger.converge, BOTH)
    assert {route["dev"] for route in routes(node, 2)} == {"eth1"}


def test_unwritable_sysctl_is_named_and_nothing_is_ready(node: Node, tmp_path: Path) -> None:
    def refused() -> tuple[tuple[str, ...], frozenset[str]]:
        converger = Converger(NetworkSettings(), tmp_path)
        state = converger.converge(BOTH).state
        converger.host.close()
        return state.problems, state.ready

    problems, ready = node.do(refused)
    assert ready == frozenset()
    assert any("net.ipv4.ip_forward must be 1 and cannot be written" in problem for problem in problems)


def test_unreachable_mtu_is_named_and_only_that_eni_waits(node: Node, converger: Converger) -> None:
    node.run(["ip", "link", "delete", "eth1"])
    vxlan = ["type", "vxlan", "id", "7", "dev", "eth0", "dstport", "4789"]  # carries less than what is below it
    node.run(["ip", "link", "add", "eth1", "address", SECONDARY.mac, *vxlan])
    state = node.do(converger.converge, BOTH).state
    assert state.ready == {PRIMARY.eni_id}
    assert any("mtu=9001" in problem for problem in state.problems)


def test_link_prefix_of_a_pod_is_listed_with_its_address(node: Node, converger: Converger) -> None:
    with node.add_pod("10.0.1.21"):
        assert node.do(converger.host.pod_routes) == {"10.0.1.21": "eni00000015"}
