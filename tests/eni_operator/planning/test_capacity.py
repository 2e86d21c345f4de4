"""The scaling law by tables: what is wanted, on an empty node unless said otherwise."""

from typing import Any

import pytest

from eni_operator.domain.eni import EniId
from eni_operator.domain.pool import Usage
from eni_operator.planning.plan import plan
from eni_testing.instances import attached, instance_of
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")


def wanted(type_: str, usage: Usage, **policy: Any) -> int:
    return plan(world_of(type_, usage=usage), policy_of(**policy), 0.0, "nonce").wanted


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), 1),
        (Usage(assigned=10), 11),
        (Usage(assigned=10, pending=5), 16),
        (Usage(assigned=10, cooling=5), 16),
        (Usage(assigned=50, pending=8), 56),
    ],
    ids=[
        "an empty node",
        "running pods",
        "pods on their way",
        "cooling addresses are not free",
        "never beyond the ENIs",
    ],
)
def test_our_default_wants_demand_and_one(usage: Usage, expected: int) -> None:
    assert wanted("c5.xlarge", usage) == expected


@pytest.mark.parametrize(
    ("policy", "assigned", "expected"),
    [
        ({"warmIPs": 5}, 10, 15),
        ({"minimumIPs": 12}, 3, 12),
        ({"warmIPs": 5, "minimumIPs": 12}, 3, 12),
        ({"warmIPs": 5, "minimumIPs": 12}, 10, 15),
        ({"warmIPs": 2, "warmENIs": 3}, 10, 12),
        ({"warmIPs": 0}, 10, 10),
        ({"warmIPs": 0, "warmENIs": 1}, 10, 28),
        ({"warmENIs": 0}, 10, 14),
        ({"warmENIs": 0}, 14, 28),
        ({"warmENIs": 1}, 10, 28),
        ({"mode": "prefix"}, 15, 16),
        ({"mode": "prefix"}, 16, 32),
        ({"mode": "prefix", "warmPrefixes": 1}, 16, 32),
        ({"mode": "prefix", "warmPrefixes": 1}, 17, 48),
        ({"mode": "prefix", "warmPrefixes": 0}, 15, 16),
        ({"mode": "prefix", "warmPrefixes": 0}, 16, 32),
        ({"mode": "prefix", "warmIPs": 5}, 12, 32),
        ({"mode": "prefix", "warmENIs": 2}, 10, 16),
        ({"mode": "auto"}, 10, 16),
    ],
    ids=str,
)
def test_targets_mean_what_they_mean_to_vpc_cni(policy: dict[str, Any], assigned: int, expected: int) -> None:
    assert wanted("c5.xlarge", Usage(assigned=assigned), **policy) == expected


@pytest.mark.parametrize(
    ("policy", "usage", "expected"),
    [
        ({"maximumENIs": 2}, Usage(assigned=40), 28),
        ({"maximumIPs": 20}, Usage(assigned=40), 20),
        ({"maximumIPs": 20, "mode": "prefix"}, Usage(assigned=40), 16),
        ({"maximumPods": 12}, Usage(assigned=12), 12),
        ({"maximumPods": 12}, Usage(assigned=12, cooling=3), 15),
        ({"maximumPods": 12, "mode": "prefix", "warmPrefixes": 2}, Usage(assigned=1), 16),
    ],
    ids=[
        "ENIs",
        "addresses",
        "addresses in whole prefixes",
        "pods",
        "cooling on top of pods",
        "pods in whole prefixes",
    ],
)
def test_limits_cap_what_is_wanted(policy: dict[str, Any], usage: Usage, expected: int) -> None:
    assert wanted("c5.xlarge", usage, **policy) == expected


def test_prefixes_on_a_type_without_them_become_single_addresses() -> None:
    assert wanted("t2.micro", Usage(), mode="prefix") == 1


def test_an_unmanaged_eni_takes_a_device_slot_and_gives_nothing() -> None:
    foreign = attached(C5, 1, addresses=14, tags={"node.k8s.amazonaws.com/no_manage": "true"})
    world = world_of("c5.xlarge", attached(C5, 0), foreign, usage=Usage(assigned=55, reported=True))
    assert plan(world, policy_of(), 0.0, "nonce").wanted == 3 * 14


@pytest.mark.parametrize(
    ("type_", "policy", "expected"),
    [
        ("t3.small", {}, 3 * 3 + 2),
        ("m5.large", {}, 3 * 9 + 2),
        ("c5.xlarge", {"maximumENIs": 2}, 2 * 14 + 2),
        ("m5.large", {"mode": "prefix"}, 3 * 9 * 16 + 2),
        ("m5.large", {"mode": "auto"}, 3 * 9 * 16 + 2),
        ("m5.large", {"mode": "prefix", "maximumPods": 110}, 112),
        ("m5.large", {"maximumIPs": 20}, 22),
        ("t2.micro", {"mode": "prefix"}, 2 * 1 + 2),
    ],
)
def test_the_pods_an_instance_can_address_follow_aws_formula(type_: str, policy: dict[str, Any], expected: int) -> None:
    assert plan(world_of(type_), policy_of(**policy), 0.0, "nonce").maximum_pods == expected


def test_enis_pods_cannot_use_are_not_counted_into_what_can_be_addressed() -> None:
    foreign = attached(C5, 1, tags={"node.k8s.amazonaws.com/no_manage": "true"})
    ours = attached(C5, 2)
    world = world_of("c5.xlarge", attached(C5, 0), foreign, ours, excluded={EniId("eni-0"): "why", ours.id: "why"})
    assert plan(world, policy_of(), 0.0, "nonce").maximum_pods == 2 * 14 + 2
