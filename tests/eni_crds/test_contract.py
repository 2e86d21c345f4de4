"""How an object is read and written, whatever its fields."""

from datetime import UTC, datetime
from typing import Any

import pytest

from eni_crds.contract import ContractError
from eni_crds.nodeippool import Condition, ConditionStatus, Mode, NodeIPPool, PolicySpec, SupplySubnet

SUBNET = {"id": "subnet-1", "zone": "a", "cidr": "10.0.0.0/24", "free": 3}
CONDITION = {"type": "Ready", "status": "True", "reason": "PoolReady", "lastTransitionTime": "2026-01-02T03:04:05Z"}


def test_what_a_later_release_adds_is_kept_out_of_the_way() -> None:
    assert SupplySubnet.parse({**SUBNET, "colour": "blue"}) == SupplySubnet.parse(SUBNET)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"spec": {"policy": {"warmIPs": "3"}}}, "spec.policy.warmIPs: Expected `int | null`, got `str`"),
        ({"spec": {"policy": {"warmIPs": -1}}}, "spec.policy.warmIPs: Expected `int` >= 0"),
        ({"spec": {"policy": {"mode": "odd"}}}, "spec.policy.mode: Invalid enum value 'odd'"),
        ({"status": {"conditions": [CONDITION, {"type": 1}]}}, "status.conditions[1].type: Expected `str`, got `int`"),
        ({"status": {"conditions": [{}]}}, "status.conditions[0]: Object missing required field `type`"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_an_error_names_the_field_as_it_is_on_the_wire(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ContractError) as caught:
        NodeIPPool.parse(document)
    assert str(caught.value) == sentence


def test_an_instant_without_its_offset_from_utc_is_refused() -> None:
    """Two daemons on two clocks would read it differently."""
    with pytest.raises(ContractError, match="lastTransitionTime"):
        Condition.parse({**CONDITION, "lastTransitionTime": "2026-01-02T03:04:05"})


def test_what_is_written_reads_as_it_was() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    whole = Condition(type="Ready", status=ConditionStatus.TRUE, reason="PoolReady", last_transition_time=since)
    assert whole.dump()["lastTransitionTime"] == "2026-01-02T03:04:05.678901Z"
    assert Condition.parse(whole.dump()) == whole


def test_absent_stays_absent_and_zero_is_written() -> None:
    assert PolicySpec(warm_ips=0, mode=Mode.PREFIX).dump() == {"warmIPs": 0, "mode": "prefix"}
    assert NodeIPPool().dump() == {
        "metadata": {},
        "spec": {"policy": {}, "paused": False},
        "status": {"conditions": []},
    }


def test_a_copy_differs_in_what_is_named_alone() -> None:
    spec = PolicySpec(warm_ips=1, maximum_pods=2)
    assert spec.replace(maximum_pods=3) == PolicySpec(warm_ips=1, maximum_pods=3)
    assert spec.maximum_pods == 2


def test_defaults_of_one_object_are_not_another_s() -> None:
    one, other = NodeIPPool(), NodeIPPool()
    one.metadata["name"] = "node-a"
    assert other.metadata == {}
