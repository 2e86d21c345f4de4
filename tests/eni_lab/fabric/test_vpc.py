"""The engine and the fabric together: what EC2 calls change is what packets meet."""

import json
from ipaddress import IPv4Network

import pytest

from eni_lab.fabric.desired import link_name
from eni_testing.hosts import Host
from eni_testing.vpc import vpc

pytestmark = pytest.mark.netns


EFA = {"DeviceIndex": 1, "NetworkCardIndex": 1, "InterfaceType": "efa"}
EFA_ONLY = {"DeviceIndex": 1, "NetworkCardIndex": 2, "InterfaceType": "efa-only"}


def links(host: Host) -> dict[str, str]:
    return {link["ifname"]: link["address"] for link in json.loads(host.run(["ip", "-j", "link"]).stdout)}


def test_two_instances_reach_each_other_across_zones() -> None:
    with vpc(nodes=2) as cloud:
        here, there = cloud.nodes
        assert here.reaches(there.primary_ip)
        assert there.reaches(here.primary_ip)


def test_attached_eni_shows_in_the_node_and_leaves_when_detached() -> None:
    with vpc() as cloud:
        [node] = cloud.nodes
        eni = cloud.attach(node, device_index=1, addresses=2)
        assert links(node)["eth1"] == eni.mac
        cloud.detach(eni.eni_id)
        assert "eth1" not in links(node)


def test_link_waits_for_the_attachment_and_outlives_the_detach_call() -> None:
    with vpc(knobs={"link_seconds": 1.5, "detaching_seconds": 2.0}) as cloud:
        cloud.clock.advance(10)
        cloud.sync()
        [node] = cloud.nodes
        eni_id = cloud.create_eni(cloud.ports(node)[0].subnet_id)
        request = {"NetworkInterfaceId": eni_id, "InstanceId": node.instance_id, "DeviceIndex": 1}
        cloud.engine.call("AttachNetworkInterface", request)
        cloud.clock.advance(1.4)
        cloud.sync()
        assert "eth1" not in links(node)
        cloud.clock.advance(0.1)
        cloud.sync()
        assert "eth1" in links(node)
        cloud.detach(eni_id)
        assert "eth1" in links(node)
        cloud.clock.advance(2.0)
        cloud.sync()
        assert "eth1" not in links(node)


def test_assigned_address_is_delivered_and_unassigned_one_is_lost() -> None:
    with vpc(nodes=2) as cloud:
        here, there = cloud.nodes
        eni = cloud.assign(cloud.ports(here)[0].eni_id, addresses=1)
        [address] = eni.addresses
        here.run(["ip", "address", "add", f"{address}/32", "dev", "eth0"])
        assert there.reaches(address)
        cloud.unassign(eni.eni_id, address)
        assert not there.reaches(address, timeout=0.3)
        assert not here.reaches(there.primary_ip, source=address, timeout=0.3)
        assert cloud.dropped() == {(link_name(eni.eni_id), address)}


@pytest.mark.parametrize("cidr", ["10.0.11.0/28", "100.64.1.0/24"], ids=["same block", "second block of the VPC"])
def test_pods_on_enis_of_other_subnets_reach_each_other_across_nodes(cidr: str) -> None:
    with vpc(nodes=2) as cloud:
        if cidr.startswith("100."):
            cloud.engine.call("AssociateVpcCidrBlock", {"VpcId": cloud.vpc_id, "CidrBlock": "100.64.0.0/16"})
        here, there = cloud.nodes
        eni = cloud.attach(here, device_index=1, subnet_id=cloud.add_subnet("a", cidr), addresses=1)
        [address] = eni.addresses
        gateway = str(IPv4Network(cidr)[1])
        here.run(["ip", "address", "add", f"{address}/32", "dev", "eth1"])
        here.run(["ip", "link", "set", "eth1", "up"])
        here.run(["ip", "route", "add", "default", "via", gateway, "dev", "eth1", "onlink", "table", "2"])
        here.run(["ip", "rule", "add", "from", address, "lookup", "2"])
        assert there.reaches(address)
        assert here.reaches(there.primary_ip, source=address)
        cloud.unassign(eni.eni_id, address)
        assert not there.reaches(address, timeout=0.3)


def test_an_efa_only_eni_leaves_its_node_without_a_link() -> None:
    with vpc(nodes=0) as cloud:
        node = cloud.add_node(instance_type="p4d.24xlarge", interfaces=[{"DeviceIndex": 0}, EFA, EFA_ONLY])
        assert set(links(node)) == {"lo", "eth0", "eth1x1"}


def test_terminated_instance_loses_its_links() -> None:
    with vpc() as cloud:
        [node] = cloud.nodes
        cloud.engine.call("TerminateInstances", {"InstanceIds": [node.instance_id]})
        cloud.sync()
        assert "eth0" not in links(node)
