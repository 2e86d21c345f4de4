"""How often EC2 is asked about an instance, what for, and what is believed when it does not answer."""

import asyncio
from dataclasses import replace

import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_operator.domain.eni import EniId, InstanceId, SecurityGroupId
from eni_operator.ec2.errors import Ec2UnavailableError, UnknownInstanceError
from eni_operator.inventory.instance import Ask
from eni_testing.beliefs import BelievedNode

HOUR, DAY = 3600.0, 86400.0
DENIED = ("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
AWAY = ("Unavailable", "The service is unavailable.", 503)
START = ["DescribeInstanceTypes", "DescribeInstances", "DescribeNetworkInterfaces", "DescribeNetworkInterfaces"]
START += ["DescribeSubnets", "DescribeVpcs"]


async def test_the_first_look_asks_everything_once() -> None:
    node = BelievedNode()
    await node.inventory.look()
    assert sorted(node.calls) == START
    assert node.inventory.vpc_cidrs == ("10.0.0.0/16",)


async def test_a_quiet_day_costs_one_call_an_hour() -> None:
    node = await BelievedNode().started()
    await node.live(DAY)
    assert node.calls == ["DescribeNetworkInterfaces"] * 24


async def test_vpc_blocks_are_asked_for_each_hour_where_nothing_hints_at_them() -> None:
    node = await BelievedNode(vpc_seconds=HOUR - 1).started()
    node.lab.call("AssociateVpcCidrBlock", VpcId=node.lab.seed.vpc_id, CidrBlock="10.9.0.0/16")
    await node.live(HOUR)
    assert sorted(node.calls) == ["DescribeNetworkInterfaces", "DescribeVpcs"]
    assert node.inventory.vpc_cidrs == ("10.0.0.0/16", "10.9.0.0/16")


async def test_an_eni_that_somebody_takes_off_is_looked_for_among_the_unattached_before_it_is_dropped() -> None:
    node = BelievedNode()
    eni_id = node.lab.eni()
    attachment = node.lab.attach(eni_id, node.id)
    await node.started()
    node.lab.call("DetachNetworkInterface", AttachmentId=attachment)
    node.lab.now += 60
    await node.live(HOUR)
    assert node.calls == ["DescribeNetworkInterfaces"] * 3
    assert node.inventory.attachments.get(EniId(eni_id)) is None


async def test_an_own_unattached_eni_stays_known_though_a_quiet_look_does_not_show_it() -> None:
    node = BelievedNode()
    tag = {"Key": "node.k8s.amazonaws.com/instance_id", "Value": node.id}
    eni_id = node.lab.eni(TagSpecifications=[{"ResourceType": "network-interface", "Tags": [tag]}])
    await node.started()
    await node.live(2 * HOUR)
    assert node.inventory.attachments.get(EniId(eni_id)) is not None


async def test_an_own_unattached_eni_that_somebody_deletes_is_dropped_in_the_end() -> None:
    node = BelievedNode()
    tag = {"Key": "node.k8s.amazonaws.com/instance_id", "Value": node.id}
    eni_id = node.lab.eni(TagSpecifications=[{"ResourceType": "network-interface", "Tags": [tag]}])
    await node.started()
    node.lab.call("DeleteNetworkInterface", NetworkInterfaceId=eni_id)
    await node.live(HOUR + 10)
    assert node.inventory.attachments.get(EniId(eni_id)) is None


async def test_an_eni_that_somebody_attaches_is_watched_until_it_is_attached() -> None:
    node = BelievedNode(knobs=replace(Knobs(throttling=False).without_delays(), attaching_seconds=3.5))
    eni_id = EniId(node.lab.eni())
    node.lab.attach(eni_id, node.id)
    await node.started()
    await node.live(10)
    eni = node.inventory.attachments.get(eni_id)
    assert eni is not None
    assert eni.is_attached
    assert node.calls == ["DescribeNetworkInterfaces"] * 4


async def test_the_primary_enis_groups_are_followed_without_asking_for_the_instance() -> None:
    node = await BelievedNode().started()
    [primary] = node.inventory.attachments.enis
    other = node.lab.seed.group_ids[1]
    node.lab.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=primary.id, Groups=[other])
    node.inventory.hinted(Ask.ATTACHED)
    await node.live(1)
    assert node.calls == ["DescribeNetworkInterfaces"]
    assert node.inventory.instance(None).security_groups == (SecurityGroupId(other),)


async def test_a_hint_does_not_hold_up_what_is_done_and_a_doubt_does() -> None:
    node = await BelievedNode().started()
    node.inventory.hinted(Ask.VPC)
    assert not node.inventory.doubtful
    node.inventory.doubt()
    assert node.inventory.doubtful
    await node.live(1)
    assert not node.inventory.doubtful
    assert sorted(node.calls) == ["DescribeNetworkInterfaces", "DescribeNetworkInterfaces", "DescribeVpcs"]


