from typing import Any

import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_testing.ec2_engine import EngineLab

X86, ARM = "ami-0a0000000000000a1", "ami-0a0000000000000a2"


def launch(lab: EngineLab, **args: Any) -> Any:
    request = {"ImageId": X86, "InstanceType": "m5.large", "SubnetId": lab.seed.subnet_ids[0], "MinCount": 1}
    return lab.call("RunInstances", **{**request, "MaxCount": 1, **args})


def show(lab: EngineLab, instance_id: str) -> Any:
    return lab.call("DescribeInstances", InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def test_an_instance_has_its_primary_eni_from_the_start(lab: EngineLab) -> None:
    specification = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node-1"}]}]
    reply = launch(
        lab, SecurityGroupIds=[lab.seed.group_ids[0]], PrivateIpAddress="10.0.1.20", TagSpecifications=specification
    )
    instance = reply["Instances"][0]
    assert instance["State"] == {"Code": 0, "Name": "pending"}
    shown = show(lab, instance["InstanceId"])
    assert shown["State"] == {"Code": 16, "Name": "running"}
    assert shown["Tags"] == [{"Key": "Name", "Value": "node-1"}]
    [eni] = shown["NetworkInterfaces"]
    assert (eni["PrivateIpAddress"], eni["Attachment"]["DeviceIndex"]) == ("10.0.1.20", 0)
    assert eni["Attachment"]["DeleteOnTermination"] is True
    assert [group["GroupId"] for group in eni["Groups"]] == [lab.seed.group_ids[0]]
    assert [port.primary_ip for port in lab.engine.ports()] == ["10.0.1.20"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"ImageId": None}, "MissingParameter"),
        ({"ImageId": "ami-1"}, "InvalidAMIID.NotFound"),
        ({"ImageId": ARM}, "InvalidParameterValue"),
        ({"InstanceType": "m5.gigantic"}, "InvalidInstanceType"),
        ({"SubnetId": "subnet-1"}, "InvalidSubnetID.NotFound"),
        ({"MinCount": 2, "MaxCount": 1}, "InvalidParameterValue"),
        ({"MaxCount": 2, "PrivateIpAddress": "10.0.1.9"}, "InvalidParameterCombination"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}]}, "InvalidParameterCombination"),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "10.0.1.3"}, "InvalidParameterValue"),
    ],
)
def test_a_bad_launch_is_refused(lab: EngineLab, args: dict[str, Any], code: str) -> None:
    with lab.refused(code):
        launch(lab, **args)
    assert lab.free() == 251


def test_a_launch_makes_as_many_as_fit_but_no_fewer_than_the_minimum() -> None:
    lab = EngineLab("10.0.1.0/28", "10.0.2.0/28")
    assert len(launch(lab, MinCount=1, MaxCount=8)["Instances"]) == 8
    assert lab.free() == 3
    assert len(launch(lab, MinCount=1, MaxCount=8)["Instances"]) == 3
    with pytest.raises(Exception, match="InsufficientFreeAddressesInSubnet"):
        launch(lab)


def test_a_launch_that_cannot_reach_its_minimum_takes_nothing() -> None:
    lab = EngineLab("10.0.1.0/28", "10.0.2.0/28")
    with pytest.raises(Exception, match="InsufficientFreeAddressesInSubnet"):
        launch(lab, MinCount=12, MaxCount=12)
    assert lab.free() == 11
    assert lab.call("DescribeNetworkInterfaces")["NetworkInterfaces"] == []


def test_a_repeated_launch_with_one_token_makes_one_instance(lab: EngineLab) -> None:
    first, second = (launch(lab, ClientToken="t")["Instances"][0]["InstanceId"] for _ in range(2))
    assert first == second
    with lab.refused("IdempotentParameterMismatch"):
        launch(lab, ClientToken="t", InstanceType="m5.xlarge")


