"""The fabric delivers what AWS would deliver and loses what AWS would drop, with real links and packets."""

import dataclasses
import json
import socket

import pytest

from eni_lab.aws.engine.ports import Port
from eni_lab.fabric.desired import link_name
from eni_lab.fabric.firewall import DROP_REASONS, Drop
from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_lab.fabric.outside import PEERS
from eni_lab.kube.addresses import API_ADDRESS
from eni_testing.hosts import Host
from eni_testing.ports import eni_port
from eni_testing.routed import RoutedLab

pytestmark = pytest.mark.netns

A0 = eni_port("a", addresses=("10.0.1.11",), prefixes=("10.0.1.32/28",))
A1 = eni_port("a", 1, addresses=("10.0.1.21",))
B0 = eni_port("b")
SAME_SUBNET_B0 = dataclasses.replace(B0, subnet_id="subnet-1", subnet_cidr="10.0.1.0/24", primary_ip="10.0.1.200")


def add_address(node: Host, address: str, link: str = "eth0") -> None:
    node.run(["ip", "address", "add", f"{address}/32", "dev", link])


def link_names(host: Host) -> set[str]:
    return {link["ifname"] for link in json.loads(host.run(["ip", "-j", "link"]).stdout)}


def links_and_routes(host: Host) -> tuple[dict[str, int], str]:
    links = json.loads(host.run(["ip", "-j", "link"]).stdout)
    return {link["ifname"]: link["ifindex"] for link in links}, host.run(["ip", "-N", "route"]).stdout


@pytest.mark.parametrize("other", [B0, SAME_SUBNET_B0], ids=["another subnet", "the same subnet"])
def test_nodes_reach_each_other_by_primary_address(lab: RoutedLab, node_a: Host, node_b: Host, other: Port) -> None:
    lab.apply([A0, other])
    assert node_a.reaches(other.primary_ip)
    assert node_b.reaches(A0.primary_ip)


def test_control_plane_and_nodes_reach_each_other(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    assert node_a.reaches(API_ADDRESS)
    assert lab.reaches(A0.primary_ip)


def test_the_control_plane_sends_ordinary_frames_so_that_a_lowered_mtu_cuts_nobody_off(
    lab: RoutedLab, node_a: Host
) -> None:
    lab.apply([A0])
    with lab.call(socket.create_server, (API_ADDRESS, 7777)) as server:
        client = node_a.call(socket.create_connection, (API_ADDRESS, 7777), 5)
        with client, server.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1460
            node_a.run(["ip", "link", "set", "eth0", "mtu", "1500"])
            accepted.sendall(bytes(8000))
            client.settimeout(5)
            assert len(client.recv(8000, socket.MSG_WAITALL)) == 8000


def test_boot_eni_is_configured_and_others_are_left_to_the_node(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, A1])
    links = {link["ifname"]: link for link in json.loads(node_a.run(["ip", "-j", "address"]).stdout)}
    assert (links["eth0"]["address"], links["eth0"]["mtu"]) == (A0.mac, 9001)
    assert links["eth0"]["addr_info"][0]["local"] == A0.primary_ip
    assert (links["eth1"]["address"], links["eth1"]["mtu"]) == (A1.mac, 9001)
    assert "UP" not in links["eth1"]["flags"]
    assert links["eth1"]["addr_info"] == []


@pytest.mark.parametrize("address", ["10.0.1.11", "10.0.1.32", "10.0.1.47"], ids=["secondary", "first", "last"])
def test_secondary_address_and_whole_prefix_are_delivered(
    lab: RoutedLab, node_a: Host, node_b: Host, address: str
) -> None:
    lab.apply([A0, B0])
    add_address(node_a, address)
    assert node_b.reaches(address)
    assert node_a.reaches(B0.primary_ip, source=address)


@pytest.mark.usefixtures("node_b")
def test_address_sent_through_the_wrong_eni_is_dropped_and_counted(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, A1, B0])
    add_address(node_a, "10.0.1.21")  # belongs to eth1, but the only route leads through eth0
    assert not node_a.reaches(B0.primary_ip, source="10.0.1.21")
    assert Drop(link_name(A0.eni_id), "10.0.1.21", DROP_REASONS["spoofed"], 1) in lab.drops()


def test_address_sent_through_its_own_eni_is_delivered(lab: RoutedLab, node_a: Host, node_b: Host) -> None:
    lab.apply([A0, A1, B0])
    add_address(node_a, "10.0.1.21", "eth1")
    node_a.run(["ip", "link", "set", "eth1", "up"])
    node_a.run(["ip", "route", "add", "10.0.1.1", "dev", "eth1", "table", "2"])
    node_a.run(["ip", "route", "add", "default", "via", "10.0.1.1", "dev", "eth1", "table", "2"])
    node_a.run(["ip", "rule", "add", "from", "10.0.1.21", "lookup", "2"])
    assert node_a.reaches(B0.primary_ip, source="10.0.1.21")
    assert node_b.reaches("10.0.1.21")


@pytest.mark.usefixtures("node_b")
def test_frame_from_the_wrong_mac_is_dropped(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, B0])
    node_a.run(["ip", "link", "set", "eth0", "address", "02:00:00:00:00:99"])
    assert not node_a.reaches(B0.primary_ip)
    assert [drop.source for drop in lab.drops()] == [A0.primary_ip]


