from datetime import UTC, datetime
from pathlib import Path

import pytest

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus, Family
from eni_node_agent.cluster.supply import SupplyFile, follow_pool, progress, refusal
from eni_node_agent.sandbox.pool import Refusal
from eni_testing.supplies import eni, supply

SUPPLY = supply(eni(0, addresses=["10.0.1.5"]), eni(1, prefixes=["10.0.2.0/28"], releasing=[("10.0.2.0/28", "t1")]))


def condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str = "") -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time=datetime(2026, 1, 1, tzinfo=UTC)
    )


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    file = SupplyFile(tmp_path / "new" / "supply.json")
    assert file.load() is None
    file.save(SUPPLY)
    assert file.load() == SUPPLY


BEFORE_THIS_RELEASE = (
    '{"instance":{"id":"i-a","type":"m5.large","zone":"us-east-1a","vpcID":"vpc-1"},'
    '"limits":{"enis":3,"addressesPerENI":10,"maximumPods":29},"vpcCIDRs":["10.0.0.0/16"],'
    '"policy":{"cooldownSeconds":{"value":30,"origin":"default"}},"wanted":1,'
    '"totals":{"enis":1,"prefixes":0,"addresses":1},"generation":0,'
    '"enis":[{"id":"eni-a","mac":"02:00:00:00:00:00","deviceIndex":0,"networkCard":0,"role":"primary",'
    '"subnetID":"subnet-1","subnetCIDR":"10.0.0.0/24","gateway":"10.0.0.1","primaryIP":"10.0.0.10",'
    '"securityGroups":["sg-1"],"state":"attached","addresses":["10.0.0.11"],"prefixes":[],'
    '"releasing":[{"cidr":"10.0.0.11/32","token":"t1"}]}]}'
)


def test_a_supply_saved_by_an_older_agent_is_read(tmp_path: Path) -> None:
    path = tmp_path / "supply.json"
    path.write_text(BEFORE_THIS_RELEASE)
    found = SupplyFile(path).load()
    assert found is not None
    assert found.families == [Family.IPV4]
    assert found.snat is None
    assert [(each.addresses, each.excluded, each.ipv6_prefixes) for each in found.enis] == [(["10.0.0.11"], None, [])]


