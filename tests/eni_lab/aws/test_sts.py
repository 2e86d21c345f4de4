import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.faults import Fault
from eni_lab.aws.sts import subject_of
from eni_testing.ec2 import RunningEc2, running_ec2

ROLE = "arn:aws:iam::123456789012:role/eni-operator"
SUBJECT = "system:serviceaccount:kube-system:eni-operator"


def token(**claims: Any) -> str:
    def part(content: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part(claims)}.signature"


@pytest.fixture
async def ec2() -> AsyncIterator[RunningEc2]:
    async with running_ec2() as running:
        yield running


async def test_a_web_identity_becomes_the_caller_of_ec2(
    ec2: RunningEc2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(token(sub=SUBJECT))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", ec2.url)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    session = get_session()
    async with session.create_client("sts", region_name="us-east-1") as sts:
        assert (await sts.get_caller_identity())["Arn"].endswith(SUBJECT)
    async with session.create_client("ec2", region_name="us-east-1") as client:
        await client.describe_vpcs()
    assert ec2.endpoint.log.counts()["byCaller"] == {SUBJECT: {"DescribeVpcs": 1}}


async def test_a_bad_token_is_refused_as_sts_refuses_it(ec2: RunningEc2) -> None:
    credentials = {"aws_access_key_id": "AKIAX", "aws_secret_access_key": "x"}
    request = {"RoleArn": ROLE, "RoleSessionName": "session", "WebIdentityToken": token(aud="sts.amazonaws.com")}
    session = get_session()
    async with session.create_client("sts", region_name="us-east-1", endpoint_url=ec2.url, **credentials) as sts:
        with pytest.raises(ClientError) as caught:
            await sts.assume_role_with_web_identity(**request)
        assert caught.value.response["Error"]["Code"] == "InvalidIdentityToken"
        for change in ({"RoleArn": "arn:aws:iam::123456789012:user/x"}, {"DurationSeconds": 43201}):
            with pytest.raises(ClientError) as caught:
                await sts.assume_role_with_web_identity(**{**request, "WebIdentityToken": token(sub="s"), **change})
            assert caught.value.response["Error"]["Code"] == "ValidationError"


async def test_other_sts_actions_are_refused(ec2: RunningEc2) -> None:
    form = {"Action": "GetSessionToken", "Version": "2011-06-15"}
    async with aiohttp.ClientSession() as http, http.post(ec2.url, data=form) as reply:
        assert (reply.status, "InvalidAction" in await reply.text()) == (400, True)


async def test_a_role_can_be_refused_by_script(ec2: RunningEc2) -> None:
    text = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    ec2.endpoint.faults.add(Fault(action="AssumeRole*", code="AccessDenied", message=text, status=403))
    form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": "r"}
    async with aiohttp.ClientSession() as http, http.post(ec2.url, data=form) as reply:
        assert (reply.status, text in await reply.text()) == (403, True)


async def test_an_expired_session_is_refused(ec2: RunningEc2) -> None:
    issued = ec2.endpoint.sessions.issue(SUBJECT, 900)
    authorization = f"AWS4-HMAC-SHA256 Credential={issued.access_key}/20260101/us-east-1/ec2/aws4_request"
    assert ec2.endpoint.sessions.caller(authorization) == SUBJECT
    gone = ec2.endpoint.sessions.issue(SUBJECT, 0)
    with pytest.raises(Ec2Error, match="RequestExpired"):
        ec2.endpoint.sessions.caller(authorization.replace(issued.access_key, gone.access_key))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no-token", "InvalidIdentityToken"),
        ("a.b.c", "InvalidIdentityToken"),
        ("a.\u00e9.c", "InvalidIdentityToken"),
        (token(sub=""), "InvalidIdentityToken"),
        (token(sub=7), "InvalidIdentityToken"),
        (token(sub="x", exp=999), "ExpiredTokenException"),
    ],
)
def test_a_subject_needs_a_token_that_is_whole_and_current(text: str, code: str) -> None:
    with pytest.raises(Ec2Error) as caught:
        subject_of(text, 1000.0)
    assert caught.value.code == code


def test_the_subject_is_read_whatever_the_signature() -> None:
    assert subject_of(token(sub=SUBJECT, exp=1001), 1000.0) == SUBJECT
