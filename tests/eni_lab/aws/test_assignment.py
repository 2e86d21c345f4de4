from typing import Any

import pytest

from eni_testing.ec2_engine import EngineLab


def assign(lab: EngineLab, eni: str, **args: Any) -> Any:
    return lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, **args)


def unassign(lab: EngineLab, eni: str, **args: Any) -> Any:
    return lab.call("UnassignPrivateIpAddresses", NetworkInterfaceId=eni, **args)


def secondaries(lab: EngineLab, eni: str) -> list[str]:
    return [entry["PrivateIpAddress"] for entry in lab.show(eni)["PrivateIpAddresses"] if not entry["Primary"]]


def test_the_reply_lists_only_what_is_new(lab: EngineLab) -> None:
    eni = lab.eni(SecondaryPrivateIpAddressCount=2)
    old = set(secondaries(lab, eni))
    reply = assign(lab, eni, SecondaryPrivateIpAddressCount=2)
    new = {entry["PrivateIpAddress"] for entry in reply["AssignedPrivateIpAddresses"]}
    assert set(secondaries(lab, eni)) == old | new
    assert (len(new), new & old, reply["AssignedIpv4Prefixes"]) == (2, set(), [])


def test_without_a_token_a_repeated_call_assigns_again(lab: EngineLab) -> None:
    eni = lab.eni()
    for _ in range(2):
        assign(lab, eni, SecondaryPrivateIpAddressCount=1)
    assert len(secondaries(lab, eni)) == 2


def test_the_limit_of_the_type_counts_primary_addresses_and_prefixes_alike(lab: EngineLab) -> None:
    eni = lab.eni()
    lab.attach(eni, lab.instance("m5.large"))
    assign(lab, eni, Ipv4PrefixCount=4)
    assign(lab, eni, SecondaryPrivateIpAddressCount=5)
    with lab.refused("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit."):
        assign(lab, eni, Ipv4PrefixCount=1)
    with lab.refused("PrivateIpAddressLimitExceeded"):
        assign(lab, eni, SecondaryPrivateIpAddressCount=1)


def test_prefixes_are_refused_off_nitro(lab: EngineLab) -> None:
    eni = lab.eni()
    lab.attach(eni, lab.instance("m4.large"))
    with lab.refused("InvalidParameterValue", "m4.large"):
        assign(lab, eni, Ipv4PrefixCount=1)
    assign(lab, eni, SecondaryPrivateIpAddressCount=9)


def test_all_or_nothing_when_the_subnet_runs_out() -> None:
    lab = EngineLab("10.0.1.0/26", "10.0.2.0/26")
    eni = lab.eni(PrivateIpAddress="10.0.1.5")
    with lab.refused("InsufficientCidrBlocks"):
        assign(lab, eni, Ipv4PrefixCount=3)
    assign(lab, eni, Ipv4PrefixCount=2)
    with lab.refused("InsufficientFreeAddressesInSubnet"):
        assign(lab, eni, SecondaryPrivateIpAddressCount=27)
    assert lab.free() == 59 - 1 - 32


def test_assigning_nothing_or_too_much_at_once_is_refused(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("MissingParameter"):
        assign(lab, eni)
    with lab.refused("InvalidParameterCombination"):
        assign(lab, eni, SecondaryPrivateIpAddressCount=1, Ipv4PrefixCount=1)
    with lab.refused("InvalidParameterValue", "must not be negative"):
        assign(lab, eni, SecondaryPrivateIpAddressCount=-1)
    with lab.refused("InvalidIPAddress.InUse"):
        assign(lab, eni, PrivateIpAddresses=[lab.show(eni)["PrivateIpAddress"]])


def test_an_address_moves_between_enis_only_with_allow_reassignment(lab: EngineLab) -> None:
    giver, taker = lab.eni(SecondaryPrivateIpAddressCount=1), lab.eni()
    address = secondaries(lab, giver)
    with lab.refused("InvalidIPAddress.InUse"):
        assign(lab, taker, PrivateIpAddresses=address)
    free = lab.free()
    reply = assign(lab, taker, PrivateIpAddresses=address, AllowReassignment=True)
    assert reply["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": address[0]}]
    assert (secondaries(lab, giver), secondaries(lab, taker), lab.free()) == ([], address, free)


def test_a_primary_address_never_moves(lab: EngineLab) -> None:
    primary, taker = lab.show(lab.eni())["PrivateIpAddress"], lab.eni()
    with lab.refused("InvalidIPAddress.InUse"):
        assign(lab, taker, PrivateIpAddresses=[primary], AllowReassignment=True)


