"""The fabric delivers in IPv6 what AWS would deliver and loses what AWS would drop, with real links and packets."""

import dataclasses
import json
import subprocess

import pytest

from eni_lab.fabric import outside
from eni_lab.fabric.desired import link_name
from eni_lab.fabric.firewall import DROP_REASONS
from eni_testing.hosts import Host
from eni_testing.ports import eni_port
from eni_testing.routed import RoutedLab
from eni_testing.vpc import vpc

pytestmark = pytest.mark.netns

HERE, THERE = "2600:1f18::5", "2600:1f18:0:1::5"
IN_PREFIX, BEYOND_PREFIX = "2600:1f18::a:0:0:7", "2600:1f18::b:0:0:7"
A0 = eni_port("a", ipv6_addresses=(HERE,), ipv6_prefixes=("2600:1f18::a:0:0:0/80",))
A1 = eni_port("a", 1, ipv6_prefixes=("2600:1f18::c:0:0:0/80",))
ON_A1 = "2600:1f18::c:0:0:7"
B0 = eni_port("b", ipv6_addresses=(THERE,))
SPOOFED = DROP_REASONS["spoofed"]
SEES = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def add_address(node: Host, address: str, link: str = "eth0") -> None:
    node.run(["ip", "address", "add", f"{address}/128", "dev", link, "nodad"])


def seen_outside(node: Host, address: str) -> str:
    return node.run(["python3", "-c", SEES, f"http://[{address}]/"]).stdout.strip()


def test_nodes_reach_each_other(lab: RoutedLab, node_a: Host, node_b: Host) -> None:
    lab.apply([A0, B0])
    assert node_a.reaches(THERE)
    assert node_b.reaches(HERE)


def test_the_boot_eni_is_configured_and_others_are_left_to_the_node(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, A1])
    links = {link["ifname"]: link for link in json.loads(node_a.run(["ip", "-6", "-j", "address"]).stdout)}
    assert [one["local"] for one in links["eth0"]["addr_info"] if one["scope"] == "global"] == [HERE]
    assert "eth1" not in links
    [default] = json.loads(node_a.run(["ip", "-6", "-j", "route", "show", "default"]).stdout)
    assert (default["gateway"], default["dev"]) == ("fe80:ec2::1", "eth0")


@pytest.mark.parametrize("address", [IN_PREFIX, "2600:1f18::a:0:0:0", "2600:1f18::a:ffff:ffff:ffff"])
def test_a_whole_prefix_is_delivered(lab: RoutedLab, node_a: Host, node_b: Host, address: str) -> None:
    lab.apply([A0, B0])
    add_address(node_a, address)
    assert node_b.reaches(address)
    assert node_a.reaches(THERE, source=address)


@pytest.mark.usefixtures("node_b")
@pytest.mark.parametrize("address", [BEYOND_PREFIX, ON_A1], ids=["of nobody", "of the other ENI"])
def test_a_source_that_is_not_the_enis_is_dropped_and_counted(lab: RoutedLab, node_a: Host, address: str) -> None:
    lab.apply([A0, A1, B0])
    add_address(node_a, address)
    assert not node_a.reaches(THERE, source=address)
    dropped = {(drop.link, drop.source, drop.reason) for drop in lab.drops()}  # the search for the gateway counts too
    assert (link_name(A0.eni_id), address, SPOOFED) in dropped


def test_a_secondary_eni_is_reached_through_the_gateway_of_every_link(
    lab: RoutedLab, node_a: Host, node_b: Host
) -> None:
    lab.apply([A0, A1, B0])
    node_a.run(["ip", "link", "set", "eth1", "up"])
    add_address(node_a, ON_A1, "eth1")
    node_a.run(["ip", "-6", "route", "add", "default", "via", "fe80:ec2::1", "dev", "eth1", "table", "2"])
    node_a.run(["ip", "-6", "rule", "add", "from", ON_A1, "lookup", "2"])
    assert node_a.reaches(THERE, source=ON_A1, timeout=5)  # eth1's own link-local address must pass its check first
    assert node_b.reaches(ON_A1)
    assert {drop for drop in lab.drops() if ":" in drop.source} == set()


@pytest.mark.usefixtures("node_b")
def test_a_frame_from_the_wrong_mac_is_dropped(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, B0])
    node_a.run(["ip", "link", "set", "eth0", "address", "02:00:00:00:00:99"])
    assert not node_a.reaches(THERE)
    assert HERE in {drop.source for drop in lab.drops()}


