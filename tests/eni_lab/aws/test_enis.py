from eni_lab.aws.engine.knobs import Knobs
from eni_testing.ec2_engine import EngineLab


def test_a_new_eni_has_a_primary_address_a_mac_and_the_default_group(lab: EngineLab) -> None:
    request = {"SubnetId": lab.seed.subnet_ids[0], "Description": "mine"}
    eni = lab.call("CreateNetworkInterface", **request)["NetworkInterface"]
    assert eni["Status"] == "pending"
    assert eni["MacAddress"].startswith("02:")
    assert [group["GroupName"] for group in eni["Groups"]] == ["default"]
    assert eni["PrivateIpAddresses"][0] == {
        "PrivateIpAddress": eni["PrivateIpAddress"],
        "PrivateDnsName": f"ip-{eni['PrivateIpAddress'].replace('.', '-')}.ec2.internal",
        "Primary": True,
    }
    assert (eni["Description"], eni["AvailabilityZone"], eni["SourceDestCheck"]) == ("mine", "us-east-1a", True)
    assert lab.show(eni["NetworkInterfaceId"])["Status"] == "available"


def test_a_new_eni_takes_what_it_is_asked_to_take(lab: EngineLab) -> None:
    with_addresses = lab.show(lab.eni(SecondaryPrivateIpAddressCount=3))
    with_prefixes = lab.show(lab.eni(Ipv4PrefixCount=2))
    assert [address["Primary"] for address in with_addresses["PrivateIpAddresses"]] == [True, False, False, False]
    assert len(with_prefixes["Ipv4Prefixes"]) == 2
    assert lab.free() == 251 - 4 - 1 - 32


def test_a_new_eni_takes_named_addresses_and_prefixes(lab: EngineLab) -> None:
    named = [{"PrivateIpAddress": "10.0.1.40", "Primary": True}, {"PrivateIpAddress": "10.0.1.41", "Primary": False}]
    eni = lab.show(lab.eni(PrivateIpAddresses=named))
    assert [address["PrivateIpAddress"] for address in eni["PrivateIpAddresses"]] == ["10.0.1.40", "10.0.1.41"]
    other = lab.show(lab.eni(PrivateIpAddress="10.0.1.50", Ipv4Prefixes=[{"Ipv4Prefix": "10.0.1.64/28"}]))
    assert (other["PrivateIpAddress"], other["Ipv4Prefixes"]) == ("10.0.1.50", [{"Ipv4Prefix": "10.0.1.64/28"}])


def test_creation_is_refused_as_ec2_refuses_it(lab: EngineLab) -> None:
    subnet = lab.seed.subnet_ids[0]
    with lab.refused("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist"):
        lab.call("CreateNetworkInterface", SubnetId="subnet-1")
    with lab.refused("InvalidSecurityGroupID.NotFound", "The securityGroup ID 'sg-1' does not exist"):
        lab.call("CreateNetworkInterface", SubnetId=subnet, Groups=["sg-1"])
    with lab.refused("InvalidParameterCombination", "SecondaryPrivateIpAddressCount, Ipv4PrefixCount"):
        lab.call("CreateNetworkInterface", SubnetId=subnet, SecondaryPrivateIpAddressCount=1, Ipv4PrefixCount=1)
    with lab.refused("InvalidParameterValue", "Allowed values are interface, efa, efa-only, trunk"):
        lab.call("CreateNetworkInterface", SubnetId=subnet, InterfaceType="branch")
    with lab.refused("PrivateIpAddressLimitExceeded"):
        lab.call("CreateNetworkInterface", SubnetId=subnet, SecondaryPrivateIpAddressCount=50)
    assert lab.free() == 251


def test_a_creation_that_finds_too_little_takes_nothing() -> None:
    lab = EngineLab("10.0.1.0/27", "10.0.2.0/27")
    with lab.refused("InsufficientCidrBlocks", "does not have enough free cidr blocks"):
        lab.eni(Ipv4PrefixCount=1)
    with lab.refused("InsufficientFreeAddressesInSubnet", "does not have enough free addresses"):
        lab.eni(SecondaryPrivateIpAddressCount=27)
    assert lab.free() == 27