def test_unassigning_frees_addresses_and_prefixes(lab: EngineLab) -> None:
    eni = lab.eni(SecondaryPrivateIpAddressCount=2)
    prefix = assign(lab, eni, Ipv4PrefixCount=1)["AssignedIpv4Prefixes"][0]["Ipv4Prefix"]
    unassign(lab, eni, PrivateIpAddresses=secondaries(lab, eni), Ipv4Prefixes=[prefix])
    assert (secondaries(lab, eni), lab.show(eni)["Ipv4Prefixes"], lab.free()) == ([], None, 250)


@pytest.mark.parametrize("wanted", [["10.0.1.200"], ["primary"], ["held", "10.0.1.200"], ["held", "held"]])
def test_unassigning_what_is_not_assigned_is_refused_and_frees_nothing(lab: EngineLab, wanted: list[str]) -> None:
    eni = lab.eni(PrivateIpAddresses=[{"PrivateIpAddress": "10.0.1.9", "Primary": False}], PrivateIpAddress="10.0.1.8")
    names = {"held": "10.0.1.9", "primary": "10.0.1.8"}
    with lab.refused("InvalidParameterValue", f"Some of the specified addresses are not assigned to interface {eni}"):
        unassign(lab, eni, PrivateIpAddresses=[names.get(address, address) for address in wanted])


def test_unassigning_nothing_is_refused(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("MissingParameter"):
        unassign(lab, eni)


@pytest.fixture
def dual() -> EngineLab:
    """A lab whose first seeded subnet is a dual-stack one."""
    lab = EngineLab()
    vpc = lab.call("CreateVpc", CidrBlock="10.8.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    subnet = lab.call("CreateSubnet", VpcId=vpc["VpcId"], CidrBlock="10.8.0.0/24", Ipv6CidrBlock=block)["Subnet"]
    lab.seed = type(lab.seed)(vpc["VpcId"], (subnet["SubnetId"],), (), ("us-east-1a",))
    return lab


def test_ipv6_addresses_and_prefixes_come_as_plain_strings(dual: EngineLab) -> None:
    eni = dual.eni(Ipv6AddressCount=1)
    prefixes = dual.call("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6PrefixCount=2)
    addresses = dual.call("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6AddressCount=2)
    assert [prefix.endswith("/80") for prefix in prefixes["AssignedIpv6Prefixes"]] == [True, True]
    shown = dual.show(eni)
    assert {entry["Ipv6Address"] for entry in shown["Ipv6Addresses"]} > set(addresses["AssignedIpv6Addresses"])
    assert [entry["Ipv6Prefix"] for entry in shown["Ipv6Prefixes"]] == prefixes["AssignedIpv6Prefixes"]


def test_ipv6_has_a_limit_of_its_own(dual: EngineLab) -> None:
    eni = dual.eni()
    instance = dual.call(
        "RunInstances",
        ImageId="ami-0a0000000000000a1",
        InstanceType="t3.medium",
        SubnetId=dual.seed.subnet_ids[0],
        MinCount=1,
        MaxCount=1,
    )["Instances"][0]["InstanceId"]
    dual.attach(eni, instance)
    dual.call("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6PrefixCount=6)
    with dual.refused("PrivateIpAddressLimitExceeded"):
        dual.call("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6AddressCount=1)
    assign(dual, eni, SecondaryPrivateIpAddressCount=5)


def test_unassigning_ipv6_says_what_went(dual: EngineLab) -> None:
    eni = dual.eni()
    call = {"NetworkInterfaceId": eni}
    address = dual.call("AssignIpv6Addresses", **call, Ipv6AddressCount=1)["AssignedIpv6Addresses"]
    prefix = dual.call("AssignIpv6Addresses", **call, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"]
    reply = dual.call("UnassignIpv6Addresses", **call, Ipv6Addresses=address, Ipv6Prefixes=prefix)
    assert (reply["UnassignedIpv6Addresses"], reply["UnassignedIpv6Prefixes"]) == (address, prefix)
    assert (dual.show(eni)["Ipv6Addresses"], dual.show(eni)["Ipv6Prefixes"]) == ([], None)
    with dual.refused("InvalidParameterValue"):
        dual.call("UnassignIpv6Addresses", **call, Ipv6Addresses=address)
    dual.call("DeleteNetworkInterface", **call)


def test_deleting_an_eni_frees_its_ipv6_prefixes(dual: EngineLab) -> None:
    eni = dual.eni(Ipv6PrefixCount=1)
    prefix = dual.show(eni)["Ipv6Prefixes"][0]["Ipv6Prefix"]
    dual.call("DeleteNetworkInterface", NetworkInterfaceId=eni)
    again = dual.eni(Ipv6Prefixes=[{"Ipv6Prefix": prefix}])
    assert dual.show(again)["Ipv6Prefixes"] == [{"Ipv6Prefix": prefix}]
