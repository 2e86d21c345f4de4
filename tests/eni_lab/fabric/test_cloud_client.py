"""What the laboratory's administrator, and others, do to the cloud through its endpoints."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from eni_lab.cloud_acts import NO_MANAGE
from eni_lab.cloud_client import ZONES, Cloud
from eni_lab.errors import LabError
from eni_lab.vpc_layout import SUBNETS, VPC_BLOCKS
from eni_testing.hosts import Host

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The cloud's process with the laboratory's VPC in it; each test launches what it needs."""
    with Host() as host:
        program = [sys.executable, "-m", "eni_lab.cloud", "--no-service-times"]
        with subprocess.Popen(["nsenter", f"--net={host.path}", *program], stderr=subprocess.DEVNULL) as process:
            client = Cloud(host.pid)
            client.wait_until_up()
            client.create_vpc()
            yield client
            client.close()
            process.kill()


def tags_of(eni: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in eni["TagSet"]}


def test_the_vpc_has_every_subnet_of_the_plan(cloud: Cloud) -> None:
    [vpc] = cloud.ec2("describe_vpcs")["Vpcs"]
    assert tuple(block["CidrBlock"] for block in vpc["CidrBlockAssociationSet"]) == VPC_BLOCKS
    described = {subnet["SubnetId"]: subnet for subnet in cloud.ec2("describe_subnets")["Subnets"]}
    for plan in SUBNETS:
        subnet = described.pop(cloud.subnet(plan.name))
        assert (subnet["CidrBlock"], subnet["AvailabilityZone"]) == (plan.cidr, plan.zone.name)
        assert len(subnet["Ipv6CidrBlockAssociationSet"]) == (plan.ipv6 is not None)
        kept = cloud.ec2("get_subnet_cidr_reservations", SubnetId=subnet["SubnetId"])["SubnetIpv4CidrReservations"]
        assert [one["Cidr"] for one in kept] == ([plan.reserved] if plan.reserved else [])
    assert described == {}


def test_a_name_that_nothing_has_is_said(cloud: Cloud) -> None:
    with pytest.raises(LabError, match="nothing is called 'pods-z'"):
        cloud.subnet("pods-z")


def test_somebody_else_attaches_tags_and_changes_groups(cloud: Cloud) -> None:
    instance = cloud.run_instance("n1", "m5.large", ZONES[0]).instance_id
    foreign = cloud.attach_foreign_eni(instance, subnet="pods-a", addresses=2, tags=NO_MANAGE)
    primary, other = cloud.enis(instance)
    assert (other["NetworkInterfaceId"], other["Attachment"]["DeviceIndex"]) == (foreign, 2)
    assert (tags_of(other), len(other["PrivateIpAddresses"])) == (NO_MANAGE, 3)
    assert other["SubnetId"] == cloud.subnet("pods-a")
    cloud.untag(foreign, *NO_MANAGE)
    cloud.set_groups(primary["NetworkInterfaceId"], "pods", "other")
    primary, other = cloud.enis(instance)
    assert [group["GroupName"] for group in primary["Groups"]] == ["pods", "other"]
    assert tags_of(other) == {}
    cloud.attach_foreign_eni(instance)
    with pytest.raises(LabError, match="has 3 ENIs already, 3 fit on card 0"):
        cloud.attach_foreign_eni(instance)


def test_an_instance_is_launched_with_efa_only_enis(cloud: Cloud) -> None:
    more = {"NetworkCardIndex": 1, "DeviceIndex": 1, "InterfaceType": "efa-only"}
    instance = cloud.run_instance("n2", "p4d.24xlarge", ZONES[1], [{"DeviceIndex": 0}, more])
    primary, other = cloud.enis(instance.instance_id)
    assert primary["PrivateIpAddress"] == instance.address
    assert (other["InterfaceType"], "PrivateIpAddress" in other) == ("efa-only", False)


def test_a_fault_lasts_as_long_as_its_block(cloud: Cloud) -> None:
    with cloud.fault(action="DescribeVpcs", code="InternalError", status=400):
        for _ in range(2):
            with pytest.raises(LabError, match="InternalError"):
                cloud.ec2("describe_vpcs")
    cloud.ec2("describe_vpcs")


def test_expired_credentials_denials_and_knobs_are_given_back(cloud: Cloud) -> None:
    with cloud.expired_credentials("eni-lab"), pytest.raises(LabError, match="RequestExpired"):
        cloud.ec2("describe_vpcs")
    with cloud.denied("DescribeVpcs"), pytest.raises(LabError, match=r"not authorized to perform: ec2:DescribeVpcs"):
        cloud.ec2("describe_vpcs")
    with cloud.knobs(eni_quota=0), pytest.raises(LabError, match="NetworkInterfaceLimitExceeded"):
        cloud.ec2("create_network_interface", SubnetId=cloud.subnet("pods-a"))
    eni = cloud.ec2("create_network_interface", SubnetId=cloud.subnet("pods-a"))["NetworkInterface"]
    cloud.ec2("delete_network_interface", NetworkInterfaceId=eni["NetworkInterfaceId"])


def test_the_endpoint_is_away_for_an_address_as_long_as_the_block(cloud: Cloud) -> None:
    with cloud.endpoint_away("10.0.1.77", "unheard"):
        assert cloud.control("GET", "/_lab/fabric")["outages"] == {"10.0.1.77": "unheard"}
    assert cloud.control("GET", "/_lab/fabric")["outages"] == {}


@pytest.mark.parametrize(("subnet", "free"), [("small-a", 11), ("tight-b", 27), ("kept-b", 251)])
def test_free_addresses_are_as_ec2_counts_them(cloud: Cloud, subnet: str, free: int) -> None:
    assert cloud.free_addresses(subnet) == free
