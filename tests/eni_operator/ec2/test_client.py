"""The client through the real SDK against a served EC2."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from eni_crds.names import TAG_CLUSTER, TAG_INSTANCE
from eni_lab.aws.engine.knobs import Knobs
from eni_operator.domain.eni import AttachmentId, AttachmentState, InstanceId, InterfaceType, SecurityGroupId, SubnetId
from eni_operator.domain.instance import Reservation, ReservationKind
from eni_operator.ec2 import errors
from eni_operator.ec2.api import MANY, Ec2Api, EniRequest, VpcBlocks
from eni_operator.ec2.client import Ec2Client, open_client
from eni_operator.ec2.throttle import Throttle
from eni_testing.ec2 import RunningEc2, running_ec2
from eni_testing.virtual_loop import now, run


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@asynccontextmanager
async def client_of(url: str, region: str = "eu-west-1") -> AsyncIterator[Ec2Client]:
    async with open_client(Throttle(time.monotonic, asyncio.sleep), region=region, endpoint_url=url) as client:
        yield client


def request_for(
    ec2: RunningEc2, instance: str, *, token: str = "t-1", addresses: int = 0, prefixes: int = 0
) -> EniRequest:
    return EniRequest(
        subnet_id=SubnetId(ec2.seed.subnet_ids[0]),
        security_groups=(SecurityGroupId(ec2.seed.group_ids[0]),),
        description=f"aws-K8S-{instance}",
        tags={TAG_INSTANCE: instance},
        client_token=token,
        addresses=addresses,
        prefixes=prefixes,
    )


def new_eni(ec2: RunningEc2, tags: dict[str, str]) -> str:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    specified = [{"ResourceType": "network-interface", "Tags": listed}]
    asked = {"SubnetId": ec2.seed.subnet_ids[0], "TagSpecifications": specified}
    return str(ec2.engine.call("CreateNetworkInterface", asked)["NetworkInterface"]["NetworkInterfaceId"])


def tag(ec2: RunningEc2, resource: str, tags: dict[str, str]) -> None:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    ec2.engine.call("CreateTags", {"Resources": [resource], "Tags": listed})


async def test_an_instance_is_described_with_its_limits_its_subnet_and_its_vpc() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance("m5.large"))
        [facts] = await client.describe_instances([instance])
        assert (facts.type, facts.zone, facts.vpc_id) == ("m5.large", ec2.seed.zones[0], ec2.seed.vpc_id)
        assert facts.security_groups == ec2.seed.group_ids[:1]
        limits = await client.describe_limits("m5.large")
        assert (limits.enis, limits.addresses_per_eni, limits.prefixes) == (3, 10, True)
        [subnet] = await client.describe_subnets([facts.subnet_id])
        assert (subnet.cidr, subnet.free_addresses) == ("10.0.0.0/20", 4096 - 5 - 1)
        assert await client.describe_vpc(facts.vpc_id) == VpcBlocks(("10.0.0.0/16",))


async def test_an_eni_lives_from_creation_to_deletion() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance())
        created = await client.create_eni(request_for(ec2, instance, addresses=3))
        assert (len(created.addresses), created.prefixes, created.attachment) == (3, (), None)
        assert [eni.id for eni in await client.describe_available([instance])] == [created.id]

        attachment = await client.attach_eni(created.id, instance, 1)
        await client.set_delete_on_termination(created.id, attachment)
        primary, secondary = sorted(await client.describe_attached([instance]), key=lambda eni: not eni.is_primary)
        assert primary.is_primary
        assert secondary.id == created.id
        assert secondary.attachment is not None
        assert secondary.attachment.delete_on_termination
        assert secondary.tags[TAG_INSTANCE] == instance
        assert await client.describe_available([instance]) == []

        assigned = await client.assign(created.id, prefixes=2)
        assert (assigned.addresses, len(assigned.prefixes)) == ((), 2)
        await client.unassign(created.id, addresses=created.addresses[:1], prefixes=assigned.prefixes)
        await client.detach_eni(attachment)
        [left] = await client.describe_available([instance])
        assert (left.addresses, left.prefixes, left.attachment) == (created.addresses[1:], (), None)
        await client.delete_eni(created.id)
        with pytest.raises(errors.NotFoundError):
            await client.delete_eni(created.id)


async def test_the_same_token_gives_the_same_eni_and_other_arguments_a_mismatch() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = ec2.run_instance()
        first = await client.create_eni(request_for(ec2, instance, addresses=2))
        assert (await client.create_eni(request_for(ec2, instance, addresses=2))).id == first.id
        with pytest.raises(errors.IdempotencyMismatchError):
            await client.create_eni(request_for(ec2, instance, addresses=3))


async def test_an_eni_being_attached_says_so() -> None:
    async with running_ec2(knobs=Knobs(throttling=False)) as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance())
        created = await client.create_eni(request_for(ec2, instance))
        await client.attach_eni(created.id, instance, 1)
        states = {eni.id: eni.attachment.state for eni in await client.describe_attached([instance]) if eni.attachment}
        assert states[created.id] is AttachmentState.ATTACHING


async def test_many_enis_come_page_by_page() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance())
        tags = [{"ResourceType": "network-interface", "Tags": [{"Key": TAG_INSTANCE, "Value": instance}]}]
        asked = {"SubnetId": ec2.seed.subnet_ids[0], "TagSpecifications": tags}
        made = [ec2.engine.call("CreateNetworkInterface", asked)["NetworkInterface"] for _ in range(101)]
        found = await client.describe_available([instance])
        assert {eni.id for eni in found} == {item["NetworkInterfaceId"] for item in made}


async def test_refusals_of_ec2_come_as_their_class() -> None:
    async with running_ec2(subnet_cidrs=("10.0.0.0/28",)) as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance("t3.small"))
        with pytest.raises(errors.SubnetFullError):
            await client.create_eni(request_for(ec2, instance, addresses=11))
        with pytest.raises(errors.NoFreePrefixError):
            await client.create_eni(request_for(ec2, instance, prefixes=1))
        with pytest.raises(errors.UnknownInstanceTypeError):
            await client.describe_limits("z9.huge")
        [primary] = await client.describe_attached([instance])
        with pytest.raises(errors.AddressLimitReachedError):
            await client.assign(primary.id, addresses=8)
        with pytest.raises(errors.NotAssignedError):
            await client.unassign(primary.id, addresses=["10.0.0.14"])
        with pytest.raises(errors.BusyError):
            await client.delete_eni(primary.id)


async def test_types_with_several_network_cards_say_what_each_takes() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        assert (await client.describe_limits("m5.large")).cards == (3,)
        limits = await client.describe_limits("p4d.24xlarge")
        assert limits.cards == (15, 15, 15, 15)
        assert limits.enis == limits.enis_on(0) == 15


async def test_instances_are_described_many_in_one_call_and_the_dead_and_unknown_left_out() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        ids = [InstanceId(ec2.run_instance(subnet=number % 2)) for number in range(6)]
        ec2.engine.call("TerminateInstances", {"InstanceIds": [ids[0]]})
        found = await client.describe_instances([*ids, InstanceId("i-0123456789abcdef0")])
        assert {facts.id for facts in found} == set(ids[1:])


async def test_as_many_instances_as_a_call_takes_are_asked_about_at_once() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance())
        created = await client.create_eni(request_for(ec2, instance))
        ids = [*(InstanceId(f"i-{number:017x}") for number in range(MANY - 1)), instance]
        assert [facts.id for facts in await client.describe_instances(ids)] == [instance]
        assert len(await client.describe_attached(ids)) == 1
        assert [eni.id for eni in await client.describe_available(ids)] == [created.id]


async def test_subnets_are_found_by_vpc_zone_and_every_tag() -> None:
    cidrs = ("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
    async with running_ec2(subnet_cidrs=cidrs) as ec2, client_of(ec2.url) as client:
        both, one, other = ec2.seed.subnet_ids
        tag(ec2, both, {"role": "pods", "team": "a"})
        tag(ec2, one, {"role": "pods"})
        tag(ec2, other, {"team": "b"})

        async def found(zone: str = "", **tags: str) -> set[str]:
            return {subnet.id for subnet in await client.find_subnets(ec2.seed.vpc_id, zone=zone, tags=tags)}

        assert await found() == {both, one, other}
        assert await found(role="") == {both, one}
        assert await found(role="", team="") == {both}
        assert await found(role="pods", team="") == {both}
        assert await found(role="", team="b") == set()
        assert await found(ec2.seed.zones[1], role="") == {one}
        [subnet] = await client.find_subnets(ec2.seed.vpc_id, tags={"team": "b"})
        assert (subnet.vpc_id, subnet.tags, subnet.ipv6_cidr) == (ec2.seed.vpc_id, {"team": "b"}, "")


async def test_a_subnets_reservations_are_told() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        subnet = SubnetId(ec2.seed.subnet_ids[0])
        assert await client.describe_reservations(subnet) == ()
        for cidr, kind in (("10.0.1.0/24", "prefix"), ("10.0.2.0/28", "explicit")):
            asked = {"SubnetId": subnet, "Cidr": cidr, "ReservationType": kind}
            ec2.engine.call("CreateSubnetCidrReservation", asked)
        told = await client.describe_reservations(subnet)
        assert set(told) == {
            Reservation("10.0.1.0/24", ReservationKind.PREFIX),
            Reservation("10.0.2.0/28", ReservationKind.EXPLICIT),
        }


async def test_ipv6_is_told_and_assigned() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        asked = {"CidrBlock": "10.9.0.0/16", "AmazonProvidedIpv6CidrBlock": True}
        vpc_id = ec2.engine.call("CreateVpc", asked)["Vpc"]["VpcId"]
        [block] = (await client.describe_vpc(vpc_id)).ipv6
        ipv6 = str(next(IPv6Network(block).subnets(new_prefix=64)))
        asked = {"VpcId": vpc_id, "CidrBlock": "10.9.0.0/24", "Ipv6CidrBlock": ipv6}
        subnet_id = SubnetId(ec2.engine.call("CreateSubnet", asked)["Subnet"]["SubnetId"])
        [subnet] = await client.describe_subnets([subnet_id])
        assert subnet.ipv6_cidr == ipv6

        request = replace(request_for(ec2, "i-1"), subnet_id=subnet_id, security_groups=(), ipv6_prefixes=1)
        created = await client.create_eni(request)
        new = await client.assign_ipv6_prefix(created.id)
        assert (new.addresses, new.prefixes, len(new.ipv6_prefixes)) == ((), (), 1)
        [eni] = await client.describe_available([InstanceId("i-1")])
        assert set(eni.ipv6_prefixes) == {*created.ipv6_prefixes, *new.ipv6_prefixes}
        assert all(IPv6Network(prefix).prefixlen == 80 for prefix in eni.ipv6_prefixes)


async def test_groups_and_tags_of_an_eni_are_changed() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance())
        [primary] = await client.describe_attached([instance])
        group = SecurityGroupId(ec2.seed.group_ids[1])
        await client.set_security_groups(primary.id, [group])
        await client.set_tags(primary.id, {"team": "a", "empty": ""})
        await client.set_tags(primary.id, {"team": "b"})
        [changed] = await client.describe_attached([instance])
        assert (changed.security_groups, changed.tags) == ((group,), {"team": "b", "empty": ""})
        assert changed.interface_type == InterfaceType.INTERFACE
        with pytest.raises(errors.UnknownSecurityGroupError):
            await client.set_security_groups(primary.id, [SecurityGroupId("sg-0123456789abcdef0")])


async def test_unattached_enis_of_ours_come_page_by_page_whoever_they_are_for() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        mine = {new_eni(ec2, {TAG_INSTANCE: f"i-{number}", TAG_CLUSTER: "prod"}) for number in range(101)}
        foreign = new_eni(ec2, {TAG_INSTANCE: "i-1", TAG_CLUSTER: "other"})
        new_eni(ec2, {TAG_CLUSTER: "prod"})
        busy = await client.create_eni(request_for(ec2, instance := InstanceId(ec2.run_instance())))
        await client.attach_eni(busy.id, instance, 1)

        pages = [[eni.id for eni in page] async for page in client.available_pages(ec2.seed.vpc_id, "prod")]
        assert [len(page) for page in pages] == [100, 1]
        assert {eni for page in pages for eni in page} == mine
        everyone = [eni.id async for page in client.available_pages(ec2.seed.vpc_id, "") for eni in page]
        assert set(everyone) == {*mine, foreign}
        assert [page async for page in client.available_pages("vpc-0123456789abcdef0", "")] == [[]]


async def test_an_eni_of_another_zone_is_refused_as_such() -> None:
    async with running_ec2() as ec2, client_of(ec2.url) as client:
        instance = InstanceId(ec2.run_instance(subnet=1))
        created = await client.create_eni(request_for(ec2, instance))
        with pytest.raises(errors.WrongZoneError):
            await client.attach_eni(created.id, instance, 1)


class SilentSdk:
    """Takes every call down and answers nothing."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def _make_api_call(self, _operation: str, parameters: dict[str, str]) -> dict[str, str]:
        self.calls.append(parameters["AttachmentId"])
        return {}


