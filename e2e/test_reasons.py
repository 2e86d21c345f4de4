"""Every way a pool can say no, on a real cluster: the reason is on pool, node and pod, and in a metric."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import pytest

from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.waiting import wait_for
from eni_testing.disturbances import environment
from eni_testing.reasons import (
    OPERATOR_METRICS,
    PATIENCE_SECONDS,
    Case,
    Trouble,
    calm,
    crowded,
    events,
    in_a_metric,
    in_the_cni_error,
    in_the_pool,
    on_the_node,
    patch,
    patch_agent,
    rest,
    told_everywhere,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUICK_AGENT = {"ENI_HOLD_SECONDS": "4", "ENI_HEARTBEAT_SECONDS": "4"}
SILENT_AFTER = {"ENI_AGENT_SILENT_SECONDS": "15"}


def refused(*codes: tuple[str, str], status: int = 400) -> Trouble:
    """EC2 answers APIs with codes, to this node only."""

    @contextmanager
    def trouble(lab: Lab, _node: Machine) -> Iterator[None]:
        with _all(
            lab.cloud.fault(action=api, code=code, message=f"{code} by the laboratory", status=status)
            for api, code in codes
        ):
            yield

    return trouble


@contextmanager
def _all(contexts: Iterator[AbstractContextManager[None]]) -> Iterator[None]:
    first = next(contexts, None)
    if first is None:
        yield
        return
    with first, _all(contexts):
        yield


def growth_refused(code: str, *, status: int = 400) -> Trouble:
    """Whatever would bring an address is answered so."""
    return refused(("AssignPrivateIpAddresses", code), ("CreateNetworkInterface", code), status=status)


def spec(**fields: object) -> Trouble:
    """The pool's own spec."""

    @contextmanager
    def trouble(lab: Lab, node: Machine) -> Iterator[None]:
        try:
            patch(lab, node, {"spec": fields})
            yield
        finally:
            patch(lab, node, {"spec": dict.fromkeys(fields)})

    return trouble


def nothing(_lab: Lab, _node: Machine) -> AbstractContextManager[None]:
    """The policy alone is trouble enough."""
    return nullcontext()


def cordoned(lab: Lab, node: Machine) -> AbstractContextManager[None]:
    @contextmanager
    def trouble() -> Iterator[None]:
        try:
            lab.kubectl("cordon", node.name)
            yield
        finally:
            lab.kubectl("uncordon", node.name)

    return trouble()


CASES = [
    Case("SubnetFull", "refused an address", growth_refused("InsufficientFreeAddressesInSubnet"), {}),
    Case("NoFreePrefix", "no whole /28", growth_refused("InsufficientCidrBlocks"), {"mode": "prefix"}, pods=2),
    Case("ENILimit", "m5.large", nothing, {"maximumENIs": 1}, pods=11),
    Case("AddressLimit", "maximumIPs is 2", nothing, {"maximumIPs": 2}, pods=4),
    Case(
        "AccessDenied",
        "ec2:AssignPrivateIpAddresses",
        lambda lab, _node: lab.cloud.denied("AssignPrivateIpAddresses"),
        {},
    ),
    Case("Throttled", "EC2 throttles", growth_refused("RequestLimitExceeded", status=503), {}),
    Case("EC2Unreachable", "does not answer", lambda lab, node: lab.cloud.endpoint_away(node.instance.address), {}),
    Case("ENIQuota", "quota", growth_refused("NetworkInterfaceLimitExceeded"), {}),
    Case(
        "CredentialsExpired",
        "has expired",
        lambda lab, node: lab.cloud.expired_credentials(node.instance.address),
        {},
    ),
    Case(
        "CredentialsMissing",
        "no usable AWS credential",
        refused(("AssumeRoleWithWebIdentity", "AccessDenied"), status=403),
        {},
        anew=True,
    ),
    Case(
        "UnknownInstance",
        "does not know this node's instance",
        refused(("AssignPrivateIpAddresses", "InvalidInstanceID.NotFound")),
        {},
    ),
    Case("Paused", "spec.paused is true", spec(paused=True), {}),
    Case("Unschedulable", "cordoned", cordoned, {}),
]


@pytest.fixture(scope="module")
def brisk(deployed: Lab) -> Iterator[Lab]:
    """The deployed laboratory with agents that give up soon and speak often."""
    with ExitStack() as undo:
        undo.enter_context(environment(deployed, "eni-agent", **QUICK_AGENT))
        undo.enter_context(environment(deployed, "eni-operator", **SILENT_AFTER))
        undo.callback(calm, deployed)
        yield deployed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_the_reason_is_in_all_four_places(brisk: Lab, case: Case) -> None:
    told_everywhere(brisk, case)


def test_vpc_cnis_event_names_the_missing_permission_on_the_operators_pod(brisk: Lab) -> None:
    node = brisk.nodes()[0]
    rest(brisk, node, {})
    with brisk.cloud.denied("AssignPrivateIpAddresses"), crowded(brisk, node, 3, {}):
        wait_for(
            "MissingIAMPermissions on the operator's pod",
            lambda: any(
                "ec2:AssignPrivateIpAddresses" in event["message"]
                for event in events(brisk, "kube-system")
                if event["reason"] == "MissingIAMPermissions" and event["involvedObject"]["kind"] == "Pod"
            ),
            seconds=PATIENCE_SECONDS,
        )


def test_provisioning_that_is_disabled_is_told_in_all_four_places(brisk: Lab) -> None:
    variable = "DISABLE_NETWORK_RESOURCE_PROVISIONING"
    rest(brisk, brisk.nodes()[0], {})
    with environment(brisk, "eni-operator", **{variable: "true"}):
        told_everywhere(brisk, Case("ProvisioningDisabled", variable, nothing, {}), rested=True, serves_again=False)


def test_a_silent_agent_is_told_by_the_pool_the_node_the_cni_and_a_metric(brisk: Lab) -> None:
    node, other = brisk.nodes()[:2]
    with agents_on(brisk, other), crowded(brisk, node, 1, {}):
        wait_for("the pool says AgentSilent", lambda: in_the_pool(brisk, node, "AgentSilent", "the agent"), seconds=90)
        wait_for("the node's Event says so", lambda: on_the_node(brisk, node, "AgentSilent"), seconds=30)
        wait_for("the CNI's error says so", lambda: in_the_cni_error(brisk, "agent"), seconds=60)
        assert in_a_metric(node, OPERATOR_METRICS, "AgentSilent")


@contextmanager
def agents_on(lab: Lab, node: Machine) -> Iterator[None]:
    """An agent runs on that node and on no other; at the end one runs on every node."""
    try:
        patch_agent(lab, {"nodeSelector": {"kubernetes.io/hostname": node.name}})
        yield
    finally:
        patch_agent(lab, {"nodeSelector": {"kubernetes.io/hostname": None}})
        lab.wait_until("agents are back", "rollout", "status", "-n", "kube-system", "ds/eni-agent", "--timeout=60s")