@pytest.mark.parametrize("content", [b"", b'{"enis": [', b"[]", b"\xff\xfe"])
def test_a_torn_file_is_no_supply_and_says_so(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "supply.json"
    path.write_bytes(content)
    assert SupplyFile(path).load() is None
    assert "saved supply cannot be used" in caplog.text


def test_a_supply_that_cannot_be_saved_leaves_the_old_file_whole(tmp_path: Path) -> None:
    file = SupplyFile(tmp_path / "supply.json")
    file.save(SUPPLY)
    (tmp_path / ".supply.json.draft").mkdir()
    with pytest.raises(OSError, match="draft"):
        file.save(supply())
    assert file.load() == SUPPLY


OBSTACLE = condition(ConditionType.SUBNET_EXHAUSTED, ConditionStatus.TRUE, Reason.SUBNET_FULL, "subnet-1 is full")
NO_OBSTACLE = condition(ConditionType.SUBNET_EXHAUSTED, ConditionStatus.FALSE, Reason.NOT_AFFECTED)
GROWING = condition(ConditionType.SUFFICIENT, ConditionStatus.FALSE, Reason.GROWING, "3 of 5 addresses")
SILENT = condition(ConditionType.READY, ConditionStatus.FALSE, Reason.AGENT_SILENT, "no report yet")
UNKNOWN_TYPE = condition(ConditionType.READY, ConditionStatus.FALSE, Reason.UNKNOWN_INSTANCE_TYPE, "x9.large is new")

DENIED = condition(ConditionType.ACCESS_DENIED, ConditionStatus.TRUE, Reason.ACCESS_DENIED, "no ec2:X")
BUSY = condition(ConditionType.THROTTLED, ConditionStatus.TRUE, Reason.THROTTLED, "EC2 throttles")
NO_CONFIG = condition(ConditionType.SUFFICIENT, ConditionStatus.FALSE, Reason.ENICONFIG_MISSING, "no pods")
GROWS = condition(ConditionType.SUFFICIENT, ConditionStatus.TRUE, Reason.GROWING, "growing from 3 to 8 addresses")
BEFORE = condition(
    ConditionType.SUFFICIENT, ConditionStatus.FALSE, Reason.NOT_AFFECTED, "not known before EC2 has told"
)
OVERCOMMITTED = condition(
    ConditionType.OVERCOMMITTED, ConditionStatus.TRUE, Reason.MAXIMUM_PODS_TOO_HIGH, "110, not 29"
)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param([], None, id="nothing said"),
        pytest.param([GROWING, NO_OBSTACLE], None, id="growing is no refusal"),
        pytest.param([SILENT], None, id="not having heard of us is no refusal"),
        pytest.param([GROWING, OBSTACLE], Refusal("SubnetFull", "subnet-1 is full"), id="an obstacle"),
        pytest.param([UNKNOWN_TYPE], Refusal("UnknownInstanceType", "x9.large is new"), id="not ready"),
        pytest.param([UNKNOWN_TYPE, OBSTACLE], Refusal("SubnetFull", "subnet-1 is full"), id="the nearer cause"),
        pytest.param([OBSTACLE, DENIED], Refusal("AccessDenied", "no ec2:X"), id="what a person must act on"),
        pytest.param([OBSTACLE, NO_CONFIG], Refusal("ENIConfigMissing", "no pods"), id="the operator's own answer"),
        pytest.param([GROWS, OBSTACLE, DENIED, BUSY], None, id="one subnet is full, and it grows elsewhere"),
        pytest.param(
            [GROWS, UNKNOWN_TYPE], Refusal("UnknownInstanceType", "x9.large is new"), id="not ready all the same"
        ),
        pytest.param([BEFORE], None, id="the operator knows nothing yet"),
        pytest.param([OVERCOMMITTED], None, id="a promise too many does not keep it from growing"),
    ],
)
def test_a_refusal_is_in_the_operators_words(conditions: list[Condition], expected: Refusal | None) -> None:
    assert refusal(conditions) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param([], None, id="nothing said"),
        pytest.param([BEFORE], None, id="nothing of use"),
        pytest.param([SILENT, GROWS], Refusal("AgentSilent", "no report yet"), id="it has not heard of us"),
        pytest.param([GROWS], Refusal("Growing", "growing from 3 to 8 addresses"), id="it grows"),
        pytest.param([OVERCOMMITTED], Refusal("MaximumPodsTooHigh", "110, not 29"), id="more pods than it can hold"),
    ],
)
def test_progress_is_in_the_operators_words(conditions: list[Condition], expected: Refusal | None) -> None:
    assert progress(conditions) == expected


SAYS_NOTHING_IS_WRONG = {
    Reason.POOL_READY,
    Reason.ADDRESSES_AVAILABLE,
    Reason.NOT_AFFECTED,
    Reason.NETWORK_IN_ORDER,
    Reason.NETWORK_REPAIRED,
    Reason.AGENT_SERVING,
}


@pytest.mark.parametrize("reason", sorted(set(Reason) - SAYS_NOTHING_IS_WRONG))
@pytest.mark.parametrize("kind", [ConditionType.SUFFICIENT, ConditionType.READY])
def test_every_reason_of_the_operator_reaches_who_asks(kind: ConditionType, reason: Reason) -> None:
    said = [condition(kind, ConditionStatus.FALSE, reason, "why")]
    assert (refusal(said) or progress(said)) == Refusal(reason, "why")


def test_an_object_that_cannot_be_read_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    class Nowhere:
        """An API server nobody asks."""

    reflector = follow_pool(Nowhere(), "node-a", lambda _: None)  # type: ignore[arg-type]  # never used
    assert reflector._keep({"metadata": {}, "status": {"supply": {"enis": "none"}}}) is None
    assert "NodeIPPool cannot be read" in caplog.text