def test_traffic_to_an_address_nobody_owns_is_lost_without_an_answer(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, B0])
    for address in (BEYOND_PREFIX, "2600:1f18:0:1::77", "2001:db8::5"):
        ping = node_a.run(["ping", "-n", "-c1", "-W0.3", address], check=False)
        assert ping.returncode == 1
        assert "nreachable" not in ping.stdout


def test_an_unassigned_prefix_is_lost_and_a_reassigned_one_moves(lab: RoutedLab, node_a: Host, node_b: Host) -> None:
    lab.apply([A0, B0])
    add_address(node_a, IN_PREFIX)
    assert node_b.reaches(IN_PREFIX)
    without = dataclasses.replace(A0, ipv6_prefixes=())
    lab.apply([without, B0])
    assert not node_b.reaches(IN_PREFIX, timeout=0.3)
    lab.apply([without, dataclasses.replace(B0, ipv6_prefixes=A0.ipv6_prefixes)])
    add_address(node_b, IN_PREFIX)
    node_a.run(["ip", "address", "del", f"{IN_PREFIX}/128", "dev", "eth0"])
    assert node_a.reaches(IN_PREFIX)


def test_the_gateway_is_found_and_is_otherwise_silent(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    assert not node_a.reaches("fe80:ec2::1%eth0", timeout=0.3)
    router_mac = json.loads(lab.run(["ip", "-j", "link", "show", link_name(A0.eni_id)]).stdout)[0]["address"]
    found = {one["dst"]: one.get("lladdr") for one in json.loads(node_a.run(["ip", "-6", "-j", "neigh"]).stdout)}
    assert found == {"fe80:ec2::1": router_mac}


@pytest.mark.usefixtures("node_b")
def test_a_link_local_address_leads_nowhere(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, B0])
    [own] = [
        one["local"]
        for one in json.loads(node_a.run(["ip", "-6", "-j", "address", "show", "eth0"]).stdout)[0]["addr_info"]
        if one["scope"] == "link"
    ]
    assert not node_a.reaches(THERE, source=own, timeout=0.3)


def test_every_owned_address_has_a_way_outside_and_is_seen_as_it_is(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    assert seen_outside(node_a, outside.IPV6_ADDRESS) == HERE
    add_address(node_a, IN_PREFIX)
    assert node_a.reaches(outside.IPV6_ADDRESS, source=IN_PREFIX)


def test_from_outside_an_address_is_reached(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    ping = ["ping", "-n", "-c1", "-W1", HERE]
    pid = lab.fabric.outside_pid
    assert subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *ping], check=False).returncode == 0
    assert node_a.reaches(HERE)


@pytest.mark.usefixtures("node_a")
def test_applying_the_same_ports_again_changes_nothing(lab: RoutedLab) -> None:
    lab.apply([A0, A1])
    before = lab.run(["ip", "-6", "-N", "route", "show", "proto", "187"]).stdout
    lab.apply([A0, A1])
    assert lab.run(["ip", "-6", "-N", "route", "show", "proto", "187"]).stdout == before
    assert "2600:1f18:0:0:a::/80 via fe80::2" in before


def test_what_the_api_assigns_is_what_packets_meet() -> None:
    with vpc(nodes=0) as cloud:
        cloud.engine.call("AssociateVpcCidrBlock", {"VpcId": cloud.vpc_id, "AmazonProvidedIpv6CidrBlock": True})
        [block] = cloud.engine.call("DescribeVpcs", {})["Vpcs"][0]["Ipv6CidrBlockAssociationSet"]
        cidr = block["Ipv6CidrBlock"].replace("/56", "/64")
        subnet = cloud.add_subnet("a", "10.0.7.0/24", ipv6=cidr)
        interface = {"DeviceIndex": 0, "SubnetId": subnet, "Ipv6AddressCount": 1}
        here, there = (cloud.add_node(interfaces=[interface]) for _ in range(2))
        [address] = cloud.ports(there)[0].ipv6_addresses
        assert here.reaches(address)
        eni_id = cloud.ports(there)[0].eni_id
        request = {"NetworkInterfaceId": eni_id, "Ipv6PrefixCount": 1}
        [prefix] = cloud.engine.call("AssignIpv6Addresses", request)["AssignedIpv6Prefixes"]
        cloud.sync()
        in_prefix = prefix.replace("/80", "7")
        add_address(there, in_prefix)
        assert here.reaches(in_prefix)
        cloud.engine.call("UnassignIpv6Addresses", {"NetworkInterfaceId": eni_id, "Ipv6Prefixes": [prefix]})
        cloud.sync()
        assert not here.reaches(in_prefix, timeout=0.3)
