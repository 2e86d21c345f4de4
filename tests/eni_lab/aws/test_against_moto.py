"""The same script on the stand-in and on moto, where moto is right: two readings of EC2's reference must agree.

Not compared, since moto is wrong there: prefixes, exhaustion, limits per type, states of ENIs and attachments, delete
on termination, ClientToken, pages, replies of Assign, uniqueness of addresses, descriptions of reservations.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore import parsers, serialize
from botocore.session import get_session
from moto import mock_aws

from eni_lab.aws import wire
from eni_lab.aws.engine.errors import Ec2Error
from eni_testing.ec2_engine import EngineLab

Api = Callable[..., Any]
"""Performs an operation and returns its reply, or the code of its error as a string."""

OLD_INSTANCE_TYPES = ("t3.medium", "m5.large", "c5.xlarge", "m5.metal", "p4d.24xlarge", "m4.large")


def standin_api() -> Api:
    """Speaks EC2's protocol to an engine: botocore writes the form and reads the XML."""
    engine = EngineLab().engine
    serializer, parser = serialize.create_serializer("ec2"), parsers.create_parser("ec2")

    def api(operation: str, **args: Any) -> Any:
        model = wire.service_model().operation_model(operation)
        form = urlencode(serializer.serialize_to_request(args, model)["body"])
        try:
            text = wire.render_reply(operation, engine.call(*wire.parse_request(form)), "request")
        except Ec2Error as error:
            return error.code
        return parser.parse({"body": text.encode(), "headers": {}, "status_code": 200}, model.output_shape)

    return api


def moto_api() -> Api:
    """Speaks to moto through botocore."""
    client = get_session().create_client("ec2", region_name="us-east-1")
    names = {operation: method for method, operation in client.meta.method_to_api_mapping.items()}

    def api(operation: str, **args: Any) -> Any:
        try:
            return getattr(client, names[operation])(**args)
        except client.exceptions.ClientError as error:
            return error.response["Error"]["Code"]

    return api


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Api, Api]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield standin_api(), moto_api()


class Seed:
    """A VPC 10.7.0.0/16 with a subnet and a group."""

    def __init__(self, api: Api) -> None:
        self.vpc = api("CreateVpc", CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        zone = {"AvailabilityZone": "us-east-1b"}
        self.subnet = api("CreateSubnet", VpcId=self.vpc, CidrBlock="10.7.1.0/24", **zone)["Subnet"]["SubnetId"]
        self.group = api("CreateSecurityGroup", GroupName="g", Description="d", VpcId=self.vpc)["GroupId"]

    def eni(self, api: Api, **args: Any) -> Any:
        return api("CreateNetworkInterface", SubnetId=self.subnet, Groups=[self.group], **args)["NetworkInterface"]


def a_new_subnet(api: Api) -> Any:
    seed = Seed(api)
    [subnet] = api("DescribeSubnets", SubnetIds=[seed.subnet])["Subnets"]
    names = ("CidrBlock", "AvailabilityZone", "AvailableIpAddressCount", "State", "OwnerId", "MapPublicIpOnLaunch")
    return {name: subnet[name] for name in names}


def a_new_eni(api: Api) -> Any:
    eni = Seed(api).eni(api, Description="mine", PrivateIpAddress="10.7.1.10")
    names = ("Description", "PrivateIpAddress", "AvailabilityZone", "SourceDestCheck", "InterfaceType")
    groups = [group["GroupName"] for group in eni["Groups"]]
    addresses = [(entry["PrivateIpAddress"], entry["Primary"]) for entry in eni["PrivateIpAddresses"]]
    return {name: eni[name] for name in names} | {"groups": groups, "addresses": addresses}


def tags_on_creation_and_later(api: Api) -> Any:
    seed = Seed(api)
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    eni = seed.eni(api, TagSpecifications=[{"ResourceType": "network-interface", "Tags": tags}])["NetworkInterfaceId"]
    api("CreateTags", Resources=[eni], Tags=[{"Key": "b", "Value": "3"}, {"Key": "c", "Value": "4"}])
    api("DeleteTags", Resources=[eni], Tags=[{"Key": "a"}])
    shown = api("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["TagSet"]
    listed = api("DescribeTags", Filters=[{"Name": "resource-id", "Values": [eni]}])["Tags"]
    kinds = {tag["ResourceType"] for tag in listed}
    return sorted((tag["Key"], tag["Value"]) for tag in shown), sorted(tag["Key"] for tag in listed), kinds


def too_many_tags(api: Api) -> Any:
    eni = Seed(api).eni(api)["NetworkInterfaceId"]
    return api("CreateTags", Resources=[eni], Tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)])