def test_pools_share_a_line_in_which_the_most_urgent_goes_first() -> None:
    sdk, waits = SilentSdk(), list[tuple[str, float]]()

    async def program() -> None:
        throttle = Throttle(now, asyncio.sleep, 0.02)  # one DetachNetworkInterface at once, then one in 10 s
        client = Ec2Client(sdk, throttle, queued=lambda api, seconds: waits.append((api, seconds)))
        pools = {"first": client, "calm": client.for_pool(lambda: 0), "urgent": client.for_pool(lambda: 9)}
        await asyncio.gather(*(pool.detach_eni(AttachmentId(name)) for name, pool in pools.items()))

    run(program())
    assert sdk.calls == ["first", "urgent", "calm"]
    assert [api for api, _ in waits] == ["DetachNetworkInterface"] * 3
    assert [seconds for _, seconds in waits] == pytest.approx([0, 10, 20])


async def test_an_answer_that_takes_too_long_leaves_the_effect_open() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()
        left.set()

    heard, left = list[bytes](), asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    throttle = Throttle(time.monotonic, asyncio.sleep)
    async with (
        server,
        open_client(throttle, region="eu-west-1", endpoint_url=url, read_timeout_seconds=0.2) as client,
    ):
        with pytest.raises(errors.Ec2UnavailableError) as caught:
            await client.describe_vpc("vpc-1")
        await left.wait()
    assert caught.value.ambiguous
    assert f"eni-operator/{version('eni-operator')}".encode() in heard[0]


