from datetime import UTC, datetime
from pathlib import Path

import pytest

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus
from eni_node_agent.cluster.supply import SupplyFile, follow_pool, refusal
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


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param([], None, id="nothing said"),
        pytest.param([GROWING, NO_OBSTACLE], None, id="growing is no refusal"),
        pytest.param([SILENT], None, id="not having heard of us is no refusal"),
        pytest.param([GROWING, OBSTACLE], Refusal("SubnetFull", "subnet-1 is full"), id="an obstacle"),
        pytest.param([UNKNOWN_TYPE], Refusal("UnknownInstanceType", "x9.large is new"), id="not ready"),
        pytest.param([UNKNOWN_TYPE, OBSTACLE], Refusal("SubnetFull", "subnet-1 is full"), id="the nearer cause"),
    ],
)
def test_a_refusal_is_in_the_operators_words(conditions: list[Condition], expected: Refusal | None) -> None:
    assert refusal(conditions) == expected


def test_an_object_that_cannot_be_read_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    class Nowhere:
        """An API server nobody asks."""

    reflector = follow_pool(Nowhere(), "node-a", lambda _: None)  # type: ignore[arg-type]  # never used
    assert reflector._keep({"metadata": {}, "status": {"supply": {"enis": "none"}}}) is None
    assert "NodeIPPool cannot be read" in caplog.text
