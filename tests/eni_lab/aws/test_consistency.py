import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.table import Table
from eni_testing.ec2_engine import EngineLab


def test_describe_answers_as_of_a_while_ago() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, describe_lag_seconds=2.0))
    lab.now += 10
    eni = lab.eni()
    with lab.refused("InvalidNetworkInterfaceID.NotFound"):
        lab.show(eni)
    lab.now += 2
    lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    assert len(lab.show(eni)["PrivateIpAddresses"]) == 1
    lab.now += 2
    assert len(lab.show(eni)["PrivateIpAddresses"]) == 2
    lab.call("DeleteNetworkInterface", NetworkInterfaceId=eni)
    assert lab.show(eni)["NetworkInterfaceId"] == eni
    lab.now += 2
    assert lab.call("DescribeNetworkInterfaces")["NetworkInterfaces"] == []


def test_what_time_brought_about_is_dated_then_and_not_when_somebody_looked() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, describe_lag_seconds=2.0, detaching_seconds=2.0))
    eni = lab.eni()
    attachment = lab.attach(eni, lab.instance())
    lab.now += 60
    lab.call("DetachNetworkInterface", AttachmentId=attachment)
    lab.now += 3
    assert lab.show(eni)["Attachment"]["Status"] == "detaching"
    lab.now += 1
    assert lab.show(eni)["Status"] == "available"


def test_a_new_eni_can_be_unknown_to_mutations_for_a_while() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, visible_after_seconds=1.0))
    eni = lab.eni()
    with lab.refused("InvalidNetworkInterfaceID.NotFound"):
        lab.call("CreateTags", Resources=[eni], Tags=[{"Key": "a", "Value": "1"}])
    lab.now += 1
    lab.call("CreateTags", Resources=[eni], Tags=[{"Key": "a", "Value": "1"}])


def test_a_new_eni_can_be_pending_for_a_while() -> None:
    lab = EngineLab(knobs=Knobs(throttling=False, creating_seconds=1.0))
    eni = lab.eni()
    before = lab.engine.version
    assert lab.show(eni)["Status"] == "pending"
    lab.now += 1
    assert (lab.show(eni)["Status"], lab.engine.version > before) == ("available", True)


def test_a_table_undoes_its_changes_back_to_a_moment() -> None:
    moment = [0.0]
    table: Table[str] = Table(lambda: moment[0], lambda: 10.0)
    for at, value in ((1.0, "one"), (2.0, "two"), (4.0, "four")):
        moment[0] = at
        table.put("k", value)
    moment[0] = 5.0
    table.remove("k")
    past = {at: dict(table.as_of(at)) for at in (0.5, 1.0, 3.0, 4.5, 5.0)}
    assert past == {0.5: {}, 1.0: {"k": "one"}, 3.0: {"k": "two"}, 4.5: {"k": "four"}, 5.0: {}}


def test_a_table_forgets_what_nobody_will_ask_for() -> None:
    moment = [0.0]
    table: Table[int] = Table(lambda: moment[0], lambda: 1.0)
    for number in range(100):
        moment[0] = float(number)
        table.put("k", number)
    assert len(table._log) <= 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"colour": 1}, "there is no 'colour'"),
        ({"link_seconds": "2"}, "link_seconds is '2', input should be a valid number"),
        ({"link_seconds": True}, "link_seconds is True, input should be a valid number"),
        ({"throttling": 1}, "throttling is 1, input should be a valid boolean"),
        ({"link_seconds": -1.0}, "should be greater than or equal to 0"),
        ({"address_choice": "best"}, "address_choice is 'best', input should be 'random' or 'packed'"),
    ],
)
def test_a_bad_knob_is_refused(changes: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Knobs().changed(**changes)


def test_a_table_finds_by_term_only_what_had_it_or_changed_since() -> None:
    moment = [0.0]
    table: Table[str] = Table(lambda: moment[0], lambda: 10.0, lambda value: [("first letter", value[0])])
    for number in range(100):
        table.put(f"k{number}", f"{'ab'[number % 2]}{number}")
    moment[0] = 1.0
    table.put("k0", "b0")
    table.remove("k2")
    assert [value for value in table.find("first letter", "b") if value in {"b0", "b1"}] == ["b1", "b0"]
    assert set(table.candidates("first letter", ["a"], moment=1.0)) == {f"k{number}" for number in range(4, 100, 2)}
    before = table.candidates("first letter", ["b"], moment=0.5)
    assert (before["k0"], before["k2"], len(before)) == ("a0", "a2", 52)
    assert table.find("first letter", "c") == []
