"""Types of ENIs and network cards: what EC2 lets them hold and where they may sit."""

from typing import Any

import pytest

from eni_lab.aws.metadata import metadata_tree
from eni_testing.ec2_engine import EngineLab

PRIMARY = {"DeviceIndex": 0}


def efa(card: int, index: int = 1, kind: str = "efa") -> dict[str, Any]:
    return {"NetworkCardIndex": card, "DeviceIndex": index, "InterfaceType": kind}


def efa_only(card: int, index: int = 1) -> dict[str, Any]:
    return efa(card, index, "efa-only")


def enis_of(lab: EngineLab, instance: str) -> dict[tuple[int, int], Any]:
    found = lab.call("DescribeNetworkInterfaces", Filters=[{"Name": "attachment.instance-id", "Values": [instance]}])
    ties = {eni["NetworkInterfaceId"]: eni["Attachment"] for eni in found["NetworkInterfaces"]}
    slots = {key: (tie["NetworkCardIndex"], tie["DeviceIndex"]) for key, tie in ties.items()}
    return {slots[eni["NetworkInterfaceId"]]: eni for eni in found["NetworkInterfaces"]}


@pytest.mark.parametrize("kind", ["interface", "efa", "efa-only", "trunk"])
def test_an_eni_keeps_its_type_and_is_found_by_it(lab: EngineLab, kind: str) -> None:
    eni = lab.eni(InterfaceType=kind)
    lab.eni(InterfaceType="trunk" if kind != "trunk" else "interface")
    found = lab.call("DescribeNetworkInterfaces", Filters=[{"Name": "interface-type", "Values": [kind]}])
    assert [(one["NetworkInterfaceId"], one["InterfaceType"]) for one in found["NetworkInterfaces"]] == [(eni, kind)]


def test_an_efa_only_eni_takes_no_address_from_its_subnet(lab: EngineLab) -> None:
    shown = lab.show(lab.eni(InterfaceType="efa-only"))
    assert (shown["PrivateIpAddress"], shown["PrivateIpAddresses"], shown["Ipv4Prefixes"]) == (None, [], None)
    assert lab.free() == 251


@pytest.mark.parametrize(
    "asked",
    [
        {"PrivateIpAddress": "10.0.1.9"},
        {"PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.9", "Primary": True}]},
        {"SecondaryPrivateIpAddressCount": 1},
        {"Ipv4PrefixCount": 1},
        {"Ipv6PrefixCount": 1},
    ],
)
def test_an_efa_only_eni_is_never_given_an_address(lab: EngineLab, asked: dict[str, Any]) -> None:
    with lab.refused("InvalidParameterCombination", "efa-only"):
        lab.eni(InterfaceType="efa-only", **asked)


