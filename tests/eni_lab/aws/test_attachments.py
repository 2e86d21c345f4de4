import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_testing.ec2_engine import EngineLab


@pytest.fixture
def slow() -> EngineLab:
    return EngineLab(knobs=Knobs(throttling=False))


def test_an_attachment_becomes_attached_and_then_gets_its_link(slow: EngineLab) -> None:
    instance, eni = slow.instance(), slow.eni(SecondaryPrivateIpAddressCount=1, Groups=[slow.seed.group_ids[0]])
    slow.attach(eni, instance)
    seen = []
    for _ in range(5):
        links = [port.eni_id for port in slow.engine.ports()]
        seen.append((slow.show(eni)["Attachment"]["Status"], slow.show(eni)["Status"], eni in links))
        slow.now += 0.4
    assert seen == [
        ("attaching", "in-use", False),
        ("attaching", "in-use", False),
        ("attached", "in-use", False),
        ("attached", "in-use", False),
        ("attached", "in-use", True),
    ]


def test_a_detachment_takes_its_time_and_keeps_the_addresses(slow: EngineLab) -> None:
    eni = slow.eni(Ipv4PrefixCount=1)
    attachment = slow.attach(eni, slow.instance())
    slow.now += 10
    slow.call("DetachNetworkInterface", AttachmentId=attachment)
    slow.now += 1.9
    assert slow.show(eni)["Attachment"]["Status"] == "detaching"
    assert eni in [port.eni_id for port in slow.engine.ports()]
    with slow.refused("InvalidParameterValue", "currently in use"):
        slow.call("DeleteNetworkInterface", NetworkInterfaceId=eni)
    with slow.refused("IncorrectState"):
        slow.call("DetachNetworkInterface", AttachmentId=attachment)
    slow.now += 0.1
    assert slow.show(eni)["Status"] == "available"
    assert slow.show(eni)["Attachment"] is None
    assert len(slow.show(eni)["Ipv4Prefixes"]) == 1
    assert eni not in [port.eni_id for port in slow.engine.ports()]
    with slow.refused("InvalidAttachmentID.NotFound"):
        slow.call("DetachNetworkInterface", AttachmentId=attachment)


def test_time_alone_raises_the_version(slow: EngineLab) -> None:
    attachment = slow.attach(slow.eni(), slow.instance())
    before = slow.engine.version
    assert slow.engine.version == before
    slow.now += 1.5
    attached = slow.engine.version
    assert attached > before
    slow.call("DetachNetworkInterface", AttachmentId=attachment)
    detaching = slow.engine.version
    slow.now += 2.0
    assert slow.engine.version > detaching > attached


def test_a_port_tells_the_fabric_what_the_eni_owns(lab: EngineLab) -> None:
    instance, eni = lab.instance(), lab.eni(Ipv4PrefixCount=1)
    lab.attach(eni, instance, 2)
    added = lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    port = next(port for port in lab.engine.ports() if port.eni_id == eni)
    shown = lab.show(eni)
    assert (port.instance_id, port.device_index, port.network_card) == (instance, 2, 0)
    assert (port.mac, port.primary_ip) == (shown["MacAddress"], shown["PrivateIpAddress"])
    assert port.addresses == (added["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"],)
    assert port.prefixes == (shown["Ipv4Prefixes"][0]["Ipv4Prefix"],)
    assert (port.vpc_id, port.subnet_id, port.subnet_cidr) == (lab.seed.vpc_id, lab.seed.subnet_ids[0], "10.0.1.0/24")


def test_attach_never_sets_delete_on_termination(lab: EngineLab) -> None:
    eni = lab.eni()
    lab.attach(eni, lab.instance())
    assert lab.show(eni)["Attachment"]["DeleteOnTermination"] is False


def test_the_primary_eni_cannot_be_detached(lab: EngineLab) -> None:
    lab.instance()
    primary = lab.call("DescribeNetworkInterfaces")["NetworkInterfaces"][0]["Attachment"]
    assert primary["DeleteOnTermination"] is True
    text = "The network interface at device index 0 and networkCard index 0 cannot be detached."
    with lab.refused("OperationNotPermitted", text):
        lab.call("DetachNetworkInterface", AttachmentId=primary["AttachmentId"])