def test_terminating_deletes_enis_that_are_to_go_and_leaves_the_others_available(lab: EngineLab) -> None:
    instance, stays, goes = lab.instance(), lab.eni(), lab.eni()
    lab.attach(stays, instance, 1)
    attachment = {"AttachmentId": lab.attach(goes, instance, 2), "DeleteOnTermination": True}
    lab.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=goes, Attachment=attachment)
    reply = lab.call("TerminateInstances", InstanceIds=[instance])["TerminatingInstances"][0]
    assert (reply["PreviousState"]["Name"], reply["CurrentState"]["Name"]) == ("running", "shutting-down")
    enis = lab.call("DescribeNetworkInterfaces")["NetworkInterfaces"]
    assert [(eni["NetworkInterfaceId"], eni["Status"]) for eni in enis] == [(stays, "available")]
    assert (lab.engine.ports(), lab.free()) == ([], 250)
    assert (show(lab, instance)["State"]["Name"], show(lab, instance)["NetworkInterfaces"]) == ("terminated", [])


def test_a_terminated_instance_is_seen_for_an_hour(lab: EngineLab) -> None:
    instance = lab.instance()
    lab.call("TerminateInstances", InstanceIds=[instance])
    lab.now += 3599
    assert show(lab, instance)["State"]["Name"] == "terminated"
    lab.now += 1
    with lab.refused("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist"):
        show(lab, instance)


def test_terminating_twice_is_no_error_and_a_dying_instance_loses_its_links_at_once() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, shutdown_seconds=30.0))
    instance = lab.instance()
    lab.call("TerminateInstances", InstanceIds=[instance])
    assert (show(lab, instance)["State"]["Name"], lab.engine.ports()) == ("shutting-down", [])
    lab.now += 30
    again = lab.call("TerminateInstances", InstanceIds=[instance])["TerminatingInstances"][0]
    assert (again["PreviousState"]["Name"], again["CurrentState"]["Name"]) == ("terminated", "terminated")


def test_an_instance_terminated_while_pending_never_runs() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, launch_seconds=10.0))
    instance = lab.instance()
    lab.call("TerminateInstances", InstanceIds=[instance])
    lab.now += 60
    assert show(lab, instance)["State"]["Name"] == "terminated"


def test_instances_are_grouped_by_the_launch_that_made_them(lab: EngineLab) -> None:
    launch(lab, MaxCount=2)
    launch(lab)
    reservations = lab.call("DescribeInstances")["Reservations"]
    assert sorted(len(reservation["Instances"]) for reservation in reservations) == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network-interface.addresses.private-ip-address", "10.0.1.20"),
        ("network-interface.attachment.device-index", "0"),
        ("private-ip-address", "10.0.1.2?"),
        ("instance-state-name", "running"),
        ("instance-state-code", "16"),
        ("tag:Name", "node-*"),
    ],
)
def test_instances_can_be_found_by(lab: EngineLab, name: str, value: str) -> None:
    specification = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node-1"}]}]
    launch(lab, PrivateIpAddress="10.0.1.20", TagSpecifications=specification)
    found = lab.call("DescribeInstances", Filters=[{"Name": name, "Values": [value]}])["Reservations"]
    assert len(found) == 1


def test_instance_types_come_in_pages_and_by_name(lab: EngineLab) -> None:
    names: list[str] = []
    token = None
    while not names or token:
        page = lab.call("DescribeInstanceTypes", MaxResults=100, NextToken=token)
        names += [kind["InstanceType"] for kind in page["InstanceTypes"]]
        token = page["NextToken"]
    assert (len(names), len(set(names))) == (1395, 1395)
    [m5] = lab.call("DescribeInstanceTypes", InstanceTypes=["m5.large"])["InstanceTypes"]
    network = m5["NetworkInfo"]
    assert (network["MaximumNetworkInterfaces"], network["Ipv4AddressesPerInterface"]) == (3, 10)
    assert m5["Hypervisor"] == "nitro"
    with lab.refused("InvalidInstanceType", "The following supplied instance types do not exist: [m5.gigantic]"):
        lab.call("DescribeInstanceTypes", InstanceTypes=["m5.gigantic"])
    with lab.refused("InvalidParameterValue", "Expecting a value between 5 and 100"):
        lab.call("DescribeInstanceTypes", MaxResults=101)


def test_images_can_be_found_by_architecture(lab: EngineLab) -> None:
    arm = [{"Name": "architecture", "Values": ["arm64"]}]
    images = lab.call("DescribeImages", Owners=["amazon"], Filters=arm)["Images"]
    assert [image["ImageId"] for image in images] == [ARM]
    assert lab.call("DescribeImages", Owners=["self"])["Images"] == []
