"""The engine and the fabric together: what EC2 calls change is what packets meet."""

import json

import pytest

from eni_lab.fabric.desired import link_name
from eni_testing.hosts import Host
from eni_testing.vpc import vpc

pytestmark = pytest.mark.netns


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


def test_terminated_instance_loses_its_links() -> None:
    with vpc() as cloud:
        [node] = cloud.nodes
        cloud.engine.call("TerminateInstances", {"InstanceIds": [node.instance_id]})
        cloud.sync()
        assert "eth0" not in links(node)
