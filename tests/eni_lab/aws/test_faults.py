import pytest

from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.parsing import parse
from eni_lab.aws.faults import Fault, FaultPlan, When

ME = Caller("system:serviceaccount:kube-system:eni-operator", "aiobotocore/3 eni-operator/0.1", "10.0.1.7")


def hits(plan: FaultPlan, when: When = "before", action: str = "CreateTags", calls: int = 4) -> list[bool]:
    return [plan.strike(when, action, ME) is not None for _ in range(calls)]


def test_a_fault_hits_as_often_as_it_says_after_as_many_as_it_skips() -> None:
    plan = FaultPlan()
    plan.add(Fault(action="CreateTags", code="X", count=2, skip=1))
    assert hits(plan) == [False, True, True, False]
    assert plan.rules == {}


def test_a_fault_without_count_hits_for_ever() -> None:
    plan = FaultPlan()
    plan.add(Fault(code="X", count=0))
    assert hits(plan) == [True] * 4


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault(action="Create*"), True),
        (Fault(action="Delete*"), False),
        (Fault(caller="*:eni-operator"), True),
        (Fault(caller="*eni-operator/0.1"), True),
        (Fault(caller="10.0.1.7"), True),
        (Fault(caller="10.0.2.*"), False),
        (Fault(caller="AKIA*"), False),
        (Fault(when="after"), False),
    ],
)
def test_a_fault_hits_by_action_caller_and_moment(fault: Fault, hit: bool) -> None:  # noqa: FBT001, a table's column
    plan = FaultPlan()
    plan.add(fault)
    assert hits(plan, calls=1) == [hit]


def test_the_first_rule_wins_and_the_next_waits_its_turn() -> None:
    plan = FaultPlan()
    plan.add(Fault(code="First"))
    plan.add(Fault(code="Second"))
    struck = [plan.strike("before", "CreateTags", ME) for _ in range(3)]
    assert [fault.code if fault else None for fault in struck] == ["First", "Second", None]


@pytest.mark.parametrize("bad", [{"when": "during"}, {"status": 200}, {"count": -1}, {"latency": -0.1}, {"action": 5}])
def test_a_bad_fault_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is .*, input should be"):
        parse(Fault, bad)
