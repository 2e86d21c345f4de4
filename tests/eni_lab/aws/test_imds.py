import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from eni_lab.aws.imds import TTL_HEADER, look_up
from eni_testing.ec2 import RunningEc2, running_ec2

pytestmark = pytest.mark.asyncio


class Metadata:
    """One instance's metadata service, asked as an instance would ask."""

    def __init__(self, http: aiohttp.ClientSession, ec2: RunningEc2, instance_id: str) -> None:
        self.http = http
        self.ec2 = ec2
        self.instance_id = instance_id
        self.base = f"{ec2.url}/imds/{instance_id}/latest"

    async def token(self, ttl: str = "60", **headers: str) -> tuple[int, str]:
        named = {TTL_HEADER: ttl, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.http.put(f"{self.base}/api/token", headers=named) as reply:
            return reply.status, await reply.text()

    async def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        given = (await self.token())[1] if token is None else token
        async with self.http.get(f"{self.base}/{path}", headers={"X-aws-ec2-metadata-token": given}) as reply:
            return reply.status, await reply.text()

    async def text(self, path: str) -> str:
        status, text = await self.get(f"meta-data/{path}")
        assert status == 200, path
        return text


@pytest.fixture
async def ec2() -> AsyncIterator[RunningEc2]:
    async with running_ec2() as running:
        yield running


@pytest.fixture
async def metadata(ec2: RunningEc2) -> AsyncIterator[Metadata]:
    async with aiohttp.ClientSession() as http:
        yield Metadata(http, ec2, ec2.run_instance())


def call(ec2: RunningEc2, action: str, **args: Any) -> Any:
    return ec2.engine.call(action, args)


def attach(ec2: RunningEc2, instance: str, **args: Any) -> Any:
    subnet = {"SubnetId": ec2.seed.subnet_ids[0], "Groups": [ec2.seed.group_ids[0]]}
    eni = call(ec2, "CreateNetworkInterface", **subnet, **args)["NetworkInterface"]
    eni_id = eni["NetworkInterfaceId"]
    call(ec2, "AttachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=instance, DeviceIndex=1)
    return eni


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "soon"])
async def test_a_bad_ttl_is_a_400(metadata: Metadata, ttl: str) -> None:
    assert (await metadata.token(ttl))[0] == 400


async def test_a_proxied_token_request_is_a_403(metadata: Metadata) -> None:
    assert (await metadata.token(X_Forwarded_For="10.0.0.1"))[0] == 403


async def test_without_a_valid_token_everything_is_a_401(metadata: Metadata) -> None:
    for path in ("meta-data/instance-id", "meta-data/no-such-thing", "dynamic/instance-identity/document"):
        assert (await metadata.get(path, token="stale"))[0] == 401


async def test_a_token_is_good_for_its_instance_only(metadata: Metadata) -> None:
    other = Metadata(metadata.http, metadata.ec2, metadata.ec2.run_instance())
    _, token = await metadata.token()
    assert (await metadata.get("meta-data/instance-id", token))[0] == 200
    assert (await other.get("meta-data/instance-id", token))[0] == 401


async def test_a_token_expires(metadata: Metadata) -> None:
    _, token = await metadata.token("1")
    metadata.ec2.engine.clock = lambda: 1e12
    assert (await metadata.get("meta-data/instance-id", token))[0] == 401


async def test_an_unknown_instance_has_no_metadata(metadata: Metadata) -> None:
    nobody = Metadata(metadata.http, metadata.ec2, "i-00000000000000000")
    assert (await nobody.token())[0] == 404


async def test_the_instance_describes_itself(metadata: Metadata) -> None:
    subnet = metadata.ec2.engine.region.subnet(metadata.ec2.seed.subnet_ids[0])
    assert await metadata.text("instance-id") == metadata.instance_id
    assert await metadata.text("instance-type") == "m5.large"
    assert await metadata.text("placement/availability-zone") == subnet.zone
    assert await metadata.text("placement/region") == "us-east-1"
    [port] = metadata.ec2.engine.ports()
    assert (await metadata.text("mac"), await metadata.text("local-ipv4")) == (port.mac, port.primary_ip)
    _, text = await metadata.get("dynamic/instance-identity/document")
    document = json.loads(text)
    assert (document["region"], document["instanceId"]) == ("us-east-1", metadata.instance_id)


async def test_each_attached_eni_is_listed_with_what_it_has(metadata: Metadata) -> None:
    eni = attach(metadata.ec2, metadata.instance_id, Ipv4PrefixCount=2)
    folder = f"network/interfaces/macs/{eni['MacAddress']}/"
    macs = (await metadata.text("network/interfaces/macs/")).split()
    assert len(macs) == 2
    assert eni["MacAddress"] + "/" in macs
    assert await metadata.text(folder + "device-number") == "1"
    assert await metadata.text(folder + "interface-id") == eni["NetworkInterfaceId"]
    assert await metadata.text(folder + "subnet-ipv4-cidr-block") == "10.0.0.0/20"
    assert await metadata.text(folder + "vpc-ipv4-cidr-blocks") == "10.0.0.0/16"
    assert await metadata.text(folder + "security-group-ids") == metadata.ec2.seed.group_ids[0]
    prefixes = [entry["Ipv4Prefix"] for entry in eni["Ipv4Prefixes"]]
    assert (await metadata.text(folder + "ipv4-prefix")).split("\n") == prefixes
    assert (await metadata.get(f"meta-data/{folder}ipv6s"))[0] == 404