def test_groups_of_another_vpc_and_too_many_groups_are_refused(lab: EngineLab) -> None:
    foreign = lab.call("CreateVpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = lab.call("CreateSecurityGroup", VpcId=foreign, GroupName="far", Description="far")["GroupId"]
    with lab.refused("InvalidParameter", "belong to different networks"):
        lab.eni(Groups=[group])
    vpc = lab.seed.vpc_id
    groups = [
        lab.call("CreateSecurityGroup", VpcId=vpc, GroupName=f"g{number}", Description="x")["GroupId"]
        for number in range(6)
    ]
    assert len(lab.show(lab.eni(Groups=groups[:5]))["Groups"]) == 5
    with lab.refused("SecurityGroupsPerInterfaceLimitExceeded"):
        lab.eni(Groups=groups)


def test_the_quota_of_the_region_holds() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, eni_quota=2))
    lab.eni()
    lab.eni()
    with lab.refused("NetworkInterfaceLimitExceeded"):
        lab.eni()


def test_deleting_frees_every_address(lab: EngineLab) -> None:
    eni = lab.eni(Ipv4PrefixCount=2)
    lab.call("DeleteNetworkInterface", NetworkInterfaceId=eni)
    assert lab.free() == 251
    with lab.refused("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{eni}' does not exist"):
        lab.call("DeleteNetworkInterface", NetworkInterfaceId=eni)


def test_an_attached_eni_cannot_be_deleted(lab: EngineLab) -> None:
    eni = lab.eni()
    lab.attach(eni, lab.instance())
    with lab.refused("InvalidParameterValue", f"Network interface '{eni}' is currently in use."):
        lab.call("DeleteNetworkInterface", NetworkInterfaceId=eni)


def test_a_malformed_id_is_told_from_a_missing_one(lab: EngineLab) -> None:
    with lab.refused("InvalidNetworkInterfaceId.Malformed", 'Invalid id: "eni-x"'):
        lab.call("DescribeNetworkInterfaces", NetworkInterfaceIds=["eni-x"])
    missing = ["eni-0000000000000000a", "eni-0000000000000000b"]
    with lab.refused("InvalidNetworkInterfaceID.NotFound", "'eni-0000000000000000a'"):
        lab.call("DescribeNetworkInterfaces", NetworkInterfaceIds=missing)


def test_the_same_token_and_parameters_make_one_eni(lab: EngineLab) -> None:
    first = lab.eni(ClientToken="t1", Description="mine")
    assert lab.eni(ClientToken="t1", Description="mine") == first
    assert lab.free() == 250


def test_the_same_token_with_other_parameters_is_refused(lab: EngineLab) -> None:
    lab.eni(ClientToken="t1", Description="mine")
    with lab.refused("IdempotentParameterMismatch"):
        lab.eni(ClientToken="t1", Description="other")


def test_the_token_of_a_deleted_eni_does_what_the_knob_says(lab: EngineLab) -> None:
    first = lab.eni(ClientToken="t1")
    lab.call("DeleteNetworkInterface", NetworkInterfaceId=first)
    assert lab.eni(ClientToken="t1") == first
    assert lab.free() == 251
    lab.engine.configure(deleted_eni_replay="error")
    with lab.refused("InvalidNetworkInterfaceID.NotFound"):
        lab.eni(ClientToken="t1")
    lab.engine.configure(deleted_eni_replay="new")
    assert lab.eni(ClientToken="t1") != first
    assert lab.free() == 250


def test_a_failed_creation_leaves_its_token_unused(lab: EngineLab) -> None:
    with lab.refused("PrivateIpAddressLimitExceeded"):
        lab.eni(ClientToken="t1", SecondaryPrivateIpAddressCount=50)
    assert lab.eni(ClientToken="t1")


def test_ipv6_needs_a_block_of_the_subnet(lab: EngineLab) -> None:
    with lab.refused("InvalidParameterValue", "does not have an IPv6 CIDR block"):
        lab.eni(Ipv6AddressCount=1)
    assert lab.free() == 251


def test_a_large_account_must_use_pages_or_an_indexed_filter() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, unpaginated_limit=3))
    for _ in range(4):
        lab.eni()
    by_instance = [{"Name": "attachment.instance-id", "Values": ["i-0"]}]
    for request in ({}, {"Filters": by_instance}):
        with lab.refused("OperationNotPermitted", "pagination"):
            lab.call("DescribeNetworkInterfaces", **request)
    by_vpc = [{"Name": "vpc-id", "Values": [lab.seed.vpc_id]}]
    assert len(lab.call("DescribeNetworkInterfaces", Filters=by_vpc)["NetworkInterfaces"]) == 4
    assert len(lab.call("DescribeNetworkInterfaces", MaxResults=5)["NetworkInterfaces"]) == 4


def test_a_dry_run_changes_nothing(lab: EngineLab) -> None:
    with lab.refused("DryRunOperation", "Request would have succeeded"):
        lab.eni(DryRun=True)
