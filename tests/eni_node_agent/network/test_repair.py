"""What somebody undoes is put right in time and counted; what comes late is taken up when it comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from eni_crds.nodeippool import Family
from eni_lab.fabric.namespaces import entered
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.network.repair import HostNetwork
from eni_testing.dual import SECONDARY_PREFIX, dual_supply
from eni_testing.eventually import eventually
from eni_testing.nodes import PRIMARY, SECONDARY, Node, supply_of

pytestmark = pytest.mark.netns

BOTH = dual_supply([Family.IPV4, Family.IPV6])
READY = {PRIMARY.eni_id, SECONDARY.eni_id}


@dataclass
class Watched:
    """A host network that is being looked after, and what it told."""

    network: HostNetwork
    drifts: list[str] = field(default_factory=list)
    states: list[NetworkState] = field(default_factory=list)
    pods: dict[str, str] = field(default_factory=dict)
    """What the ledger would say: host's link by address."""


@pytest_asyncio.fixture
async def watched(node: Node) -> AsyncIterator[Watched]:
    drifts: list[str] = []
    states: list[NetworkState] = []
    # Threads and sockets made in here belong to the node. Only announcements make it look: the next check is far off.
    with entered(node.path):
        pods: dict[str, str] = {}
        network = HostNetwork(
            NetworkSettings(),
            check_seconds=60,
            pods=lambda: pods,
            on_drift=drifts.append,
            on_change=states.append,
        )
        task = asyncio.create_task(network.run())
        yield Watched(network, drifts, states, pods)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await network.close()


def has_rule(node: Node) -> bool:
    return "from 10.0.1.48/28 lookup 2" in node.run(["ip", "rule"]).stdout


def has_default_route(node: Node) -> bool:
    return "default via 10.0.1.1 dev eth1" in node.run(["ip", "route", "show", "table", "2"], check=False).stdout


def has_gateway_route(node: Node) -> bool:
    return "10.0.1.1 dev eth1" in node.run(["ip", "route", "show", "table", "2"], check=False).stdout


def has_address(node: Node) -> bool:
    return "10.0.1.20/24" in node.run(["ip", "address", "show", "dev", "eth1"]).stdout


def has_table(node: Node) -> bool:
    return "snat to 10.0.1.10" in node.run(["nft", "list", "ruleset"]).stdout


def has_large_frames(node: Node) -> bool:
    return "mtu 9001" in node.run(["ip", "link", "show", "dev", "eth1"]).stdout


def forwards(node: Node) -> bool:
    return node.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip() == "1"


def sysctl_is(node: Node, name: str, value: str) -> bool:
    return node.run(["sysctl", "-n", name]).stdout.strip() == value


def forwards_ipv6(node: Node) -> bool:
    return sysctl_is(node, "net.ipv6.conf.all.forwarding", "1")


def checks_loosely(node: Node) -> bool:
    return sysctl_is(node, "net.ipv4.conf.eth0.rp_filter", "2")


def hears_the_router(node: Node) -> bool:
    return sysctl_is(node, "net.ipv6.conf.eth0.accept_ra", "2")


def has_ipv6(node: Node) -> bool:
    return sysctl_is(node, "net.ipv6.conf.eth1.disable_ipv6", "0") and has_ipv6_default_route(node)


def has_ipv6_rule(node: Node) -> bool:
    return f"from {SECONDARY_PREFIX} lookup 2" in node.run(["ip", "-6", "rule"]).stdout


def has_ipv6_default_route(node: Node) -> bool:
    listing = node.run(["ip", "-6", "route", "show", "table", "2"], check=False).stdout
    return "default via fe80:ec2::1 dev eth1" in listing


def has_ipv6_table(node: Node) -> bool:
    return "table ip6 eni-agent" in node.run(["nft", "list", "tables"]).stdout


def has_no_stranger(node: Node) -> bool:
    return "10.0.1.77" not in node.run(["ip", "address"]).stdout


def subnet_is_left_to_the_primary(node: Node) -> bool:
    return "dev eth1" not in node.run(["ip", "route"]).stdout