async def test_the_primary_address_comes_first(metadata: Metadata) -> None:
    eni = attach(metadata.ec2, metadata.instance_id, SecondaryPrivateIpAddressCount=3)
    addresses = (await metadata.text(f"network/interfaces/macs/{eni['MacAddress']}/local-ipv4s")).split("\n")
    assert (addresses[0], len(addresses)) == (eni["PrivateIpAddress"], 4)


async def test_an_eni_without_prefixes_answers_404_for_them(metadata: Metadata) -> None:
    mac = await metadata.text("mac")
    assert (await metadata.get(f"meta-data/network/interfaces/macs/{mac}/ipv4-prefix"))[0] == 404


async def test_metadata_lags_behind_ec2(metadata: Metadata) -> None:
    engine = metadata.ec2.engine
    now = engine.clock()
    engine.clock = lambda: now
    engine.configure(metadata_lag_seconds=2.0, link_seconds=1.0)
    eni = attach(metadata.ec2, metadata.instance_id)
    folder = f"meta-data/network/interfaces/macs/{eni['MacAddress']}/"
    assert (await metadata.get(folder + "local-ipv4s"))[0] == 404
    engine.clock = lambda: now + 1.0
    assert (await metadata.get(folder + "local-ipv4s"))[1] == eni["PrivateIpAddress"]
    engine.clock = lambda: now + 1.1
    call(metadata.ec2, "AssignPrivateIpAddresses", NetworkInterfaceId=eni["NetworkInterfaceId"], Ipv4PrefixCount=1)
    engine.clock = lambda: now + 3.0
    assert (await metadata.get(folder + "ipv4-prefix"))[0] == 404
    engine.clock = lambda: now + 3.2
    assert (await metadata.get(folder + "ipv4-prefix"))[0] == 200


async def test_a_detached_eni_vanishes(metadata: Metadata) -> None:
    eni = attach(metadata.ec2, metadata.instance_id)
    [shown] = [port for port in metadata.ec2.engine.ports() if port.eni_id == eni["NetworkInterfaceId"]]
    attachment = metadata.ec2.engine.region.eni(shown.eni_id).attachment
    assert attachment is not None
    call(metadata.ec2, "DetachNetworkInterface", AttachmentId=attachment.id)
    assert (await metadata.get(f"meta-data/network/interfaces/macs/{eni['MacAddress']}/mac"))[0] == 404


async def launched(metadata: Metadata, **args: Any) -> Metadata:
    request = {"ImageId": "ami-0a0000000000000a1", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    reply = call(metadata.ec2, "RunInstances", **request, SubnetId=metadata.ec2.seed.subnet_ids[0], **args)
    return Metadata(metadata.http, metadata.ec2, reply["Instances"][0]["InstanceId"])


async def test_a_disabled_endpoint_is_a_403(metadata: Metadata) -> None:
    off = await launched(metadata, MetadataOptions={"HttpEndpoint": "disabled"})
    assert (await off.token())[0] == 403
    assert (await off.get("meta-data/instance-id", token=""))[0] == 403


async def test_with_optional_tokens_version_one_works_too(metadata: Metadata) -> None:
    optional = await launched(metadata, MetadataOptions={"HttpTokens": "optional"})
    async with metadata.http.get(f"{optional.base}/meta-data/instance-id") as reply:
        assert (reply.status, await reply.text()) == (200, optional.instance_id)
    assert (await optional.get("meta-data/instance-id", token="stale"))[0] == 401


async def test_an_instance_with_a_role_gets_credentials_that_name_it(metadata: Metadata) -> None:
    node = await launched(metadata, IamInstanceProfile={"Name": "node-role"})
    assert await node.text("iam/security-credentials/") == "node-role"
    credentials = json.loads(await node.text("iam/security-credentials/node-role"))
    authorization = f"AWS4-HMAC-SHA256 Credential={credentials['AccessKeyId']}/20260101/us-east-1/ec2/aws4_request"
    caller = metadata.ec2.endpoint.sessions.caller(authorization)
    assert caller == f"node-role/{node.instance_id}"
    assert (await metadata.get("meta-data/iam/security-credentials/"))[0] == 404


async def test_metadata_can_be_scripted(metadata: Metadata) -> None:
    assert (await metadata.get("meta-data/spot/instance-action"))[0] == 404
    notice = '{"action":"terminate","time":"2026-01-01T00:02:00Z"}'
    body = {"instance": metadata.instance_id, "items": {"spot/instance-action": notice, "mac": None}}
    async with metadata.http.post(f"{metadata.ec2.url}/_lab/metadata", json=body) as reply:
        assert reply.status == 200
    assert await metadata.text("spot/instance-action") == notice
    assert (await metadata.get("meta-data/mac"))[0] == 404


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", "a\nb/"),
        ("a", "1"),
        ("b", "c\nd/"),
        ("b/", "c\nd/"),
        ("b/d/e", "3"),
        ("x", None),
        ("b/x", None),
        ("bb", None),
    ],
)
async def test_a_folder_lists_its_names_with_a_slash_behind_folders(path: str, found: str | None) -> None:
    assert look_up({"a": "1", "b/c": "2", "b/d/e": "3"}, path) == found
