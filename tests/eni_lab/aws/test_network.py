from ipaddress import IPv6Network
from typing import Any

import pytest

from eni_testing.ec2_engine import EngineLab


@pytest.mark.parametrize("cidr", ["10.0.0.0/15", "10.0.0.0/29"])
def test_a_vpc_is_between_16_and_28(lab: EngineLab, cidr: str) -> None:
    with lab.refused("InvalidVpc.Range", f"The CIDR '{cidr}' is invalid."):
        lab.call("CreateVpc", CidrBlock=cidr)


def test_a_vpc_can_get_a_second_block_and_subnets_in_it(lab: EngineLab) -> None:
    vpc = lab.seed.vpc_id
    with lab.refused("InvalidSubnet.Range"):
        lab.call("CreateSubnet", VpcId=vpc, CidrBlock="100.64.0.0/24")
    lab.call("AssociateVpcCidrBlock", VpcId=vpc, CidrBlock="100.64.0.0/16")
    lab.call("CreateSubnet", VpcId=vpc, CidrBlock="100.64.0.0/24")
    [shown] = lab.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"]
    assert shown["CidrBlock"] == "10.0.0.0/16"
    blocks = [block["CidrBlock"] for block in shown["CidrBlockAssociationSet"]]
    assert blocks == ["10.0.0.0/16", "100.64.0.0/16"]
    with lab.refused("InvalidVpc.Range", "conflicts"):
        lab.call("AssociateVpcCidrBlock", VpcId=vpc, CidrBlock="10.0.128.0/17")


def test_a_vpc_can_get_an_ipv6_block(lab: EngineLab) -> None:
    reply = lab.call("AssociateVpcCidrBlock", VpcId=lab.seed.vpc_id, AmazonProvidedIpv6CidrBlock=True)
    block = reply["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"]
    assert block.endswith("/56")
    request = {"VpcId": lab.seed.vpc_id, "CidrBlock": "10.0.9.0/24", "Ipv6CidrBlock": block.replace("/56", "/64")}
    subnet = lab.call("CreateSubnet", **request)["Subnet"]
    assert subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == request["Ipv6CidrBlock"]
    for other in ("2001:db8::/64", block):
        with lab.refused("InvalidSubnet.Range"):
            lab.call("CreateSubnet", **{**request, "CidrBlock": "10.0.10.0/24", "Ipv6CidrBlock": other})


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"CidrBlock": "10.0.1.128/25"}, "InvalidSubnet.Conflict"),
        ({"CidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"),
        ({"CidrBlock": "10.0.9.0/29"}, "InvalidSubnet.Range"),
        ({"CidrBlock": "ten"}, "InvalidParameterValue"),
        ({"AvailabilityZone": "us-east-1z"}, "InvalidParameterValue"),
        ({"VpcId": "vpc-1"}, "InvalidVpcID.NotFound"),
    ],
)
def test_a_bad_subnet_is_refused(lab: EngineLab, args: dict[str, Any], code: str) -> None:
    with lab.refused(code):
        lab.call("CreateSubnet", **{"VpcId": lab.seed.vpc_id, "CidrBlock": "10.0.9.0/24", **args})


def test_a_subnet_knows_its_zone_by_name_and_id(lab: EngineLab) -> None:
    request = {"VpcId": lab.seed.vpc_id, "CidrBlock": "10.0.9.0/24", "AvailabilityZoneId": "use1-az3"}
    subnet = lab.call("CreateSubnet", **request)["Subnet"]
    assert (subnet["AvailabilityZone"], subnet["AvailabilityZoneId"]) == ("us-east-1c", "use1-az3")
    assert subnet["AvailableIpAddressCount"] == 251


def test_every_vpc_has_a_default_group_of_its_own(lab: EngineLab) -> None:
    lab.call("CreateVpc", CidrBlock="10.9.0.0/16")
    default = [{"Name": "group-name", "Values": ["default"]}]
    groups = lab.call("DescribeSecurityGroups", Filters=default)["SecurityGroups"]
    assert len({group["VpcId"] for group in groups}) == 2


def test_a_group_name_is_unique_in_its_vpc(lab: EngineLab) -> None:
    request = {"VpcId": lab.seed.vpc_id, "GroupName": "nodes-a", "Description": "again"}
    with lab.refused("InvalidGroup.Duplicate", "The security group 'nodes-a' already exists"):
        lab.call("CreateSecurityGroup", **request)
    with lab.refused("InvalidParameterValue", "reserved security group name"):
        lab.call("CreateSecurityGroup", **{**request, "GroupName": "default"})
    with lab.refused("InvalidGroup.NotFound", "The security group 'sg-1' does not exist"):
        lab.call("DescribeSecurityGroups", GroupIds=["sg-1"])


def test_a_reservation_is_kept_listed_and_given_back(lab: EngineLab) -> None:
    subnet = lab.seed.subnet_ids[0]
    request = {"SubnetId": subnet, "Cidr": "10.0.1.64/26", "ReservationType": "prefix"}
    made = lab.call("CreateSubnetCidrReservation", **request)["SubnetCidrReservation"]
    listed = lab.call("GetSubnetCidrReservations", SubnetId=subnet)["SubnetIpv4CidrReservations"]
    assert listed == [made]
    prefixes = [entry["Ipv4Prefix"] for entry in lab.show(lab.eni(Ipv4PrefixCount=4))["Ipv4Prefixes"]]
    assert sorted(prefixes) == ["10.0.1.112/28", "10.0.1.64/28", "10.0.1.80/28", "10.0.1.96/28"]
    gone = lab.call("DeleteSubnetCidrReservation", SubnetCidrReservationId=made["SubnetCidrReservationId"])
    assert gone["DeletedSubnetCidrReservation"] == made
    assert lab.call("GetSubnetCidrReservations", SubnetId=subnet)["SubnetIpv4CidrReservations"] == []


