"""EC2 says no: the pool says what, where, and when it tries again; pods keep what they have; it goes on by itself."""

import re
from dataclasses import dataclass

import pytest

from eni_crds.conditions import OPERATOR_CONDITIONS, ConditionType
from eni_testing.operator_node import OperatorNode

CREATE, ATTACH = "CreateNetworkInterface", "AttachNetworkInterface"
GROWTH = ("AssignPrivateIpAddresses", CREATE)
DENIED = "You are not authorized to perform this operation. User: r is not authorized to perform: ec2:{}"


@dataclass(frozen=True)
class Case:
    """What EC2 answers to which API, and what the pool then says."""

    code: str
    text: str
    status: int
    condition: str
    reason: str
    words: str
    apis: tuple[str, ...] = GROWTH


CASES = (
    Case("InsufficientFreeAddressesInSubnet", "…", 400, "SubnetExhausted", "SubnetFull", "subnet-"),
    Case("RequestLimitExceeded", "Request limit exceeded.", 503, "Throttled", "Throttled", "throttles"),
    Case("UnauthorizedOperation", DENIED.format("X"), 403, "AccessDenied", "AccessDenied", "ec2:X"),
    Case("AuthFailure", "not able to validate", 401, "AccessDenied", "CredentialsMissing", "not able to validate"),
    Case("AttachmentLimitExceeded", "Interface count 4", 400, "LimitReached", "ENILimit", "count 4", (ATTACH,)),
    Case("PrivateIpAddressLimitExceeded", "will exceed limit.", 400, "LimitReached", "AddressLimit", "eni-"),
    Case("NetworkInterfaceLimitExceeded", "5000", 400, "LimitReached", "ENIQuota", "quota", (CREATE,)),
    Case("InternalError", "An internal error", 500, "Sufficient", "EC2Unreachable", "AssignPrivateIpAddresses"),
    Case("SomethingNew", "we never saw this", 400, "Sufficient", "EC2Error", "we never saw this"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
async def test_a_refusal_becomes_a_condition_with_a_reason_and_a_sentence(case: Case) -> None:
    node = OperatorNode()
    node.agent.want(3)
    await node.settle()
    node.refuse |= dict.fromkeys(case.apis, (case.code, case.text, case.status))
    node.agent.want(20)
    for _ in range(8):
        await node.step()
    is_negative = case.condition != "Sufficient"
    found = node.kube.condition(case.condition)
    assert (found["reason"], found["status"]) == (case.reason, "True" if is_negative else "False")
    assert case.words in found["message"]
    assert re.search(r"next try at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["message"])
    assert node.kube.condition("Sufficient")["status"] == "False"
    ready = node.kube.condition("Ready")
    assert ready["status"] == "False"
    assert ready["reason"] not in {"Growing", "PoolReady"}

    node.refuse.clear()
    node.lab.now += 120
    await node.settle()
    assert node.agent.pending == 0
    assert node.leaked() == []
    assert node.kube.condition("Sufficient")["status"] == "True"
    assert node.kube.condition(case.condition)["status"] == ("False" if is_negative else "True")


@pytest.mark.parametrize("refused", [False, True])
async def test_every_condition_has_a_sentence_in_every_state(*, refused: bool) -> None:
    node = OperatorNode()
    if refused:
        node.refuse["DescribeInstances"] = ("Unavailable", "try later", 503)
    await node.step()
    messages = {type_: node.kube.condition(type_)["message"] for type_ in OPERATOR_CONDITIONS}
    assert all(messages.values()), messages
    assert messages[ConditionType.THROTTLED] == "EC2 throttles no call of this node"
    assert messages[ConditionType.ACCESS_DENIED] == "no call of this node lacks a permission or a credential"


async def test_a_full_subnet_is_left_alone_for_two_minutes() -> None:
    node = OperatorNode("m5.large", "10.0.0.0/28")
    node.agent.want(14)
    for _ in range(20):
        await node.step()
    assert node.kube.condition("SubnetExhausted")["status"] == "True"
    calls = [call for call in node.calls if call in GROWTH]
    for _ in range(60):
        await node.step()
    assert [call for call in node.calls if call in GROWTH] == calls


async def test_a_subnet_without_a_whole_block_says_so_in_prefix_mode() -> None:
    node = OperatorNode("m5.large", "10.0.0.0/27")  # only the reserved ends: no usable /28
    await node.step()
    assert node.kube.pool is not None
    node.kube.pool["spec"] = {"policy": {"mode": "prefix"}}
    node.agent.want(3)
    for _ in range(10):
        await node.step()
    found = node.kube.condition("PrefixFragmented")
    assert (found["status"], found["reason"]) == ("True", "NoFreePrefix")
    assert node.lab.seed.subnet_ids[0] in found["message"]


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        ("InvalidInstanceID.NotFound", "The instance ID does not exist", "UnknownInstance"),
        ("UnauthorizedOperation", DENIED.format("DescribeInstances"), "AccessDenied"),
        ("ExpiredToken", "The security token included in the request is expired", "CredentialsExpired"),
        ("AuthFailure", "AWS was not able to validate the provided access credentials", "CredentialsMissing"),
        ("Unavailable", "try later", "EC2Unreachable"),
    ],
)
async def test_an_instance_that_cannot_be_known_makes_the_pool_not_ready(code: str, text: str, reason: str) -> None:
    node = OperatorNode()
    node.refuse["DescribeInstances"] = (code, text, 503 if code == "Unavailable" else 400)
    await node.step()
    found = node.kube.condition("Ready")
    assert (found["status"], found["reason"]) == ("False", reason)
    node.refuse.clear()
    node.agent.want(2)
    await node.settle()
    assert node.kube.condition("Ready")["status"] == "True"


async def test_a_type_that_ec2_does_not_tell_of_works_all_the_same() -> None:
    node = OperatorNode()
    node.refuse["DescribeInstanceTypes"] = ("UnauthorizedOperation", DENIED.format("DescribeInstanceTypes"), 403)
    node.agent.want(12)
    await node.settle()
    assert node.kube.condition("Ready")["status"] == "True"


async def test_an_unknown_instance_is_named_so() -> None:
    node = OperatorNode()
    node.kube.node["spec"]["providerID"] = "aws:///us-east-1a/i-0123456789abcdef0"
    await node.step()
    assert node.kube.condition("Ready")["reason"] == "UnknownInstance"


async def test_supply_survives_a_start_while_ec2_is_away() -> None:
    node = OperatorNode()
    node.agent.want(5)
    await node.settle()
    before = node.kube.supply()
    node.start()
    for operation in ("DescribeInstances", "DescribeNetworkInterfaces"):
        node.refuse[operation] = ("Unavailable", "…", 503)
    await node.step()
    assert node.kube.supply() == before
    assert node.kube.condition("Sufficient")["reason"] == "EC2Unreachable"


@pytest.mark.parametrize("operation", ["AssignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface"])
async def test_a_lost_answer_assigns_nothing_twice(operation: str) -> None:
    node = OperatorNode()
    node.agent.want(3)
    await node.settle()
    node.sdk.lose_reply_of.add(operation)
    node.agent.want(16)
    await node.settle()
    assert operation not in node.sdk.lose_reply_of
    supply = node.kube.supply()
    assert supply is not None
    assert node.leaked() == []
    assert supply.totals.addresses == len(node.owned()) == supply.wanted
