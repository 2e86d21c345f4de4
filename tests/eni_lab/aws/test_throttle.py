"""Rates: ec2-api-throttling.html, "Request token bucket sizes and refill rates"."""

from typing import Any

import pytest

from eni_lab.aws.engine.access import Denial
from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.throttle import Throttle
from eni_testing.ec2_engine import EngineLab

FILTERED = {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}]}


def admitted(throttle: Throttle, action: str, args: dict[str, Any], now: float, knobs: Knobs | None = None) -> int:
    """Counts the calls that pass before one is refused."""
    number = 0
    while True:
        try:
            throttle.admit(action, args, knobs or Knobs(), now)
        except Ec2Error as error:
            refused = (error.code, error.status)
            break
        number += 1
    assert refused == ("RequestLimitExceeded", 503)
    return number


@pytest.mark.parametrize(
    ("action", "args", "capacity", "refill"),
    [
        ("CreateNetworkInterface", {}, 100, 5),
        ("AssignPrivateIpAddresses", {}, 100, 5),
        ("AttachNetworkInterface", {}, 50, 5),
        ("DetachNetworkInterface", {}, 50, 5),
        ("UnassignIpv6Addresses", {}, 50, 5),
        ("CreateTags", {}, 100, 10),
        ("DescribeSubnets", {}, 100, 20),
        ("DescribeNetworkInterfaces", {}, 50, 10),
        ("DescribeNetworkInterfaces", {"NetworkInterfaceIds": ["eni-1"]}, 50, 10),
        ("DescribeNetworkInterfaces", FILTERED, 100, 20),
        ("DescribeInstances", {"MaxResults": 5}, 100, 20),
        ("CreateSubnetCidrReservation", {}, 5, 1),
        ("RunInstances", {}, 5, 2),
        ("TerminateInstances", {"InstanceIds": ["i-1"]}, 100, 5),
    ],
)
def test_each_api_has_its_published_bucket(action: str, args: dict[str, Any], capacity: int, refill: int) -> None:
    throttle = Throttle()
    assert admitted(throttle, action, args, 1000.0) == capacity
    assert admitted(throttle, action, args, 1003.0) == min(capacity, 3 * refill)
    assert admitted(throttle, action, args, 9999.0) == capacity


def test_launches_also_cost_per_instance() -> None:
    throttle = Throttle()
    assert admitted(throttle, "RunInstances", {"MaxCount": 400}, 1000.0) == 2


def test_buckets_are_apart() -> None:
    throttle = Throttle()
    admitted(throttle, "AttachNetworkInterface", {}, 1000.0)
    admitted(throttle, "DescribeNetworkInterfaces", {}, 1000.0)
    throttle.admit("DetachNetworkInterface", {}, Knobs(), 1000.0)
    throttle.admit("DescribeNetworkInterfaces", FILTERED, Knobs(), 1000.0)


def test_a_refused_call_costs_nothing_unless_the_knob_says_so() -> None:
    for knobs, later in ((Knobs(), 5), (Knobs(rejected_calls_cost=True), 5)):
        throttle = Throttle()
        admitted(throttle, "AttachNetworkInterface", {}, 1000.0, knobs)
        assert admitted(throttle, "AttachNetworkInterface", {}, 1001.0, knobs) == later
    refused = Knobs(rejected_calls_cost=True)
    throttle = Throttle()
    admitted(throttle, "AttachNetworkInterface", {}, 1000.0, refused)
    with pytest.raises(Ec2Error):
        throttle.admit("AttachNetworkInterface", {}, refused, 1000.1)
    assert admitted(throttle, "AttachNetworkInterface", {}, 1000.2, refused) == 0
    throttle = Throttle()
    admitted(throttle, "AttachNetworkInterface", {}, 1000.0)
    with pytest.raises(Ec2Error):
        throttle.admit("AttachNetworkInterface", {}, Knobs(), 1000.1)
    assert admitted(throttle, "AttachNetworkInterface", {}, 1000.2) == 1


def test_the_scale_raises_capacity_and_refill() -> None:
    throttle, knobs = Throttle(), Knobs(throttle_scale=2.0)
    assert admitted(throttle, "AttachNetworkInterface", {}, 1000.0, knobs) == 100
    assert admitted(throttle, "AttachNetworkInterface", {}, 1001.0, knobs) == 10


def test_the_level_of_a_bucket_is_what_calls_left_and_time_gave_back() -> None:
    throttle = Throttle()
    for _ in range(30):
        throttle.admit("AttachNetworkInterface", {}, Knobs(), 1000.0)
    level = {"tokens": 30.0, "capacity": 50.0, "refill": 5.0}
    assert throttle.levels(Knobs(), 1002.0) == {"AttachNetworkInterface": level}


def test_ids_may_count_as_a_filter() -> None:
    by_ids = {"NetworkInterfaceIds": ["eni-1"]}
    assert admitted(Throttle(), "DescribeNetworkInterfaces", by_ids, 1000.0, Knobs(ids_count_as_filter=True)) == 100


def test_a_throttled_call_changes_nothing() -> None:
    lab = EngineLab(knobs=Knobs())
    for _ in range(100):
        lab.eni()
    with lab.refused("RequestLimitExceeded", "Request limit exceeded."):
        lab.eni()
    lab.now += 0.2
    lab.eni()


def test_a_denied_caller_is_told_so_and_others_go_on(lab: EngineLab) -> None:
    lab.engine.access.denials.append(Denial("Create*", "*:eni-operator"))
    operator, other = Caller("system:serviceaccount:kube-system:eni-operator"), Caller("AKIAOTHER")
    request = {"SubnetId": lab.seed.subnet_ids[0]}
    with pytest.raises(Ec2Error) as caught:
        lab.engine.call("CreateNetworkInterface", request, operator)
    assert (caught.value.code, caught.value.status) == ("UnauthorizedOperation", 403)
    assert caught.value.message == (
        "You are not authorized to perform this operation. "
        f"User: arn:aws:sts::123456789012:assumed-role/{operator.name} "
        "is not authorized to perform: ec2:CreateNetworkInterface "
        "on resource: arn:aws:ec2:us-east-1:123456789012:network-interface/* "
        "because no identity-based policy allows the ec2:CreateNetworkInterface action"
    )
    lab.engine.call("CreateNetworkInterface", request, other)
    lab.engine.call("DescribeNetworkInterfaces", {}, operator)