def test_a_bad_reservation_is_refused(lab: EngineLab) -> None:
    subnet = lab.seed.subnet_ids[0]
    good = {"SubnetId": subnet, "Cidr": "10.0.1.64/26", "ReservationType": "prefix"}
    lab.call("CreateSubnetCidrReservation", **good)
    with lab.refused("InvalidSubnetCidrReservation.Overlap"):
        lab.call("CreateSubnetCidrReservation", **{**good, "Cidr": "10.0.1.64/28"})
    for change in ({"ReservationType": "soft"}, {"Cidr": "10.0.2.0/28"}, {"Cidr": "x"}):
        with lab.refused("InvalidParameterValue"):
            lab.call("CreateSubnetCidrReservation", **{**good, **change})
    with lab.refused("InvalidSubnetCidrReservationId.NotFound"):
        lab.call("DeleteSubnetCidrReservation", SubnetCidrReservationId="scr-1")


def test_a_full_prefix_reservation_falls_back_as_the_knob_says(lab: EngineLab) -> None:
    subnet = lab.seed.subnet_ids[0]
    lab.call("CreateSubnetCidrReservation", SubnetId=subnet, Cidr="10.0.1.64/28", ReservationType="prefix")
    lab.engine.configure(prefix_reservation_fallback=False)
    with lab.refused("InsufficientCidrBlocks"):
        lab.eni(Ipv4PrefixCount=2)
    lab.engine.configure(prefix_reservation_fallback=True)
    lab.eni(Ipv4PrefixCount=2)


def test_subnets_are_found_by_zone_tag_and_id_page_by_page(lab: EngineLab) -> None:
    tags = [{"ResourceType": "subnet", "Tags": [{"Key": "pods", "Value": "yes"}]}]
    request = {"VpcId": lab.seed.vpc_id, "AvailabilityZone": "us-east-1a", "TagSpecifications": tags}
    made = {
        lab.call("CreateSubnet", CidrBlock=f"10.0.{number}.0/24", **request)["Subnet"]["SubnetId"]
        for number in range(10, 18)
    }
    filters = [
        {"Name": "vpc-id", "Values": [lab.seed.vpc_id]},
        {"Name": "availability-zone", "Values": ["us-east-1a"]},
        {"Name": "tag:pods", "Values": ["yes"]},
        {"Name": "tag-key", "Values": ["pods"]},
    ]
    first = lab.call("DescribeSubnets", Filters=filters, MaxResults=5)
    second = lab.call("DescribeSubnets", Filters=filters, MaxResults=5, NextToken=first["NextToken"])
    assert (len(first["Subnets"]), second["NextToken"]) == (5, None)
    assert {subnet["SubnetId"] for subnet in first["Subnets"] + second["Subnets"]} == made
    by_id = [{"Name": "subnet-id", "Values": [*made, "subnet-00000000000000000"]}]
    assert len(lab.call("DescribeSubnets", Filters=by_id, MaxResults=100)["Subnets"]) == 8


def test_reservations_come_page_by_page(lab: EngineLab) -> None:
    subnet = lab.seed.subnet_ids[0]
    cidrs = {f"10.0.1.{16 * block}/28" for block in range(1, 8)}
    for cidr in cidrs:
        lab.call("CreateSubnetCidrReservation", SubnetId=subnet, Cidr=cidr, ReservationType="explicit")
    first = lab.call("GetSubnetCidrReservations", SubnetId=subnet, MaxResults=5)
    second = lab.call("GetSubnetCidrReservations", SubnetId=subnet, MaxResults=5, NextToken=first["NextToken"])
    listed = first["SubnetIpv4CidrReservations"] + second["SubnetIpv4CidrReservations"]
    assert (len(listed), {one["Cidr"] for one in listed}, second["NextToken"]) == (7, cidrs, None)


def test_a_dual_stack_eni_is_made_with_an_80_of_its_subnet(lab: EngineLab) -> None:
    lab.call("AssociateVpcCidrBlock", VpcId=lab.seed.vpc_id, AmazonProvidedIpv6CidrBlock=True)
    [vpc] = lab.call("DescribeVpcs", VpcIds=[lab.seed.vpc_id])["Vpcs"]
    [block] = [one["Ipv6CidrBlock"] for one in vpc["Ipv6CidrBlockAssociationSet"]]
    half = block.replace("/56", "/64")
    subnet = lab.call("CreateSubnet", VpcId=lab.seed.vpc_id, CidrBlock="10.0.9.0/24", Ipv6CidrBlock=half)["Subnet"]
    request = {"SubnetId": subnet["SubnetId"], "Ipv6PrefixCount": 1}
    eni = lab.call("CreateNetworkInterface", **request)["NetworkInterface"]
    [prefix] = [IPv6Network(one["Ipv6Prefix"]) for one in eni["Ipv6Prefixes"]]
    assert (prefix.prefixlen, prefix.subnet_of(IPv6Network(half))) == (80, True)
    with lab.refused("InvalidParameterValue", "does not have an IPv6 CIDR block"):
        lab.eni(Ipv6PrefixCount=1)
