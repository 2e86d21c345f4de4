from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_testing.ec2 import RunningEc2, running_ec2

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def ec2() -> AsyncIterator[RunningEc2]:
    async with running_ec2() as running:
        yield running


async def ask(ec2: RunningEc2, method: str, path: str, body: object = None) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.request(method, f"{ec2.url}/_lab/{path}", json=body) as reply:
        is_json = reply.content_type == "application/json"
        return reply.status, await (reply.json() if is_json else reply.text())


async def test_knobs_can_be_seen_and_turned(ec2: RunningEc2) -> None:
    assert (await ask(ec2, "GET", "knobs"))[1]["link_seconds"] == 0.0
    status, knobs = await ask(ec2, "POST", "knobs", {"link_seconds": 2.5, "address_choice": "packed"})
    assert (status, knobs["link_seconds"], knobs["address_choice"]) == (200, 2.5, "packed")
    assert ec2.engine.knobs.link_seconds == 2.5


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "knobs", {"colour": 1}, "there is no 'colour'"),
        ("POST", "knobs", {"link_seconds": -1.0}, "link_seconds is -1.0, input should be"),
        ("POST", "knobs", [], "the body must be a JSON object"),
        ("POST", "faults", {"status": 200}, "status is 200, input should be greater than or equal to 400"),
        ("POST", "faults", {"colour": 1}, "colour"),
        ("POST", "faults", {"action": 5}, "action is 5, input should be a valid string"),
        ("POST", "denials", {"caller": "x"}, "action is missing"),
        ("POST", "service-times", {"enabled": 1}, "enabled must be true or false"),
        ("POST", "metadata", {"instance": "i-1", "items": {}}, "instance is 'i-1'"),
        ("GET", "calls?last=x", None, "last is 'x'"),
    ],
)
async def test_a_bad_request_is_answered_with_a_sentence(
    ec2: RunningEc2, method: str, path: str, body: object, says: str
) -> None:
    status, text = await ask(ec2, method, path, body)
    assert status == 400
    assert says in text


async def test_the_state_shows_every_resource_and_every_port(ec2: RunningEc2) -> None:
    instance = ec2.run_instance()
    _, state = await ask(ec2, "GET", "state")
    assert [row["id"] for row in state["instances"]] == [instance]
    assert [port["instance_id"] for port in state["ports"]] == [instance]
    assert [len(state[name]) for name in ("vpcs", "subnets", "securityGroups", "enis", "reservations")] == [
        1,
        2,
        3,
        1,
        0,
    ]
    assert state["version"] == ec2.engine.version


async def test_a_breach_would_be_shown(ec2: RunningEc2) -> None:
    ec2.run_instance()
    assert (await ask(ec2, "GET", "invariants"))[1] == []
    ec2.engine.region.pools[ec2.seed.subnet_ids[0]].pick_address("random")
    [sentence] = (await ask(ec2, "GET", "invariants"))[1]
    assert ec2.seed.subnet_ids[0] in sentence


async def test_faults_can_be_seen_and_cleared(ec2: RunningEc2) -> None:
    _, added = await ask(ec2, "POST", "faults", {"action": "Attach*", "code": "X"})
    _, [fault] = await ask(ec2, "GET", "faults")
    assert (fault["id"], fault["action"], fault["when"]) == (added["id"], "Attach*", "before")
    await ask(ec2, "DELETE", "faults")
    assert (await ask(ec2, "GET", "faults"))[1] == []


async def test_one_fault_can_be_taken_back(ec2: RunningEc2) -> None:
    _, first = await ask(ec2, "POST", "faults", {"action": "Attach*", "code": "X"})
    await ask(ec2, "POST", "faults", {"action": "Detach*", "code": "X"})
    _, [left] = await ask(ec2, "DELETE", f"faults/{first['id']}")
    assert left["action"] == "Detach*"
    assert (await ask(ec2, "DELETE", "faults/99"))[0] == 200


async def test_the_request_buckets_can_be_read() -> None:
    async with running_ec2(knobs=Knobs(throttle_scale=0.5)) as ec2:
        levels = (await ask(ec2, "GET", "throttle"))[1]
        assert levels["CreateSubnet"]["capacity"] == 25
        before = levels["CreateSubnet"]["tokens"]
        ec2.engine.call("CreateSubnet", {"VpcId": ec2.seed.vpc_id, "CidrBlock": "10.0.99.0/24"})
        after = (await ask(ec2, "GET", "throttle"))[1]["CreateSubnet"]
        assert before - 1 <= after["tokens"] < before
        assert after["refill"] == 2.5


async def test_calls_can_be_counted_anew(ec2: RunningEc2) -> None:
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/ec2/aws4_request",
        "User-Agent": "me",
    }
    async with aiohttp.ClientSession(headers=headers) as http:
        await (await http.post(ec2.url, data={"Action": "DescribeVpcs"})).read()
        await (await http.post(ec2.url, data={"Action": "DescribeVpcs", "Colour": "red"})).read()
    _, log = await ask(ec2, "GET", "calls?last=1")
    assert (log["total"], log["byOutcome"]) == (2, {"DescribeVpcs": {"UnknownParameter": 1, "ok": 1}})
    [last] = log["calls"]
    assert (last["action"], last["outcome"], last["caller"]) == (
        "DescribeVpcs",
        "UnknownParameter",
        {"name": "AKIAX", "user_agent": "me", "address": "127.0.0.1"},
    )
    _, log = await ask(ec2, "DELETE", "calls")
    assert log["total"] == 0
