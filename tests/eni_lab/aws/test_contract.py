"""The contract, through the client the operator uses; the same calls could be made to a real account."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, ConnectionClosedError

from eni_lab.aws.faults import Fault
from eni_lab.aws.latency import NO_TIME, ServiceTimes
from eni_testing.ec2 import RunningEc2, running_ec2

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def connected(ec2: RunningEc2, attempts: int = 1, key: str = "AKIATEST") -> AsyncIterator[Any]:
    config = AioConfig(retries={"mode": "standard", "total_max_attempts": attempts})
    credentials = {"aws_access_key_id": key, "aws_secret_access_key": "x"}
    session = get_session()
    async with session.create_client(
        "ec2", region_name="us-east-1", endpoint_url=ec2.url, config=config, **credentials
    ) as client:
        yield client


@pytest.fixture
async def ec2() -> AsyncIterator[RunningEc2]:
    async with running_ec2() as running:
        yield running


@pytest.fixture
async def client(ec2: RunningEc2) -> AsyncIterator[Any]:
    async with connected(ec2) as connection:
        yield connection


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


async def test_the_life_of_an_eni(ec2: RunningEc2, client: Any) -> None:
    instance, subnet = ec2.run_instance("m5.large"), ec2.seed.subnet_ids[0]
    tags = [{"Key": "eni.example/instance", "Value": instance}]
    specification = [{"ResourceType": "network-interface", "Tags": tags}]
    groups = [ec2.seed.group_ids[0]]
    request = {"SubnetId": subnet, "Groups": groups, "Description": "d", "TagSpecifications": specification}
    eni = (await client.create_network_interface(Ipv4PrefixCount=1, **request))["NetworkInterface"]
    eni_id = eni["NetworkInterfaceId"]
    attach = {"NetworkInterfaceId": eni_id, "InstanceId": instance, "DeviceIndex": 1, "NetworkCardIndex": 0}
    attachment = (await client.attach_network_interface(**attach))["AttachmentId"]
    change = {"AttachmentId": attachment, "DeleteOnTermination": True}
    await client.modify_network_interface_attribute(NetworkInterfaceId=eni_id, Attachment=change)
    added = await client.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=2)
    addresses = [entry["PrivateIpAddress"] for entry in added["AssignedPrivateIpAddresses"]]
    [shown] = (await client.describe_network_interfaces(NetworkInterfaceIds=[eni_id]))["NetworkInterfaces"]
    assert shown["Attachment"]["Status"] == "attached"
    assert shown["Attachment"]["DeleteOnTermination"] is True
    assert shown["TagSet"] == tags
    assert {entry["PrivateIpAddress"] for entry in shown["PrivateIpAddresses"]} == {*addresses, eni["PrivateIpAddress"]}
    prefixes = [entry["Ipv4Prefix"] for entry in shown["Ipv4Prefixes"]]
    gone = {"PrivateIpAddresses": addresses, "Ipv4Prefixes": prefixes}
    await client.unassign_private_ip_addresses(NetworkInterfaceId=eni_id, **gone)
    await client.detach_network_interface(AttachmentId=attachment)
    await client.delete_network_interface(NetworkInterfaceId=eni_id)
    with pytest.raises(ClientError) as caught:
        await client.describe_network_interfaces(NetworkInterfaceIds=[eni_id])
    assert code_of(caught) == ("InvalidNetworkInterfaceID.NotFound", 400)
    assert await breaches(ec2) == []


async def test_everything_can_be_seeded_through_the_api(client: Any) -> None:
    vpc = (await client.create_vpc(CidrBlock="10.7.0.0/16"))["Vpc"]["VpcId"]
    subnet = (await client.create_subnet(VpcId=vpc, CidrBlock="10.7.0.0/24"))["Subnet"]["SubnetId"]
    group = (await client.create_security_group(GroupName="g", Description="d", VpcId=vpc))["GroupId"]
    arm = [{"Name": "architecture", "Values": ["arm64"]}]
    image = (await client.describe_images(Owners=["amazon"], Filters=arm))["Images"][0]["ImageId"]
    launch = {"ImageId": image, "InstanceType": "c7g.large", "MinCount": 1, "MaxCount": 1}
    place = {"SubnetId": subnet, "SecurityGroupIds": [group], "MetadataOptions": {"HttpPutResponseHopLimit": 2}}
    instance = (await client.run_instances(**launch, **place))["Instances"][0]["InstanceId"]
    [reservation] = (await client.describe_instances(InstanceIds=[instance]))["Reservations"]
    [shown] = reservation["Instances"]
    assert (shown["State"]["Name"], shown["SubnetId"], shown["VpcId"]) == ("running", subnet, vpc)
    assert shown["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    await client.create_subnet_cidr_reservation(SubnetId=subnet, Cidr="10.7.0.64/26", ReservationType="prefix")
    reserved = await client.get_subnet_cidr_reservations(SubnetId=subnet)
    assert [entry["Cidr"] for entry in reserved["SubnetIpv4CidrReservations"]] == ["10.7.0.64/26"]
    await client.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": "n"}])
    tags = (await client.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance]}]))["Tags"]
    assert [(tag["Key"], tag["Value"]) for tag in tags] == [("Name", "n")]
    ended = (await client.terminate_instances(InstanceIds=[instance]))["TerminatingInstances"]
    assert [change["PreviousState"]["Name"] for change in ended] == ["running"]


async def test_the_paginator_sees_each_eni_once(ec2: RunningEc2, client: Any) -> None:
    request = {"SubnetId": ec2.seed.subnet_ids[0]}
    made = {
        (await client.create_network_interface(**request))["NetworkInterface"]["NetworkInterfaceId"] for _ in range(12)
    }
    pages = client.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5})
    seen = [eni["NetworkInterfaceId"] async for page in pages for eni in page["NetworkInterfaces"]]
    assert sorted(seen) == sorted(made)


async def test_instance_types_are_paginated_and_complete(client: Any) -> None:
    pages = client.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 100})
    kinds = [kind async for page in pages for kind in page["InstanceTypes"]]
    by_name = {kind["InstanceType"]: kind for kind in kinds}
    assert len(kinds) == len(by_name) == 1395
    assert by_name["m5.metal"]["BareMetal"] is True
    assert "Hypervisor" not in by_name["m5.metal"]
    assert by_name["p5.48xlarge"]["NetworkInfo"]["MaximumNetworkCards"] == 32


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_throttled_call_is_a_503_that_the_client_retries(attempts: int) -> None:
    async with running_ec2() as ec2, connected(ec2, attempts) as client:
        ec2.engine.configure(throttling=True, throttle_scale=0.02)
        now = ec2.engine.clock()
        ec2.engine.clock = lambda: now
        await client.create_tags(Resources=[ec2.seed.vpc_id], Tags=[{"Key": "a", "Value": "1"}])
        await client.create_tags(Resources=[ec2.seed.vpc_id], Tags=[{"Key": "a", "Value": "2"}])
        with pytest.raises(ClientError) as caught:
            await client.create_tags(Resources=[ec2.seed.vpc_id], Tags=[{"Key": "a", "Value": "3"}])
    assert code_of(caught) == ("RequestLimitExceeded", 503)
    assert ec2.endpoint.log.counts()["byOutcome"]["CreateTags"]["RequestLimitExceeded"] == attempts


async def control(ec2: RunningEc2, method: str, path: str, body: object = None) -> Any:
    async with aiohttp.ClientSession() as http, http.request(method, f"{ec2.url}/_lab/{path}", json=body) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def breaches(ec2: RunningEc2) -> Any:
    return await control(ec2, "GET", "invariants")


async def test_a_fault_before_the_effect_leaves_nothing_behind(ec2: RunningEc2, client: Any) -> None:
    fault = {"action": "CreateNetworkInterface", "code": "InternalError", "message": "oops", "status": 500}
    await control(ec2, "POST", "faults", fault)
    with pytest.raises(ClientError) as caught:
        await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])
    assert code_of(caught) == ("InternalError", 500)
    assert (await client.describe_network_interfaces())["NetworkInterfaces"] == []


async def test_a_fault_after_the_effect_hides_what_happened(ec2: RunningEc2, client: Any) -> None:
    await control(ec2, "POST", "faults", {"action": "Create*", "when": "after", "code": "Unavailable", "status": 503})
    with pytest.raises(ClientError) as caught:
        await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])
    assert code_of(caught) == ("Unavailable", 503)
    assert len((await client.describe_network_interfaces())["NetworkInterfaces"]) == 1


async def test_a_lost_reply_closes_the_connection_after_the_effect(ec2: RunningEc2, client: Any) -> None:
    eni = await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])
    eni_id = eni["NetworkInterface"]["NetworkInterfaceId"]
    await control(ec2, "POST", "faults", {"action": "Assign*", "when": "after", "lose_reply": True})
    with pytest.raises(ConnectionClosedError):
        await client.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=1)
    [shown] = (await client.describe_network_interfaces())["NetworkInterfaces"]
    assert len(shown["PrivateIpAddresses"]) == 2
    assert ec2.endpoint.log.counts()["byOutcome"]["AssignPrivateIpAddresses"] == {"lost": 1}


async def test_a_client_that_retries_a_lost_reply_assigns_twice_but_creates_once(ec2: RunningEc2) -> None:
    async with connected(ec2, attempts=3) as client:
        await control(ec2, "POST", "faults", {"action": "Create*", "when": "after", "lose_reply": True})
        eni = await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])
        eni_id = eni["NetworkInterface"]["NetworkInterfaceId"]
        await control(ec2, "POST", "faults", {"action": "Assign*", "when": "after", "lose_reply": True})
        await client.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=1)
        [shown] = (await client.describe_network_interfaces())["NetworkInterfaces"]
    assert len(shown["PrivateIpAddresses"]) == 3


async def test_a_fault_can_hit_one_caller_only(ec2: RunningEc2, client: Any) -> None:
    await control(ec2, "POST", "faults", {"caller": "AKIAOTHER", "code": "Unavailable", "status": 503, "count": 0})
    await client.describe_vpcs()
    async with connected(ec2, key="AKIAOTHER") as other:
        with pytest.raises(ClientError):
            await other.describe_vpcs()
    by_caller = (await control(ec2, "GET", "calls"))["byCaller"]
    assert by_caller == {"AKIATEST": {"DescribeVpcs": 1}, "AKIAOTHER": {"DescribeVpcs": 1}}


async def test_expired_credentials_are_refused_until_the_fault_is_taken_back(ec2: RunningEc2, client: Any) -> None:
    expired = Fault(caller="AKIATEST", code="RequestExpired", message="Request has expired.", count=0)
    rule = ec2.endpoint.faults.add(expired)
    for call in (client.describe_vpcs(), client.describe_subnets()):
        with pytest.raises(ClientError) as caught:
            await call
        assert code_of(caught) == ("RequestExpired", 400)
    async with connected(ec2, key="AKIAOTHER") as other:
        await other.describe_vpcs()
    ec2.endpoint.faults.remove(rule)
    await client.describe_vpcs()


async def test_a_denied_action_is_a_403(ec2: RunningEc2, client: Any) -> None:
    await control(ec2, "POST", "denials", {"action": "CreateNetworkInterface"})
    with pytest.raises(ClientError) as caught:
        await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])
    assert code_of(caught) == ("UnauthorizedOperation", 403)
    await control(ec2, "DELETE", "denials")
    await client.create_network_interface(SubnetId=ec2.seed.subnet_ids[0])


async def test_an_unsigned_request_and_an_unknown_session_are_refused(ec2: RunningEc2) -> None:
    form = {"Action": "DescribeVpcs", "Version": "2016-11-15"}
    async with aiohttp.ClientSession() as http, http.post(ec2.url, data=form) as reply:
        assert (reply.status, "<Code>AuthFailure</Code>" in await reply.text()) == (401, True)
    async with connected(ec2, key="ASIANOBODYHASTHIS") as client:
        with pytest.raises(ClientError) as caught:
            await client.describe_vpcs()
    assert code_of(caught) == ("AuthFailure", 401)


async def test_calls_take_their_service_times_side_by_side() -> None:
    async with running_ec2(service_times=True) as ec2, connected(ec2) as client:
        await asyncio.gather(*(client.describe_vpcs() for _ in range(3)))
        calls = (await control(ec2, "GET", "calls?last=3"))["calls"]
        assert min(call["seconds"] for call in calls) >= 0.1
        assert max(call["at"] for call in calls) < min(call["at"] + call["seconds"] for call in calls)
        await control(ec2, "POST", "service-times", {"enabled": False})
        assert ec2.endpoint.times == NO_TIME


@pytest.mark.parametrize(
    ("action", "seconds"),
    [
        ("AttachNetworkInterface", 0.6),
        ("CreateNetworkInterface", 0.4),
        ("DescribeInstances", 0.1),
        ("CreateTags", 0.15),
    ],
)
async def test_service_times_are_those_the_peers_were_measured_at(action: str, seconds: float) -> None:
    assert (ServiceTimes().of(action), NO_TIME.of(action)) == (seconds, 0.0)
