from typing import Any

from eni_testing.ec2_engine import EngineLab


def modify(lab: EngineLab, eni: str, **args: Any) -> None:
    lab.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, **args)


def attribute(lab: EngineLab, eni: str, name: str) -> Any:
    reply = lab.call("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=eni, Attribute=name)
    return {key: value for key, value in reply.items() if key != "NetworkInterfaceId"}


def test_each_attribute_can_be_changed_and_read(lab: EngineLab) -> None:
    eni = lab.eni()
    modify(lab, eni, Description={"Value": "new"})
    modify(lab, eni, SourceDestCheck={"Value": False})
    modify(lab, eni, Groups=[lab.seed.group_ids[1]])
    attachment = lab.attach(eni, lab.instance())
    modify(lab, eni, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True})
    assert attribute(lab, eni, "description") == {"Description": {"Value": "new"}}
    assert attribute(lab, eni, "sourceDestCheck") == {"SourceDestCheck": {"Value": False}}
    assert attribute(lab, eni, "groupSet") == {"Groups": [{"GroupId": lab.seed.group_ids[1], "GroupName": "nodes-b"}]}
    assert attribute(lab, eni, "attachment")["Attachment"]["DeleteOnTermination"] is True


def test_exactly_one_attribute_a_call(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("InvalidParameterCombination"):
        modify(lab, eni, Description={"Value": "new"}, SourceDestCheck={"Value": False})
    with lab.refused("MissingParameter"):
        modify(lab, eni)


def test_bad_attributes_are_refused(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("InvalidAttachmentID.NotFound"):
        modify(lab, eni, Attachment={"AttachmentId": "eni-attach-1", "DeleteOnTermination": True})
    with lab.refused("InvalidSecurityGroupID.NotFound"):
        modify(lab, eni, Groups=["sg-1"])
    with lab.refused("InvalidParameterValue", "Value (colour) for parameter attribute"):
        attribute(lab, eni, "colour")
    with lab.refused("InvalidNetworkInterfaceID.NotFound"):
        attribute(lab, "eni-00000000000000000", "description")