@pytest.mark.parametrize(
    ("damage", "kind", "holds"),
    [
        ("ip rule delete from 10.0.1.48/28", "rule", has_rule),
        ("ip rule delete priority 512", "rule", lambda node: "lookup 512" in node.run(["ip", "rule"]).stdout),
        ("ip rule flush", "rule", has_rule),
        ("ip route delete default table 2", "route", has_default_route),
        ("ip route replace default via 10.0.1.1 dev eth0 table 2", "route", has_default_route),
        ("ip route flush table 2", "route", has_gateway_route),
        ("ip address flush dev eth1", "address", has_address),
        ("ip address add 10.0.1.77/24 dev eth1", "address", has_no_stranger),
        (
            "ip address flush dev eth1 && ip address add 10.0.1.20/24 dev eth1",
            "address",
            subnet_is_left_to_the_primary,
        ),
        ("ip -6 rule flush", "rule", has_ipv6_rule),
        ("ip -6 route flush table 2", "route", has_ipv6_default_route),
        ("ip link set eth1 down", "link", has_default_route),
        ("ip link set eth1 down", "link", has_ipv6_default_route),
        ("ip link set eth1 mtu 1500", "link", has_large_frames),
        ("nft delete table ip eni-agent", "firewall", has_table),
        ("nft flush ruleset", "firewall", has_table),
        ("nft flush chain ip eni-agent translating", "firewall", has_table),
        ("nft delete table ip6 eni-agent", "firewall", has_ipv6_table),
        ("sysctl -qw net.ipv4.ip_forward=0", "sysctl", forwards),
        ("sysctl -qw net.ipv4.conf.eth0.rp_filter=1", "sysctl", checks_loosely),
        ("sysctl -qw net.ipv6.conf.all.forwarding=0", "sysctl", forwards_ipv6),
    ],
)
async def test_damage_that_is_announced_is_repaired_and_counted(
    watched: Watched, node: Node, damage: str, kind: str, holds: Callable[[Node], bool]
) -> None:
    await watched.network.ensure(BOTH)
    node.run(["sh", "-c", damage])
    await eventually(lambda: kind in watched.network.repairs, f"{damage} is counted as {kind}")
    await eventually(lambda: holds(node), f"{damage} is undone")
    assert kind in watched.drifts
    assert watched.network.state == NetworkState(frozenset(READY))


@pytest.mark.parametrize(
    ("damage", "kind", "holds"),
    [
        ("sysctl -qw net.ipv6.conf.eth0.accept_ra=0", "sysctl", hears_the_router),
        ("sysctl -qw net.ipv6.conf.all.disable_ipv6=1", "sysctl", has_ipv6),
    ],
)
async def test_damage_that_nobody_announces_is_found_by_looking(
    node: Node, damage: str, kind: str, holds: Callable[[Node], bool]
) -> None:
    with entered(node.path):
        network = HostNetwork(NetworkSettings(), check_seconds=0.1)
        await network.ensure(BOTH)
        node.run(damage.split())
        task = asyncio.create_task(network.run())
        await eventually(lambda: kind in network.repairs, f"{damage} is counted as {kind}")
        await eventually(lambda: holds(node), f"{damage} is undone")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await network.close()


@pytest.mark.parametrize(
    "damage",
    [
        "ip route flush table 512",
        "ip route replace 10.0.1.21 dev eth0 table 512; ip route delete 10.0.1.50 dev eni00000032 table 512",
    ],
)
async def test_route_to_a_pod_that_somebody_takes_is_put_back_and_counted(
    watched: Watched, node: Node, damage: str
) -> None:
    routes = {"10.0.1.21": "eni00000015", "10.0.1.50": "eni00000032"}
    with node.add_pod("10.0.1.21") as pod, node.add_pod("10.0.1.50"):
        watched.pods.update(routes)
        await watched.network.ensure(BOTH)
        node.run(["sh", "-c", damage])
        await eventually(lambda: watched.network.repairs["route"] == 2, "both routes are counted")
        assert await watched.network.pod_routes() == routes
        assert pod.reaches("10.0.1.10")
        assert watched.network.state == NetworkState(frozenset(READY))