def test_an_efa_only_eni_is_assigned_nothing(lab: EngineLab) -> None:
    eni = lab.eni(InterfaceType="efa-only")
    with lab.refused("InvalidParameterCombination", "efa-only"):
        lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, Ipv4PrefixCount=1)
    with lab.refused("InvalidParameterCombination", "efa-only"):
        lab.call("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6AddressCount=1)


def test_a_trunk_is_attached_as_any_other_and_holds_addresses(lab: EngineLab) -> None:
    trunk = lab.eni(InterfaceType="trunk", SecondaryPrivateIpAddressCount=1)
    lab.attach(trunk, lab.instance())
    assert (lab.show(trunk)["Status"], len(lab.show(trunk)["PrivateIpAddresses"])) == ("in-use", 2)


def test_an_instance_is_launched_with_one_eni_unless_it_is_told_of_more(lab: EngineLab) -> None:
    assert [*enis_of(lab, lab.instance("p5.48xlarge"))] == [(0, 0)]
    instance = lab.instance("p5.48xlarge", interfaces=[PRIMARY, *(efa_only(card, 0) for card in range(1, 32))])
    shown = enis_of(lab, instance)
    assert set(shown) == {(card, 0) for card in range(32)}
    assert {shown[card, 0]["InterfaceType"] for card in range(1, 32)} == {"efa-only"}
    assert shown[0, 0]["InterfaceType"] == "interface"
    [reservation] = lab.call("DescribeInstances", InstanceIds=[instance])["Reservations"]
    assert len(reservation["Instances"][0]["NetworkInterfaces"]) == 32


def test_only_the_primary_eni_dies_with_its_instance_unless_a_launch_says_so(lab: EngineLab) -> None:
    kept, doomed = {"DeviceIndex": 1}, {"DeviceIndex": 2, "DeleteOnTermination": True}
    instance = lab.instance(interfaces=[PRIMARY, kept, doomed])
    left = enis_of(lab, instance)[0, 1]["NetworkInterfaceId"]
    lab.call("TerminateInstances", InstanceIds=[instance])
    enis = lab.call("DescribeNetworkInterfaces")["NetworkInterfaces"]
    assert [(eni["NetworkInterfaceId"], eni["Status"]) for eni in enis] == [(left, "available")]


def test_an_efa_only_eni_has_no_kernel_link_and_no_address_in_metadata(lab: EngineLab) -> None:
    instance = lab.instance("p4d.24xlarge", interfaces=[PRIMARY, efa(1), efa_only(2)])
    assert [(port.network_card, port.device_index) for port in lab.engine.ports()] == [(0, 0), (1, 1)]
    shown = enis_of(lab, instance)
    region = lab.engine.region
    described = region.instances.get(instance)
    assert described is not None
    tree = metadata_tree(region, described)
    with_network, without = (f"network/interfaces/macs/{shown[card, 1]['MacAddress']}/" for card in (1, 2))
    assert (tree[with_network + "network-card"], tree[without + "network-card"]) == ("1", "2")
    assert with_network + "local-ipv4s" in tree
    assert without + "local-ipv4s" not in tree
    assert tree[without + "subnet-id"] == lab.seed.subnet_ids[0]


@pytest.mark.parametrize(
    ("kind", "interfaces", "code", "text"),
    [
        ("m5.large", [PRIMARY, efa(0)], "InvalidParameterCombination", "EFA is not supported on instance type m5"),
        ("p4d.24xlarge", [PRIMARY, efa(1), efa_only(1, 2)], "AttachmentLimitExceeded", "Network card 1 has an EFA"),
        ("p4d.24xlarge", [PRIMARY, efa(4)], "InvalidParameterValue", "Network card index 4 exceeds the limit"),
        ("p4d.24xlarge", [PRIMARY, PRIMARY], "InvalidParameterValue", "device index '0'"),
        ("p4d.24xlarge", [efa_only(0, 0)], "InvalidParameterCombination", "cannot be the primary"),
        ("p4d.24xlarge", [{"DeviceIndex": 1}], "InvalidParameterCombination", "primary network interface must"),
        ("p5.48xlarge", [PRIMARY, efa(0), {"DeviceIndex": 2}], "AttachmentLimitExceeded", "Interface count 3"),
        ("m5.large", [{**PRIMARY, "SecondaryPrivateIpAddressCount": 10}], "PrivateIpAddressLimitExceeded", ""),
        ("m4.large", [{**PRIMARY, "Ipv4PrefixCount": 1}], "InvalidParameterValue", "Prefixes are not supported"),
    ],
)
def test_a_launch_with_enis_that_do_not_fit_makes_nothing(
    lab: EngineLab, kind: str, interfaces: list[dict[str, Any]], code: str, text: str
) -> None:
    with lab.refused(code, text):
        lab.instance(kind, interfaces=interfaces)
    assert lab.free() == 251


@pytest.mark.parametrize("kind", ["efa", "efa-only"])
def test_an_efa_neither_comes_to_nor_leaves_a_running_instance(lab: EngineLab, kind: str) -> None:
    eni, instance = lab.eni(InterfaceType=kind), lab.instance("p4d.24xlarge", interfaces=[PRIMARY, efa(1, kind=kind)])
    with lab.refused("IncorrectState", "running"):
        lab.attach(eni, instance, 1, NetworkCardIndex=2)
    attached = enis_of(lab, instance)[1, 1]["Attachment"]["AttachmentId"]
    with lab.refused("IncorrectState", "running"):
        lab.call("DetachNetworkInterface", AttachmentId=attached)


@pytest.mark.parametrize(("kind", "cards"), [("p4d.24xlarge", 4), ("p5.48xlarge", 32), ("trn1.32xlarge", 8)])
def test_a_type_tells_of_its_cards_and_its_efas(lab: EngineLab, kind: str, cards: int) -> None:
    [shown] = lab.call("DescribeInstanceTypes", InstanceTypes=[kind])["InstanceTypes"]
    network = shown["NetworkInfo"]
    assert network["EfaInfo"] == {"MaximumEfaInterfaces": cards}
    assert [card["NetworkCardIndex"] for card in network["NetworkCards"]] == list(range(cards))
    assert network["MaximumNetworkInterfaces"] <= sum(
        card["MaximumNetworkInterfaces"] for card in network["NetworkCards"]
    )
