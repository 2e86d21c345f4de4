"""The client through the real SDK against a served EC2."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eni_crds.names import TAG_INSTANCE
from eni_lab.aws.engine.knobs import Knobs
from eni_operator.domain.eni import AttachmentState, InstanceId, SecurityGroupId, SubnetId
from eni_operator.ec2 import errors
from eni_operator.ec2.api import Ec2Api, EniRequest, VpcBlocks
from eni_operator.ec2.client import Ec2Client, open_client
from eni_operator.ec2.throttle import Throttle
from eni_testing.ec2 import RunningEc2, running_ec2


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


async def test_the_client_satisfies_the_protocol() -> None:
    async with client_of("http://127.0.0.1:9") as client:
        api: Ec2Api = client
        assert api is client
