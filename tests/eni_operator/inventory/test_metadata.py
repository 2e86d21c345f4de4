"""The metadata service of the stand-in: asked by the client, taken as a hint, or in EC2's place."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from eni_operator.domain.eni import AttachmentState, EniId, InstanceId
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.errors import Ec2UnavailableError
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory import metadata
from eni_operator.inventory.hints import POLL_SECONDS, Hints
from eni_operator.inventory.instance import Ask, InstanceInventory
from eni_operator.inventory.metadata import LARGEST_ITEM, Metadata, MetadataError
from eni_operator.inventory.metadata_source import CONFIRM_SECONDS, MetadataSource
from eni_operator.inventory.region import Region
from eni_testing.ec2 import RunningEc2, running_ec2
from eni_testing.engine_sdk import EngineSdk, Life

MACS = "network/interfaces/macs/"


class Node:
    """An instance of a served stand-in; the inventory's clock is ahead of the engine's by ``later``."""

    def __init__(self, ec2: RunningEc2) -> None:
        self.ec2 = ec2
        self.id = InstanceId(ec2.run_instance())
        self.service = Metadata(f"{ec2.url}/imds/{self.id}")
        self.later = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.ec2.engine.clock() + self.later

    async def sleep(self, seconds: float) -> None:
        self.later += seconds

    def call(self, action: str, **args: Any) -> Any:
        return self.ec2.engine.call(action, args)

    def attach(self, index: int = 1, **args: Any) -> str:
        request = {"SubnetId": self.ec2.seed.subnet_ids[0], "Groups": [self.ec2.seed.group_ids[0]], **args}
        eni_id = self.call("CreateNetworkInterface", **request)["NetworkInterface"]["NetworkInterfaceId"]
        self.call("AttachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=self.id, DeviceIndex=index)
        return str(eni_id)

    @property
    def primary(self) -> Any:
        enis = self.ec2.engine.region.enis_of(self.id)
        return next(eni for eni in enis if eni.attachment is not None and eni.attachment.device_index == 0)

    def tells(self, path: str, text: str | None) -> None:
        """Scripts an item of the metadata, or its absence."""
        self.ec2.engine.region.metadata_items.setdefault(self.id, {})[path] = text

    def inventory(self, **region: Any) -> InstanceInventory:
        sdk = EngineSdk(self, Life(), self.calls, {})  # type: ignore[arg-type] # of the lab it uses the engine
        ec2 = Ec2Client(sdk, Throttle(self.clock, self.sleep))
        return InstanceInventory(
            self.id, Region(ec2, self.clock, **region), clock=self.clock, jitter=lambda: 1.0, resync_seconds=3600.0
        )

    @property
    def engine(self) -> Any:
        return self.ec2.engine


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running_ec2() as ec2:
        yield Node(ec2)


# The client


async def test_it_knows_the_instance_and_the_region(node: Node) -> None:
    assert await node.service.instance_id() == node.id
    assert await node.service.region() == "us-east-1"


async def test_one_token_serves_many_items_and_a_new_one_is_taken_when_it_is_refused(node: Node) -> None:
    await node.service.text("instance-id")
    token = node.service._session_token
    await node.service.text("instance-type")
    assert node.service._session_token == token
    node.service._session_token = "expired"
    assert await node.service.text("instance-type") == "m5.large"


async def test_an_absent_list_is_empty_and_an_absent_item_an_error(node: Node) -> None:
    assert await node.service.items(f"{MACS}{node.primary.mac}/ipv4-prefix", metadata.cidr) == ()
    with pytest.raises(MetadataError, match="knows no placement/moon"):
        await node.service.item("placement/moon", str)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (metadata.mac, "02:00:00:00:00"),
        (metadata.mac, "../../iam/security-credentials"),
        (metadata.eni_id, "eni-1\neni-2"),
        (metadata.security_group, "default"),
        (metadata.subnet_id, "subnet-"),
        (metadata.address, "10.0.0.256"),
        (metadata.cidr, "10.0.0.1/8"),
        (metadata.number, "-1"),
        (metadata.number, "99999999999"),
    ],
)
async def test_what_cannot_be_is_an_error(node: Node, parse: Any, text: str) -> None:
    node.tells("scripted", text)
    with pytest.raises(MetadataError, match="for scripted"):
        await node.service.item("scripted", parse)


@pytest.mark.parametrize("text", ["x" * (LARGEST_ITEM + 1), "caf\u00e9"], ids=["endless", "not ASCII"])
async def test_what_is_no_item_at_all_is_an_error(node: Node, text: str) -> None:
    node.tells("scripted", text)
    with pytest.raises(MetadataError):
        await node.service.text("scripted")


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPFound("http://192.0.2.1/")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with pytest.raises(MetadataError, match="302"):
            await Metadata(f"http://127.0.0.1:{runner.addresses[0][1]}").instance_id()
    finally:
        await runner.cleanup()


# As a hint


class Hinted:
    """A node whose inventory has looked once, and its hints."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.inventory = node.inventory()
        self.hints = Hints(node.service, self.inventory, clock=node.clock, jitter=lambda: 1.0)

    async def started(self) -> "Hinted":
        await self.inventory.look()
        assert not await self.hints.poll()
        self.node.calls.clear()
        return self

    async def poll(self) -> bool:
        self.node.later += POLL_SECONDS
        return await self.hints.poll()

    async def look(self) -> None:
        self.node.later += 2
        await self.inventory.look()


@pytest.fixture
async def hinted(node: Node) -> Hinted:
    return await Hinted(node).started()


async def test_nothing_new_asks_nothing_of_ec2(hinted: Hinted) -> None:
    for _ in range(10):
        assert not await hinted.poll()
        await hinted.look()
    assert hinted.node.calls == []