async def test_route_to_a_pod_that_leaves_is_not_put_back(watched: Watched, node: Node) -> None:
    with node.add_pod("10.0.1.21"):
        watched.pods["10.0.1.21"] = "eni00000015"
        await watched.network.ensure(BOTH)
        node.run(["ip", "link", "set", "eni00000015", "down"])  # DEL; the ledger has not released it yet
        assert await watched.network.ensure(BOTH) == NetworkState(frozenset(READY))
        assert await watched.network.pod_routes() == {}
    assert await watched.network.ensure(BOTH) == NetworkState(frozenset(READY))
    assert not watched.network.repairs


async def test_growth_is_no_repair(watched: Watched) -> None:
    await watched.network.ensure(supply_of(PRIMARY))
    await watched.network.ensure(BOTH)
    await watched.network.ensure(supply_of(PRIMARY))
    assert not watched.network.repairs


async def test_link_that_comes_late_makes_its_eni_ready(watched: Watched, node: Node) -> None:
    node.run(["ip", "link", "delete", "eth1"])
    assert (await watched.network.ensure(BOTH)).ready == {PRIMARY.eni_id}
    node.add_link("eth1", SECONDARY.mac)
    await eventually(lambda: watched.network.state.ready == READY, "the ENI is ready")
    assert [state.ready for state in watched.states] == [{PRIMARY.eni_id}, READY]
    assert not watched.network.repairs