async def test_what_a_call_without_an_answer_did_is_looked_for_again_when_it_must_show() -> None:
    node = await BelievedNode().started()
    node.lab.engine.configure(describe_lag_seconds=3.0)
    eni = node.lab.engine.region.enis_of(node.id)[0].id
    reply = node.lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    node.inventory.doubt(unanswered=True)
    await node.live(60)
    [believed] = node.inventory.attachments.enis
    assert believed.addresses == (reply["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"],)
    assert node.calls == ["DescribeNetworkInterfaces"] * 4  # attached and available: at once, and again


async def test_what_a_predecessor_did_as_it_died_is_looked_for_and_nothing_is_done_on_unsure_ground() -> None:
    node = await BelievedNode().started()
    eni = node.lab.engine.region.enis_of(node.id)[0].id
    node.lab.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    successor = node.inventory_of(node.id)
    successor.took_over([])
    await successor.look()
    assert (successor.attachments.enis[0].addresses, successor.doubtful) == ((), True)
    node.lab.now += 5
    await successor.look()
    assert (len(successor.attachments.enis[0].addresses), successor.doubtful) == (1, False)


async def test_a_doubt_stays_until_ec2_has_answered() -> None:
    node = await BelievedNode().started()
    node.inventory.doubt()
    node.refuse["DescribeNetworkInterfaces"] = AWAY
    node.lab.now += 1
    with pytest.raises(Ec2UnavailableError):
        await node.inventory.look()
    assert node.inventory.doubtful
    node.refuse.clear()
    await node.live(2)
    assert not node.inventory.doubtful


async def test_an_instance_ec2_does_not_know_yet_is_asked_for_again() -> None:
    node = BelievedNode(knobs=replace(Knobs(throttling=False).without_delays(), describe_lag_seconds=3.0))
    with pytest.raises(UnknownInstanceError):
        await node.inventory.look()
    assert not node.inventory.known
    assert node.inventory.look_at() == node.lab.now + 1
    node.lab.now += 4
    await node.live(1)
    assert node.inventory.known


@pytest.mark.parametrize("refusal", [DENIED, ("InvalidInstanceType", "no such type", 400)])
async def test_limits_ec2_does_not_tell_come_from_the_table(refusal: tuple[str, str, int]) -> None:
    node = BelievedNode()
    node.refuse["DescribeInstanceTypes"] = refusal
    await node.inventory.look()
    limits = node.inventory.instance(None).limits
    assert (limits.enis, limits.addresses_per_eni, limits.prefixes) == (3, 10, True)


async def test_the_table_is_believed_when_ec2_stays_away() -> None:
    node = BelievedNode()
    node.refuse["DescribeInstanceTypes"] = AWAY
    failures = 0
    while not node.inventory.known:
        node.lab.now = max(node.lab.now, node.inventory.look_at())
        try:
            await node.inventory.look()
        except Ec2UnavailableError:
            failures += 1
    assert failures == 2
    assert node.inventory.instance(None).limits.enis == 3


async def test_what_a_refused_attach_says_of_a_known_type_is_asked_of_ec2() -> None:
    node = await BelievedNode().started()
    node.inventory.learned_limit(0)
    assert node.inventory.doubtful
    await node.live(2)
    assert "DescribeInstances" in node.calls
    assert node.inventory.instance(None).limits.enis == 3


async def test_a_replacement_inherits_nothing_of_the_instance_before_it() -> None:
    node = BelievedNode()
    node.lab.attach(node.lab.eni(), node.id)
    await node.inventory.look()
    successor = node.inventory_of(InstanceId(node.lab.instance()))
    assert not successor.known
    await successor.look()
    assert len(successor.attachments.enis) == 1
    assert len(node.inventory.attachments.enis) == 2


async def test_the_first_looks_of_many_instances_are_two_hundred_in_a_call() -> None:
    node = BelievedNode(gather_seconds=0.1)
    ids = [node.id, *(InstanceId(node.lab.instance(subnet=n % 2)) for n in range(20))]
    inventories = [node.inventory_of(instance_id) for instance_id in ids]
    await asyncio.gather(*(inventory.look() for inventory in inventories))
    assert all(len(inventory.attachments.enis) == 1 for inventory in inventories)
    assert node.calls.count("DescribeInstances") == 1
    assert node.calls.count("DescribeVpcs") == 1
    assert node.calls.count("DescribeSubnets") == 2
    assert len(node.calls) <= 8