async def test_an_endpoint_that_nobody_serves_is_unavailable_and_says_where() -> None:
    async with client_of("http://127.0.0.1:9") as client:
        with pytest.raises(errors.Ec2UnavailableError, match=r"127\.0\.0\.1:9"):
            await client.describe_instances([InstanceId("i-1")])


async def test_without_credentials_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    async with client_of("http://127.0.0.1:9") as client:
        with pytest.raises(errors.CredentialsMissingError):
            await client.describe_instances([InstanceId("i-1")])


def web_identity(token: str) -> str:
    claims = json.dumps({"sub": "operator", "exp": 1}).encode()
    return {"expired": f"header.{base64.urlsafe_b64encode(claims).decode()}.signature", "broken": "nonsense"}[token]


@pytest.mark.parametrize("token", ["expired", "broken", None])
async def test_a_web_identity_that_gives_no_credential_is_a_missing_one(
    token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "token"
    if token is not None:
        file.write_text(web_identity(token))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/operator")
    async with running_ec2() as ec2:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ec2.url)
        async with client_of(ec2.url) as client:
            with pytest.raises(errors.CredentialsMissingError) as caught:
                await client.describe_instances([InstanceId("i-1")])
            assert type(caught.value) is errors.CredentialsMissingError


async def test_the_client_satisfies_the_protocol() -> None:
    async with client_of("http://127.0.0.1:9") as client:
        api: Ec2Api = client
        assert api is client
