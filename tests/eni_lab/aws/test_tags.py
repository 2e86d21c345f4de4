from typing import Any

from eni_testing.ec2_engine import EngineLab


def tags(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


def tagged(lab: EngineLab, *pairs: tuple[str, str], kind: str = "network-interface") -> str:
    return lab.eni(TagSpecifications=[{"ResourceType": kind, "Tags": tags(*pairs)}])


def test_tags_given_at_creation_are_there_at_once(lab: EngineLab) -> None:
    eni = tagged(lab, ("a", "1"), ("b", "2"))
    assert lab.show(eni)["TagSet"] == tags(("a", "1"), ("b", "2"))


def test_tags_for_another_kind_of_resource_are_refused(lab: EngineLab) -> None:
    with lab.refused("InvalidParameterValue", "'subnet' is not a valid taggable resource type"):
        tagged(lab, ("a", "1"), kind="subnet")


def test_create_tags_overwrites_and_adds(lab: EngineLab) -> None:
    eni = tagged(lab, ("a", "1"), ("b", "2"))
    lab.call("CreateTags", Resources=[eni, lab.seed.subnet_ids[0]], Tags=tags(("b", "3"), ("c", "4")))
    assert lab.show(eni)["TagSet"] == tags(("a", "1"), ("b", "3"), ("c", "4"))
    [subnet] = lab.call("DescribeSubnets", SubnetIds=[lab.seed.subnet_ids[0]])["Subnets"]
    assert subnet["Tags"] == tags(("b", "3"), ("c", "4"))


def test_create_tags_is_all_or_nothing(lab: EngineLab) -> None:
    eni = lab.eni()
    with lab.refused("InvalidNetworkInterfaceID.NotFound"):
        lab.call("CreateTags", Resources=[eni, "eni-00000000000000000"], Tags=tags(("a", "1")))
    with lab.refused("InvalidID"):
        lab.call("CreateTags", Resources=[eni, "thing-1"], Tags=tags(("a", "1")))


def test_fifty_tags_fit_and_no_more(lab: EngineLab) -> None:
    eni = tagged(lab, *((f"k{number}", "v") for number in range(50)))
    lab.call("CreateTags", Resources=[eni], Tags=tags(("k1", "again")))
    with lab.refused("TagLimitExceeded"):
        lab.call("CreateTags", Resources=[eni], Tags=tags(("k50", "v")))


def test_keys_and_values_have_limits(lab: EngineLab) -> None:
    eni = lab.eni()
    for key, value in (("aws:x", "1"), ("", "1"), ("k" * 129, "1"), ("k", "v" * 257)):
        with lab.refused("InvalidParameterValue"):
            lab.call("CreateTags", Resources=[eni], Tags=tags((key, value)))


def test_delete_tags_heeds_the_value_only_when_one_is_given(lab: EngineLab) -> None:
    eni = tagged(lab, ("a", "1"), ("b", "2"), ("c", "3"))
    doomed: list[dict[str, Any]] = [{"Key": "a"}, {"Key": "b", "Value": "other"}]
    lab.call("DeleteTags", Resources=[eni], Tags=doomed)
    assert lab.show(eni)["TagSet"] == tags(("b", "2"), ("c", "3"))
    lab.call("DeleteTags", Resources=[eni])
    assert lab.show(eni)["TagSet"] == []


def test_describe_tags_finds_by_resource_and_key(lab: EngineLab) -> None:
    eni = tagged(lab, ("a", "1"), ("b", "2"))
    tagged(lab, ("a", "9"))
    wanted = [{"Name": "resource-id", "Values": [eni]}, {"Name": "key", "Values": ["a"]}]
    found = lab.call("DescribeTags", Filters=wanted)["Tags"]
    assert found == [{"ResourceId": eni, "ResourceType": "network-interface", "Key": "a", "Value": "1"}]