def test_attaching_is_refused_as_ec2_refuses_it(lab: EngineLab) -> None:
    instance, eni, other = lab.instance(), lab.eni(), lab.eni()
    lab.attach(eni, instance, 1)
    with lab.refused("InvalidNetworkInterface.InUse", f"Interface: [{eni}] in use."):
        lab.attach(eni, instance, 2)
    text = f"Instance '{instance}' already has an interface attached at device index '1'."
    with lab.refused("InvalidParameterValue", text):
        lab.attach(other, instance, 1)
    with lab.refused("InvalidInstanceID.NotFound"):
        lab.attach(other, "i-00000000000000000")
    with lab.refused("InvalidInstanceID.Malformed"):
        lab.attach(other, "machine")
    with lab.refused("InvalidParameterValue", "Network card index 1"):
        lab.attach(other, instance, 2, NetworkCardIndex=1)


def test_an_eni_of_another_zone_is_refused(lab: EngineLab) -> None:
    instance, eni = lab.instance(subnet=0), lab.eni(subnet=1)
    with lab.refused("InvalidParameterCombination", "not in the same availability zone"):
        lab.attach(eni, instance)


def test_the_type_limits_the_number_of_enis(lab: EngineLab) -> None:
    instance = lab.instance("t3.medium")
    for index in (1, 2):
        lab.attach(lab.eni(), instance, index)
    eni = lab.eni()
    with lab.refused("AttachmentLimitExceeded", "Interface count 4 exceeds the limit for t3.medium"):
        lab.attach(eni, instance, 3)


def test_the_type_limits_the_enis_of_each_network_card(lab: EngineLab) -> None:
    instance = lab.instance("p4d.24xlarge")
    for index in range(1, 15):
        lab.attach(lab.eni(), instance, index)
    eni = lab.eni()
    with lab.refused("AttachmentLimitExceeded"):
        lab.attach(eni, instance, 15)
    lab.attach(eni, instance, 1, NetworkCardIndex=1)
    assert lab.show(eni)["Attachment"]["NetworkCardIndex"] == 1


def test_an_eni_with_more_addresses_than_the_type_allows_is_refused(lab: EngineLab) -> None:
    instance, eni = lab.instance("t3.medium"), lab.eni(SecondaryPrivateIpAddressCount=6)
    with lab.refused("PrivateIpAddressLimitExceeded"):
        lab.attach(eni, instance)


def test_an_eni_with_prefixes_is_refused_off_nitro_and_welcome_on_metal(lab: EngineLab) -> None:
    eni = lab.eni(Ipv4PrefixCount=1)
    with_xen, metal = lab.instance("m4.large"), lab.instance("m5.metal")
    with lab.refused("InvalidParameterValue", "Prefixes are not supported for instance type m4.large."):
        lab.attach(eni, with_xen)
    lab.attach(eni, metal)


def test_a_pending_instance_takes_no_eni() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, launch_seconds=5.0))
    instance, eni = lab.instance(), lab.eni()
    with lab.refused("IncorrectState", "is not 'running'"):
        lab.attach(eni, instance)
    lab.now += 5
    lab.attach(eni, instance)


def test_an_attachment_can_be_hidden_for_a_while() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, attachment_hidden_seconds=1.0))
    eni = lab.eni()
    lab.attach(eni, lab.instance())
    assert (lab.show(eni)["Status"], lab.show(eni)["Attachment"]) == ("in-use", None)
    lab.now += 1
    assert lab.show(eni)["Attachment"]["Status"] == "attached"


def test_a_detachment_cut_short_by_termination_does_not_undo_a_later_attachment(slow: EngineLab) -> None:
    eni, dying, other = slow.eni(), slow.instance(), slow.instance()
    slow.call("DetachNetworkInterface", AttachmentId=slow.attach(eni, dying))
    slow.call("TerminateInstances", InstanceIds=[dying])
    second = slow.attach(eni, other)
    slow.now += 60
    assert slow.show(eni)["Attachment"]["AttachmentId"] == second
