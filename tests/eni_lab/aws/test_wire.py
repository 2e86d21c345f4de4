from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from eni_lab.aws import wire
from eni_lab.aws.engine.engine import ACTIONS
from eni_lab.aws.engine.errors import Ec2Error
from eni_testing.ec2_engine import EngineLab


def test_lists_structures_and_irregular_names_are_read() -> None:
    body = (
        "Action=CreateNetworkInterface&Version=2016-11-15&SubnetId=subnet-1&SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2"
        "&Ipv4Prefix.1.Ipv4Prefix=10.0.0.16%2F28&DryRun=false&SecondaryPrivateIpAddressCount=3"
        "&TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value="
    )
    assert wire.parse_request(body) == (
        "CreateNetworkInterface",
        {
            "SubnetId": "subnet-1",
            "Groups": ["sg-1", "sg-2"],
            "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.0.16/28"}],
            "DryRun": False,
            "SecondaryPrivateIpAddressCount": 3,
            "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "a", "Value": ""}]}],
        },
    )


def test_lists_are_in_the_order_of_their_numbers() -> None:
    body = "Action=DescribeInstances&" + "&".join(f"InstanceId.{n}=i-{n}" for n in (10, 2, 1))
    assert wire.parse_request(body)[1] == {"InstanceIds": ["i-1", "i-2", "i-10"]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "MissingAction"),
        ("Action=Dance", "InvalidAction"),
        ("Action=CreateNetworkInterface", "MissingParameter"),
        ("Action=DescribeInstances&Colour=red", "UnknownParameter"),
        ("Action=DescribeInstances&MaxResults=ten", "InvalidParameterValue"),
        ("Action=DescribeInstances&DryRun=maybe", "InvalidParameterValue"),
        ("Action=DescribeInstances&InstanceId=i-1", "MalformedQueryString"),
        ("Action=DescribeInstances&InstanceId.a=i-1", "MalformedQueryString"),
        ("Action=DescribeInstances&InstanceId=i-1&InstanceId.1=i-1", "MalformedQueryString"),
        ("Action=DescribeInstances&Filter.1=x", "MalformedQueryString"),
        ("Action=DescribeInstances&MaxResults.1=5", "InvalidParameterValue"),
    ],
)
def test_a_malformed_request_is_refused(body: str, code: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        wire.parse_request(body)
    assert caught.value.code == code


def test_replies_escape_text_and_write_times_and_booleans_as_ec2_does() -> None:
    eni = {
        "Description": "<a & b>",
        "SourceDestCheck": False,
        "Attachment": {"AttachTime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "DeviceIndex": 1},
        "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.0.16/28"}],
        "TagSet": [],
    }
    text = wire.render_reply("DescribeNetworkInterfaces", {"NetworkInterfaces": [eni]}, "request-1")
    assert "<description>&lt;a &amp; b&gt;</description><sourceDestCheck>false</sourceDestCheck>" in text
    assert "<attachTime>2026-01-02T03:04:05.000Z</attachTime><deviceIndex>1</deviceIndex>" in text
    assert "<ipv4PrefixSet><item><ipv4Prefix>10.0.0.16/28</ipv4Prefix></item></ipv4PrefixSet><tagSet></tagSet>" in text
    assert ET.fromstring(text)[0].text == "request-1"


def test_an_action_without_output_answers_true() -> None:
    assert "<return>true</return>" in wire.render_reply("DeleteNetworkInterface", {}, "r")


def test_errors_have_code_message_and_request_id() -> None:
    text = wire.render_error(Ec2Error("Code", "a < b"), "request-1")
    assert "<Code>Code</Code><Message>a &lt; b</Message>" in text
    assert "<RequestID>request-1</RequestID>" in text


def test_every_action_is_one_of_ec2() -> None:
    assert set(ACTIONS) <= set(wire.service_model().operation_names)


@pytest.mark.parametrize("action", sorted(action for action in ACTIONS if action.startswith("Describe")))
def test_every_describe_reply_fits_botocores_shape(lab: EngineLab, action: str) -> None:
    lab.attach(lab.eni(Ipv4PrefixCount=1), lab.instance())
    if not action.endswith("Attribute"):
        text = wire.render_reply(action, lab.call(action), "r")
        assert ET.fromstring(text).tag.endswith(f"{action}Response")
