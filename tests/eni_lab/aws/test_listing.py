import re

import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.wire import service_model
from eni_testing.ec2_engine import EngineLab

COMPLETE = [
    "DescribeNetworkInterfaces",
    "DescribeSecurityGroups",
    "DescribeSubnets",
    "DescribeTags",
    "DescribeVpcs",
]
"""Actions all of whose documented filters are known."""


def find(lab: EngineLab, name: str, *values: str) -> list[str]:
    filters = [{"Name": name, "Values": list(values)}]
    found = lab.call("DescribeNetworkInterfaces", Filters=filters)["NetworkInterfaces"]
    return [eni["NetworkInterfaceId"] for eni in found]


@pytest.mark.parametrize("action", COMPLETE)
def test_every_documented_filter_is_known(lab: EngineLab, action: str) -> None:
    text = service_model().operation_model(action).input_shape.members["Filters"].documentation
    names = set(re.findall(r"<li> <p> <code>([^<]+)</code>", text)) - {"tag"}  # the tag filter's name is tag:<key>
    assert len(names) >= 4
    for name in names:
        lab.call(action, Filters=[{"Name": name, "Values": ["x"]}])


def test_an_unknown_filter_is_refused(lab: EngineLab) -> None:
    with lab.refused("InvalidParameterValue", "The filter 'colour' is invalid"):
        find(lab, "colour", "red")


def test_values_are_or_and_filters_are_and(lab: EngineLab) -> None:
    first, second = lab.eni(Description="one"), lab.eni(Description="two")
    lab.eni(Description="three")
    assert set(find(lab, "description", "one", "two")) == {first, second}
    filters = [{"Name": "description", "Values": ["one", "two"]}, {"Name": "network-interface-id", "Values": [first]}]
    assert len(lab.call("DescribeNetworkInterfaces", Filters=filters)["NetworkInterfaces"]) == 1


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        *(("node-*", 1), ("node-?", 1), ("node-1?", 1), ("?", 0), ("*", 1)),
        *(("Node-1", 0), ("node-", 0), ("n.de-1", 0), ("[n]ode-1", 0)),
        *((r"node-\*", 0), (r"node-\?", 0), (r"n\ode-1", 1)),
    ],
)
def test_wildcards_and_case(lab: EngineLab, pattern: str, found: int) -> None:
    lab.eni(Description="node-1")
    assert len(find(lab, "description", pattern)) == found


def test_a_backslash_takes_the_meaning_of_a_wildcard(lab: EngineLab) -> None:
    lab.eni(Description="*amazon?\\")
    assert len(find(lab, "description", r"\*amazon\?\\")) == 1
    assert find(lab, "description", r"\*amazon\?") == []


def test_nothing_found_is_no_error(lab: EngineLab) -> None:
    assert find(lab, "tag:absent", "x") == []
    assert find(lab, "status") == []


def test_filters_on_the_attachment(lab: EngineLab) -> None:
    instance, eni, unattached = lab.instance(), lab.eni(), lab.eni()
    lab.attach(eni, instance, 1)
    assert len(find(lab, "attachment.instance-id", instance)) == 2
    assert find(lab, "attachment.device-index", "1") == [eni]
    assert find(lab, "attachment.delete-on-termination", "false") == [eni]
    assert find(lab, "status", "available") == [unattached]
    assert unattached not in find(lab, "attachment.status", "*")


def test_too_many_filter_values_are_refused_in_all_filters_together(lab: EngineLab) -> None:
    ids = {"Name": "attachment.instance-id", "Values": [f"i-{number:017x}" for number in range(200)]}
    assert lab.call("DescribeNetworkInterfaces", Filters=[ids])["NetworkInterfaces"] == []
    more = {"Name": "status", "Values": ["available"]}
    with lab.refused("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"):
        lab.call("DescribeNetworkInterfaces", Filters=[ids, more])


def test_tag_filters(lab: EngineLab) -> None:
    eni = lab.eni(TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "a:b", "Value": "1"}]}])
    lab.eni()
    assert find(lab, "tag:a:b", "1") == find(lab, "tag-key", "a:*") == [eni]


def test_too_many_filter_values_are_refused() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, filter_values_limit=2))
    with lab.refused("FilterLimitExceeded"):
        find(lab, "description", "a", "b", "c")


def test_pages_cover_everything_once_while_enis_come_and_go(lab: EngineLab) -> None:
    stay = {lab.eni() for _ in range(12)}
    seen, token = [], None
    while True:
        page = lab.call("DescribeNetworkInterfaces", MaxResults=5, NextToken=token)
        ids = [eni["NetworkInterfaceId"] for eni in page["NetworkInterfaces"]]
        seen += ids
        token = page["NextToken"]
        if token is None:
            break
        lab.eni()
        gone = ids[0]
        lab.call("DeleteNetworkInterface", NetworkInterfaceId=gone)
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


def test_a_bad_page_is_refused(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("InvalidParameterValue", "Expecting a value between 5 and 1000"):
        lab.call("DescribeNetworkInterfaces", MaxResults=4)
    with lab.refused("InvalidParameterCombination"):
        lab.call("DescribeNetworkInterfaces", MaxResults=5, NetworkInterfaceIds=[eni])
    for token in ("x", "bm90IGpzb24=", "W10="):
        with lab.refused("InvalidNextToken"):
            lab.call("DescribeNetworkInterfaces", MaxResults=5, NextToken=token)


def test_a_token_belongs_to_its_filters(lab: EngineLab) -> None:
    for _ in range(6):
        lab.eni()
    token = lab.call("DescribeNetworkInterfaces", MaxResults=5)["NextToken"]
    filters = [{"Name": "status", "Values": ["available"]}]
    with lab.refused("InvalidNextToken"):
        lab.call("DescribeNetworkInterfaces", MaxResults=5, NextToken=token, Filters=filters)