async def test_link_that_goes_makes_its_eni_unready_until_it_is_back(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    node.run(["ip", "link", "delete", "eth1"])
    await eventually(lambda: watched.network.state.ready == {PRIMARY.eni_id}, "the ENI is not ready")
    node.add_link("ens6", SECONDARY.mac)
    await eventually(lambda: watched.network.state.ready == READY, "the ENI is ready under its new name")


async def test_renamed_link_is_followed_and_counted(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    for old, new in (("eth1", "ens6"), ("eth0", "ens5")):
        node.run(["ip", "link", "set", old, "down"])
        node.run(["ip", "link", "set", old, "name", new])
    node.run(["ip", "link", "set", "ens5", "up"])
    node.run(["ip", "route", "add", "default", "via", "10.0.1.1"])  # what DHCP does
    await eventually(
        lambda: "dev ens6" in node.run(["ip", "route", "show", "table", "2"], check=False).stdout, "ens6 has the table"
    )
    await eventually(lambda: '"ens5" ct mark' in node.run(["nft", "list", "ruleset"]).stdout, "ens5 is translated for")
    await eventually(lambda: watched.network.repairs["link"] >= 2, "both names are counted")
    await eventually(lambda: watched.network.state == NetworkState(frozenset(READY)), "both ENIs are ready")


def restart_networkd(node: Node) -> None:
    """Does what systemd-networkd does at its start to what it has not configured itself, on the links it manages.

    ManageForeignRoutingPolicyRules, ManageForeignRoutes and foreign addresses (networkd.conf(5); the kernel's own, by
    protocol number 2, it leaves); then it configures the primary again, whose lease it has kept.
    """
    for family in ("-4", "-6"):
        for rule in node.ip(family, "rule"):
            if "protocol" in rule:  # not said of the kernel's
                node.run(["ip", family, "rule", "delete", "priority", str(rule["priority"])], check=False)
        for link in ("eth0", "eth1"):
            for route in node.ip(family, "route", "show", "table", "all", "dev", link):
                if str(route.get("protocol")) != "2":
                    words = [route["dst"], "dev", link, "table", str(route.get("table", "main"))]
                    node.run(["ip", family, "route", "delete", *words], check=False)
    node.run(["ip", "-4", "address", "flush", "dev", "eth1"])
    node.run(["ip", "route", "replace", "default", "via", "10.0.1.1", "dev", "eth0", "proto", "dhcp"])
    node.run(["sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0", "net.ipv4.conf.eth0.rp_filter=1"])


async def test_node_is_whole_again_after_systemd_networkd_restarts(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    before = whole(node)
    restart_networkd(node)
    assert whole(node) != before
    await eventually(lambda: whole(node) == before, "the network is as before", within=10)
    await eventually(lambda: {"rule", "route", "address", "sysctl"} <= set(watched.drifts), "all of it is counted")
    await eventually(lambda: watched.network.state == NetworkState(frozenset(READY)), "both ENIs are ready")


def whole(node: Node) -> tuple[object, ...]:
    """Returns all that the test above takes away, and more; whoever put it there."""
    rules, routes = set(), set()
    for family in ("-4", "-6"):
        rules |= {(rule["priority"], rule["src"], rule["table"]) for rule in node.ip(family, "rule")}
        for words in (("table", "2"), ("default",)):
            if node.run(["ip", family, "route", "show", *words], check=False).returncode == 0:
                listing = node.ip(family, "route", "show", *words)
                routes |= {(*words, route["dst"], route.get("gateway"), route["dev"]) for route in listing}
    return rules, routes, has_address(node), checks_loosely(node), hears_the_router(node)


async def test_rule_of_another_tool_that_takes_pods_packets_is_told_and_stays(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    node.run(["ip", "rule", "add", "from", "10.0.1.50", "lookup", "9", "priority", "100"])
    await eventually(lambda: bool(watched.network.state.conflicts), "the conflict is told")
    (conflict,) = watched.network.state.conflicts
    assert '"100: from 10.0.1.50/32 lookup 9" takes packets from pods of 10.0.1.48/28, which must look into' in conflict
    assert watched.network.state.ready == READY
    assert not watched.network.repairs
    node.run(["ip", "rule", "delete", "priority", "100"])
    await eventually(lambda: not watched.network.state.conflicts, "the conflict is over")


async def test_rule_of_ours_that_others_double_starts_no_fight(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    node.run(["ip", "rule", "add", "from", "10.0.1.48/28", "lookup", "2", "priority", "1536"])
    node.run(["ip", "rule", "delete", "from", "10.0.1.48/28", "lookup", "2", "priority", "1536", "protocol", "169"])
    await eventually(lambda: watched.network.looks.total() > 1, "the network has been looked at")
    assert (has_rule(node), watched.network.state) == (True, NetworkState(frozenset(READY)))
    await watched.network.ensure(supply_of(PRIMARY))
    assert has_rule(node)  # the other's, which is not ours to remove


async def test_rules_of_amazons_images_are_left_and_are_no_conflict(watched: Watched, node: Node) -> None:
    for words in (["10.0.1.20"], ["10.0.1.21"], ["10.0.1.48/28"]):
        node.run(["ip", "rule", "add", "from", *words, "lookup", "10001", "priority", "10001"])
    await watched.network.ensure(BOTH)
    assert watched.network.state == NetworkState(frozenset(READY))
    assert node.run(["ip", "rule"]).stdout.count("lookup 10001") == 3


async def test_pods_come_and_go_without_a_look_at_the_host(watched: Watched, node: Node) -> None:
    await watched.network.ensure(BOTH)
    with node.add_pod("10.0.1.21"):
        assert await watched.network.pod_routes() == {"10.0.1.21": "eni00000015"}
        assert {"eth0", "eth1", "eni00000015"} <= await watched.network.host_links()
    assert not watched.network.repairs


async def test_malformed_supply_is_a_problem_and_no_crash(watched: Watched) -> None:
    await watched.network.ensure(BOTH)
    broken = BOTH.enis[1].replace(prefixes=["10.0.1.300/28"])
    state = await watched.network.ensure(supply_of(PRIMARY, broken))
    assert "10.0.1.300" in state.problems[0]
    assert state.ready == READY
    assert (await watched.network.ensure(BOTH)).problems == ()


async def test_two_calls_at_once_end_with_the_later_supply(watched: Watched, node: Node) -> None:
    await asyncio.gather(watched.network.ensure(BOTH), watched.network.ensure(supply_of(PRIMARY)))
    assert not has_rule(node)
    assert watched.network.state.ready == {PRIMARY.eni_id}


async def test_missing_sysctl_folder_is_a_problem(node: Node, tmp_path: Path) -> None:
    with entered(node.path):
        network = HostNetwork(NetworkSettings(), proc_sys=tmp_path)
        state = await network.ensure(BOTH)
        await network.close()
    assert state.ready == frozenset()
    assert "net.ipv4.ip_forward must be 1" in " ".join(state.problems)