def test_traffic_to_an_address_nobody_owns_is_lost_without_an_answer(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, B0])
    for address in ("10.0.2.77", "10.0.1.77", "203.0.113.5"):
        ping = node_a.run(["ping", "-n", "-c1", "-W0.3", address], check=False)
        assert ping.returncode == 1
        assert "nreachable" not in ping.stdout


def test_unassigned_address_is_lost_and_reassigned_one_moves(lab: RoutedLab, node_a: Host, node_b: Host) -> None:
    lab.apply([A0, B0])
    add_address(node_a, "10.0.1.11")
    assert node_b.reaches("10.0.1.11")
    lab.apply([dataclasses.replace(A0, addresses=()), B0])
    assert not node_b.reaches("10.0.1.11", timeout=0.3)
    lab.apply([dataclasses.replace(A0, addresses=()), dataclasses.replace(B0, addresses=("10.0.1.11",))])
    add_address(node_b, "10.0.1.11")
    node_a.run(["ip", "address", "del", "10.0.1.11/32", "dev", "eth0"])
    assert node_a.reaches("10.0.1.11")


def test_detached_eni_disappears_from_router_and_node(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, A1])
    lab.apply([A0])
    assert link_name(A1.eni_id) not in link_names(lab)
    assert "eth1" not in link_names(node_a)


def test_device_index_is_free_for_another_eni_at_once(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, A1])
    lab.apply([A0, dataclasses.replace(A1, eni_id="eni-0000000000000a002", mac="02:00:00:00:0a:02")])
    assert json.loads(node_a.run(["ip", "-j", "link", "show", "eth1"]).stdout)[0]["address"] == "02:00:00:00:0a:02"


def test_unregistered_node_has_no_links_and_a_registered_one_gets_them(lab: RoutedLab) -> None:
    lab.apply([A0])
    assert link_name(A0.eni_id) not in link_names(lab)
    with Host() as node:
        lab.plug(A0.instance_id, node)
        lab.apply([A0])
        assert "eth0" in link_names(node)
        lab.fabric.unregister(A0.instance_id)
        lab.apply([A0])
        assert "eth0" not in link_names(node)


def test_registering_again_moves_links_even_while_the_old_namespace_lives(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    with Host() as rebooted:
        lab.plug(A0.instance_id, rebooted)
        lab.apply([A0])
        assert "eth0" not in link_names(node_a)
        assert lab.reaches(A0.primary_ip)


@pytest.mark.usefixtures("node_a")
def test_dead_node_does_not_stop_the_others(lab: RoutedLab) -> None:
    with Host() as dying:
        lab.plug(B0.instance_id, dying)
        lab.apply([A0, B0])
    lab.apply([A0, B0])
    assert lab.reaches(A0.primary_ip)


def test_name_taken_in_the_node_is_a_named_problem_and_mended_later(lab: RoutedLab, node_a: Host) -> None:
    node_a.run(["ip", "link", "add", "eth0", "type", "bridge"])
    lab.fabric.register(A0.instance_id, node_a.path)
    with pytest.raises(AssertionError, match=f"eth0 of {A0.eni_id} cannot be made"):
        lab.apply([A0])
    node_a.run(["ip", "link", "del", "eth0"])
    lab.apply([A0])
    assert lab.reaches(A0.primary_ip)


def test_only_the_primary_address_has_a_way_outside(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    add_address(node_a, "10.0.1.11")
    assert node_a.reaches(OUTSIDE)
    assert not node_a.reaches(OUTSIDE, source="10.0.1.11")
    assert Drop(link_name(A0.eni_id), "10.0.1.11", DROP_REASONS["no_way_out"], 1) in lab.drops()


def test_outside_host_sees_the_primary_address(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0])
    fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    assert node_a.run(["python3", "-c", fetch, f"http://{OUTSIDE}/"]).stdout.strip() == A0.primary_ip


@pytest.mark.usefixtures("node_b")
def test_gateway_answers_arp_at_once_and_is_otherwise_silent(lab: RoutedLab, node_a: Host) -> None:
    lab.apply([A0, SAME_SUBNET_B0])
    assert not node_a.reaches("10.0.1.1", timeout=0.3)
    assert node_a.reaches(SAME_SUBNET_B0.primary_ip, timeout=0.3)
    router_mac = json.loads(lab.run(["ip", "-j", "link", "show", link_name(A0.eni_id)]).stdout)[0]["address"]
    neighbours = {entry["dst"]: entry.get("lladdr") for entry in json.loads(node_a.run(["ip", "-j", "neigh"]).stdout)}
    assert neighbours == {"10.0.1.1": router_mac, SAME_SUBNET_B0.primary_ip: router_mac}


@pytest.mark.usefixtures("node_a")
def test_applying_the_same_ports_again_changes_nothing(lab: RoutedLab) -> None:
    lab.apply([A0, A1])
    before = links_and_routes(lab)
    lab.apply([A0, A1])
    assert links_and_routes(lab) == before


@pytest.mark.parametrize("peer", PEERS)
def test_a_peered_network_sees_and_reaches_every_owned_address(lab: RoutedLab, node_a: Host, peer: str) -> None:
    lab.apply([A0])
    add_address(node_a, "10.0.1.11")
    assert node_a.reaches(peer, source="10.0.1.11")
    assert node_a.reaches(peer)
    assert lab.drops() == []
    add_address(node_a, "10.0.1.12")
    assert not node_a.reaches(peer, source="10.0.1.12")
    assert [drop.reason for drop in lab.drops()] == [DROP_REASONS["spoofed"]]
