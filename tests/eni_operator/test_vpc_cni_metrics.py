"""VPC CNI's counters on the operator's side. They are the process's, so each test looks at what it adds."""

from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eni_crds.vpc_cni_metrics import SHAPES
from eni_operator import vpc_cni_metrics
from eni_operator.domain.actions import Action, AssignAddresses, RemoveEni, Unassign
from eni_operator.domain.eni import Eni, EniId, SubnetId


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Gives each test counters of its own."""
    counters = [value for value in vars(vpc_cni_metrics).values() if isinstance(value, Counter)]
    before = [counter.copy() for counter in counters]
    for counter in counters:
        counter.clear()
    yield
    for counter, values in zip(counters, before, strict=True):
        counter.clear()
        counter.update(values)


def value(name: str, **labels: str) -> float:
    families = text_string_to_metric_families(vpc_cni_metrics.text().decode())
    found = (sample for family in families for sample in family.samples)
    return sum(
        each.value
        for each in found
        if each.name.removesuffix("_total") == f"awscni_{name}" and labels.items() <= each.labels.items()
    )


def eni(*addresses: str, name: str = "eni-1") -> Eni:
    return Eni(EniId(name), "02:00:00:00:00:01", SubnetId("subnet-1"), "10.0.0.9", addresses=addresses)


ASSIGN = AssignAddresses(EniId("eni-1"), 3)
UNASSIGN = Unassign(EniId("eni-1"), addresses=("10.0.0.4",), prefixes=())
REMOVE = RemoveEni(EniId("eni-1"), None)


def test_a_call_is_counted_and_timed() -> None:
    vpc_cni_metrics.observe_call("AssignPrivateIpAddresses", "", 200, 0.25)
    vpc_cni_metrics.observe_call("AssignPrivateIpAddresses", "", 200, 0.5)
    labels = {"api": "AssignPrivateIpAddresses", "error": "false", "status": "200"}
    assert value("aws_api_latency_ms_sum", **labels) == 750
    assert value("aws_api_latency_ms_count", **labels) == 2
    assert value("ec2api_req_count", fn="AssignPrivateIpAddresses") == 2
    assert value("ec2api_error_count") == 0


def test_a_refused_call_has_awss_code() -> None:
    vpc_cni_metrics.observe_call("CreateNetworkInterface", "RequestLimitExceeded", 503, 0.1)
    vpc_cni_metrics.observe_call("CreateNetworkInterface", "Ec2UnavailableError", 0, 10)
    assert value("aws_api_error_count", api="CreateNetworkInterface", error="RequestLimitExceeded") == 1
    assert value("aws_api_latency_ms_count", error="true", status="503") == 1
    assert value("aws_api_latency_ms_count", error="true", status="") == 1
    assert value("ec2api_error_count", fn="CreateNetworkInterface") == 2


@pytest.mark.parametrize(
    ("action", "fn"),
    [
        (ASSIGN, "increaseIPPoolAllocIPAddressesFailed"),
        (UNASSIGN, "decreaseIPPool"),
        (REMOVE, "decreaseIPPoolFreeENIFailed"),
    ],
)
def test_a_failed_action_is_counted_by_vpc_cnis_word(action: Action, fn: str) -> None:
    vpc_cni_metrics.failed(action, "DetachNetworkInterface", "X")
    assert value("ipamd_error_count", fn=fn) == value("ipamd_error_count") == 1
    assert value("aws_utils_error_count") == 0


def test_an_eni_that_cannot_be_deleted_counts_twice_as_there() -> None:
    vpc_cni_metrics.failed(REMOVE, "DeleteNetworkInterface", "InvalidParameterValue")
    assert value("aws_utils_error_count", fn="FreeENIDeleteErr", error="InvalidParameterValue") == 1
    assert value("ipamd_error_count") == 1


@pytest.mark.parametrize(("action", "fn"), [(ASSIGN, "increaseDatastorePool"), (UNASSIGN, "decreaseDatastorePool")])
def test_what_is_under_way_is_counted_while_it_is(action: Action, fn: str) -> None:
    with vpc_cni_metrics.performing(action):
        assert value("ipamd_action_inprogress", fn=fn) == 1
    assert value("ipamd_action_inprogress", fn=fn) == 0


@pytest.mark.parametrize(
    ("before", "after", "fn"),
    [
        ([eni()], [eni(), eni(name="eni-2")], "eniReconcileAdd"),
        ([eni(), eni(name="eni-2")], [eni()], "eniReconcileDel"),
        ([eni("10.0.0.4")], [eni("10.0.0.4", "10.0.0.5")], "eniDataStorePoolReconcileAdd"),
        ([eni("10.0.0.4")], [eni()], "eniIPPoolReconcileDel"),
    ],
)
def test_what_others_did_in_ec2_is_counted(before: list[Eni], after: list[Eni], fn: str) -> None:
    vpc_cni_metrics.observed(before, after)
    assert value("reconcile_count", fn=fn) == value("reconcile_count") == 1


def test_the_first_look_surprises_nobody() -> None:
    vpc_cni_metrics.observed([], [eni("10.0.0.4")])
    assert value("reconcile_count") == 0


def test_the_operator_serves_what_the_contract_says_it_does() -> None:
    text = vpc_cni_metrics.text().decode()
    served = {line.split()[2].removeprefix("awscni_") for line in text.splitlines() if line.startswith("# TYPE")}
    assert served == {name for name, shape in SHAPES.items() if "operator" in shape.served_by}