def what_does_not_exist(api: Api) -> Any:
    seed = Seed(api)
    eni = "eni-0123456789abcdef0"
    return [
        api("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni]),
        api("DeleteNetworkInterface", NetworkInterfaceId=eni),
        api("CreateNetworkInterface", SubnetId="subnet-0123456789abcdef0"),
        api("DescribeSubnets", SubnetIds=["subnet-0123456789abcdef0"]),
        api("DescribeVpcs", VpcIds=["vpc-0123456789abcdef0"]),
        api("DescribeInstances", InstanceIds=["i-0123456789abcdef0"]),
        api("DescribeSecurityGroups", GroupIds=["sg-0123456789abcdef0"]),
        api("DetachNetworkInterface", AttachmentId="eni-attach-0123456789abcdef0"),
        api("AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId="i-0123456789abcdef0", DeviceIndex=1),
        api("CreateSubnet", VpcId="vpc-0123456789abcdef0", CidrBlock="10.7.2.0/24"),
        api("CreateSubnet", VpcId=seed.vpc, CidrBlock="10.7.1.0/25"),
        api("CreateSubnet", VpcId=seed.vpc, CidrBlock="10.8.1.0/24"),
        api("CreateSecurityGroup", GroupName="g", Description="d", VpcId=seed.vpc),
    ]


def a_dry_run(api: Api) -> Any:
    seed = Seed(api)
    refused = api("CreateNetworkInterface", SubnetId=seed.subnet, DryRun=True)
    return refused, len(api("DescribeNetworkInterfaces")["NetworkInterfaces"])


def changed_attributes(api: Api) -> Any:
    seed = Seed(api)
    eni = seed.eni(api, Description="old")["NetworkInterfaceId"]
    other = api("CreateSecurityGroup", GroupName="other", Description="d", VpcId=seed.vpc)["GroupId"]
    api("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, Description={"Value": "new"})
    api("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
    api("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, Groups=[other])
    [shown] = api("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni])["NetworkInterfaces"]
    groups = [group["GroupName"] for group in shown["Groups"]]
    return shown["Description"], shown["SourceDestCheck"], groups


def found_by_filter(api: Api) -> Any:
    seed = Seed(api)
    specification = [{"ResourceType": "network-interface", "Tags": [{"Key": "k", "Value": "v1"}]}]
    for index, more in enumerate(({"TagSpecifications": specification}, {}, {})):
        seed.eni(api, Description=f"d{index}", PrivateIpAddress=f"10.7.1.{20 + index}", **more)
    filters = [
        ("subnet-id", [seed.subnet]),
        ("vpc-id", [seed.vpc, "vpc-0"]),
        ("group-id", [seed.group]),
        ("description", ["d1"]),
        ("tag:k", ["v1"]),
        ("tag-key", ["k"]),
        ("private-ip-address", ["10.7.1.21"]),
        ("addresses.private-ip-address", ["10.7.1.22"]),
        ("status", ["available"]),
        ("status", ["in-use"]),
    ]
    return [_described(api, name, values) for name, values in filters]


def _described(api: Api, name: str, values: list[str]) -> list[str]:
    reply = api("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": values}])
    return sorted(eni["Description"] for eni in reply["NetworkInterfaces"])


def deletion(api: Api) -> Any:
    seed = Seed(api)
    eni = seed.eni(api)["NetworkInterfaceId"]
    api("DeleteNetworkInterface", NetworkInterfaceId=eni)
    return api("DescribeNetworkInterfaces")["NetworkInterfaces"], api("DeleteNetworkInterface", NetworkInterfaceId=eni)


def kept_reservations(api: Api) -> Any:
    seed = Seed(api)
    request = {"SubnetId": seed.subnet, "Cidr": "10.7.1.64/26", "ReservationType": "prefix"}
    made = api("CreateSubnetCidrReservation", **request)["SubnetCidrReservation"]
    listed = api("GetSubnetCidrReservations", SubnetId=seed.subnet)["SubnetIpv4CidrReservations"]
    api("DeleteSubnetCidrReservation", SubnetCidrReservationId=made["SubnetCidrReservationId"])
    left = api("GetSubnetCidrReservations", SubnetId=seed.subnet)["SubnetIpv4CidrReservations"]
    return [(row["Cidr"], row["ReservationType"]) for row in listed], left


def second_vpc_blocks(api: Api) -> Any:
    seed = Seed(api)
    reply = api("AssociateVpcCidrBlock", VpcId=seed.vpc, CidrBlock="100.64.0.0/16")["CidrBlockAssociation"]
    [vpc] = api("DescribeVpcs", VpcIds=[seed.vpc])["Vpcs"]
    blocks = [block["CidrBlock"] for block in vpc["CidrBlockAssociationSet"]]
    return reply["CidrBlock"], vpc["CidrBlock"], blocks


def ipv6_by_count(api: Api) -> Any:
    vpc = api("CreateVpc", CidrBlock="10.9.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    request = {"VpcId": vpc["VpcId"], "CidrBlock": "10.9.1.0/24", "Ipv6CidrBlock": block}
    subnet = api("CreateSubnet", **request)["Subnet"]["SubnetId"]
    eni = api("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    added = api("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6AddressCount=2)["AssignedIpv6Addresses"]
    [shown] = api("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni])["NetworkInterfaces"]
    return len(added), {entry["Ipv6Address"] for entry in shown["Ipv6Addresses"]} == set(added)


def instance_types(api: Api) -> Any:
    kinds = api("DescribeInstanceTypes", InstanceTypes=list(OLD_INSTANCE_TYPES))["InstanceTypes"]
    return {kind["InstanceType"]: _limits(kind) for kind in kinds}


def _limits(kind: Any) -> Any:
    network = kind["NetworkInfo"]
    names = (
        "MaximumNetworkInterfaces",
        "MaximumNetworkCards",
        "Ipv4AddressesPerInterface",
        "Ipv6AddressesPerInterface",
    )
    more = ("Ipv6Supported", "EfaSupported", "DefaultNetworkCardIndex")
    cards = [card["MaximumNetworkInterfaces"] for card in network["NetworkCards"]]
    described = [kind["BareMetal"], kind.get("Hypervisor"), kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"], cards]
    return [*described, *(network[name] for name in (*names, *more))]


SCRIPTS = [
    a_new_subnet,
    a_new_eni,
    tags_on_creation_and_later,
    too_many_tags,
    what_does_not_exist,
    a_dry_run,
    changed_attributes,
    found_by_filter,
    deletion,
    kept_reservations,
    second_vpc_blocks,
    ipv6_by_count,
    instance_types,
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_both_answer_alike(both: tuple[Api, Api], script: Callable[[Api], Any]) -> None:
    standin, moto = both
    assert script(standin) == script(moto)


def test_every_type_has_the_limits_moto_knows(both: tuple[Api, Api]) -> None:
    standin, moto = both
    kinds: dict[str, Any] = {}
    token: dict[str, str] = {}
    while True:
        page = standin("DescribeInstanceTypes", MaxResults=100, **token)
        kinds |= {kind["InstanceType"]: _limits(kind) for kind in page["InstanceTypes"]}
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    offered = moto("DescribeInstanceTypes")["InstanceTypes"]
    assert len(offered) > 500
    assert {kind["InstanceType"]: _limits(kind) for kind in offered} == {
        kind["InstanceType"]: kinds[kind["InstanceType"]] for kind in offered
    }