async def test_it_is_not_polled_before_its_time(hinted: Hinted) -> None:
    hinted.node.attach()
    assert not await hinted.hints.poll()
    assert hinted.hints.poll_at <= hinted.node.clock() + POLL_SECONDS


async def test_an_eni_attached_by_somebody_else_is_noticed(hinted: Hinted) -> None:
    eni_id = hinted.node.attach()
    assert await hinted.poll()
    await hinted.look()
    assert hinted.inventory.attachments.get(EniId(eni_id)) is not None
    assert hinted.node.calls == ["DescribeNetworkInterfaces"]
    assert not await hinted.poll()


async def test_other_groups_of_the_primary_eni_are_noticed(hinted: Hinted) -> None:
    other = hinted.node.ec2.seed.group_ids[1]
    hinted.node.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=hinted.node.primary.id, Groups=[other])
    hinted.node.tells(f"{MACS}{hinted.node.primary.mac}/security-group-ids", other)
    assert await hinted.poll()
    await hinted.look()
    assert hinted.inventory.instance(None).security_groups == (other,)


async def test_a_new_vpc_block_is_noticed_within_two_polls(hinted: Hinted) -> None:
    vpc_id = hinted.node.ec2.seed.vpc_id
    hinted.node.call("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock="10.9.0.0/16")
    assert [await hinted.poll(), await hinted.poll()].count(True) == 1
    await hinted.look()
    assert hinted.inventory.vpc_cidrs == ("10.0.0.0/16", "10.9.0.0/16")
    assert hinted.node.calls == ["DescribeVpcs"]


async def test_a_short_list_is_looked_into_when_it_stays_short_and_removes_nothing(hinted: Hinted) -> None:
    folder = f"{MACS}{hinted.node.primary.mac}/"
    hinted.node.tells(folder + "security-group-ids", None)
    assert [await hinted.poll() for _ in range(9)] == [n in {2, 4, 8} for n in range(1, 10)]
    await hinted.look()
    assert hinted.inventory.instance(None).security_groups == (hinted.node.ec2.seed.group_ids[0],)


async def test_a_difference_that_ec2_does_not_confirm_is_asked_about_ever_more_seldom(hinted: Hinted) -> None:
    hinted.node.tells(f"{MACS}02:00:00:00:00:99/interface-id", "eni-99")
    reasons = [poll for poll in range(1, 65) if await hinted.poll()]
    assert reasons == [1, 2, 4, 8, 16, 32, 64]


async def test_a_service_that_is_away_or_lies_is_no_hint(hinted: Hinted) -> None:
    hinted.node.tells(f"{MACS}{hinted.node.primary.mac}/security-group-ids", "sg-1\nwhatever")
    assert not await hinted.poll()
    hinted.hints._service = Metadata("http://127.0.0.1:9")
    assert not await hinted.poll()
    assert hinted.inventory.look_at() > hinted.node.clock()


# In EC2's place


@pytest.fixture
def alone(node: Node) -> InstanceInventory:
    return node.inventory(source=MetadataSource(node.service))


async def test_an_instance_is_known_without_a_call_to_ec2(node: Node, alone: InstanceInventory) -> None:
    eni_id = node.attach(SecondaryPrivateIpAddressCount=2)
    await alone.look()
    assert node.calls == []
    instance = alone.instance(None)
    facts = (instance.id, instance.type, instance.zone, instance.vpc_id, instance.subnet_id)
    assert facts == (node.id, "m5.large", "us-east-1a", node.ec2.seed.vpc_id, node.ec2.seed.subnet_ids[0])
    assert (instance.limits.enis, instance.limits.addresses_per_eni) == (3, 10)
    assert instance.security_groups == (node.ec2.seed.group_ids[0],)
    assert alone.vpc_cidrs == ("10.0.0.0/16",)
    assert alone.subnets.get(instance.subnet_id).cidr == "10.0.0.0/20"
    primary, second = alone.attachments.enis
    held = node.ec2.engine.region.enis.get(eni_id)
    assert held is not None
    assert primary.is_primary
    assert (second.id, second.mac, second.primary_ip) == (eni_id, held.mac, held.primary_ip)
    assert second.addresses == tuple(held.addresses)
    assert second.attachment is not None
    assert (second.attachment.device_index, second.attachment.state) == (1, AttachmentState.ATTACHED)
    assert second.attachment.delete_on_termination


async def test_the_primary_enis_device_number_is_zero_whatever_is_told(node: Node, alone: InstanceInventory) -> None:
    node.tells(f"{MACS}{node.primary.mac}/device-number", "1")
    await alone.look()
    [primary] = alone.attachments.enis
    assert primary.is_primary


async def test_metadata_that_falls_short_for_minutes_takes_no_address_away(
    node: Node, alone: InstanceInventory
) -> None:
    node.attach(SecondaryPrivateIpAddressCount=2)
    await alone.look()
    before = alone.attachments.enis
    node.tells(f"{MACS}{before[1].mac}/local-ipv4s", before[1].primary_ip)
    for _ in range(4):
        node.later += CONFIRM_SECONDS / 5
        alone.hinted(Ask.ATTACHED)
        node.later += 1
        await alone.look()
    assert alone.attachments.enis == before
    node.later += CONFIRM_SECONDS
    await alone.look()
    assert alone.attachments.enis[1].addresses == ()


async def test_a_service_that_is_away_fails_as_ec2_would(node: Node) -> None:
    alone = node.inventory(source=MetadataSource(Metadata("http://127.0.0.1:9")))
    with pytest.raises(Ec2UnavailableError, match="the metadata service"):
        await alone.look()
    assert not alone.known
