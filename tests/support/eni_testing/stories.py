"""What a pool goes through, as a table: how a node begins, what happens to it, and what must have come of it.

Each act is followed by as long as it takes until nothing happens any more. Counterpart: ``test_crash_safety`` tells
every story many times, with another step going wrong each time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eni_crds.names import TAG_INSTANCE
from eni_crds.nodeippool import EniRole
from eni_operator.controllers.kube import ENICONFIGS
from eni_testing import owned
from eni_testing.engine_sdk import Fate
from eni_testing.live_node import Cloud, LiveNode

Act = Callable[[LiveNode], None]


@dataclass(frozen=True)
class Story:
    """One story. ``acts`` is what goes wrong somewhere, ``begins`` what has gone well before."""

    name: str
    make: Callable[[], LiveNode]
    acts: tuple[Act, ...]
    ends: Callable[[LiveNode], bool]
    begins: tuple[Act, ...] = ()


def pods(count: int) -> Act:
    """So many pods are on the node."""
    return lambda node: node.want(count)


def spec(**fields: Any) -> Act:
    """Somebody edits the pool."""
    return lambda node: node.kube.put_spec(fields)


def eniconfig(subnet: int, **more: Any) -> Act:
    """Somebody writes the default ENIConfig."""

    def act(node: LiveNode) -> None:
        item = {"metadata": {"name": "default"}, "spec": {"subnet": node.lab.subnets[subnet], **more}}
        node.kube.eniconfigs[:] = [item]
        node.kube.tell(ENICONFIGS, "MODIFIED", item)

    return act


def replaced(node: LiveNode) -> None:
    """Every pod is replaced by a new one."""
    node.replace_pods()


def spoiled(node: LiveNode) -> None:
    """Somebody takes a tag and the group of the node's ENIs; the resync an hour later shows it."""
    made = next(eni for eni in node.enis() if eni.attachment and eni.attachment.device_index == 1)
    other = node.lab.call("CreateSecurityGroup", GroupName="x", Description="x", VpcId=made.vpc_id)["GroupId"]
    node.lab.call("DeleteTags", Resources=[made.id], Tags=[{"Key": "team"}])
    node.lab.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=made.id, Groups=[other])


def plain(*cidrs: str, **settings: Any) -> LiveNode:
    """A node of three ENIs with nine addresses for pods each."""
    return LiveNode(Cloud(*cidrs), **settings)


def inherited() -> LiveNode:
    """A predecessor made ENIs and left them: one unattached with addresses, one that would outlive the instance."""
    node = plain()
    tags = [{"ResourceType": "network-interface", "Tags": [{"Key": TAG_INSTANCE, "Value": node.instance_id}]}]
    common = {"SubnetId": node.lab.subnets[0], "Groups": [node.lab.seed.group_ids[0]], "TagSpecifications": tags}
    node.lab.call("CreateNetworkInterface", **common, SecondaryPrivateIpAddressCount=3)
    reply = node.lab.call("CreateNetworkInterface", **common, SecondaryPrivateIpAddressCount=2)
    there = {"NetworkInterfaceId": reply["NetworkInterface"]["NetworkInterfaceId"], "InstanceId": node.instance_id}
    node.lab.call("AttachNetworkInterface", **there, DeviceIndex=2)
    return node


def dual_stack() -> LiveNode:
    """A node whose subnet has an IPv6 block."""
    cloud = Cloud()
    blocks = cloud.call("AssociateVpcCidrBlock", VpcId=cloud.seed.vpc_id, AmazonProvidedIpv6CidrBlock=True)
    vpc_block = blocks["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"]
    block = vpc_block.replace("/56", "/64")
    where = {"VpcId": cloud.seed.vpc_id, "AvailabilityZone": cloud.seed.zones[0], "CidrBlock": "10.0.6.0/24"}
    subnet = cloud.call("CreateSubnet", **where, Ipv6CidrBlock=block)["Subnet"]["SubnetId"]
    cloud.subnets = (subnet,)
    return LiveNode(cloud)


def two_subnets() -> LiveNode:
    """A node that may take ENIs of two subnets, the first of which is small."""
    cloud = Cloud("10.0.101.0/28", "10.0.102.0/24")
    spec = {"subnets": {"ids": [cloud.subnets[1], cloud.subnets[2]]}, "subnetPolicy": "ordered"}
    node = LiveNode(cloud, eniconfigs=[{"metadata": {"name": "default"}, "spec": spec}])
    node.kube.node["metadata"]["labels"] = {"k8s.amazonaws.com/eniConfig": "default"}
    return node


def crowded(node: LiveNode) -> None:
    """Others take the last addresses of the small subnet, which the operator does not know, and pods come."""
    for _ in range(11):
        node.lab.call("CreateNetworkInterface", SubnetId=node.lab.subnets[1])
    node.want(20)


def in_subnets(node: LiveNode) -> set[int]:
    """Returns the numbers of the subnets of secondary ENIs."""
    return {node.lab.subnets.index(eni.subnet_id) for eni in node.supply.enis if eni.role is EniRole.SECONDARY}


def holds(addresses: int, enis: int) -> Callable[[LiveNode], bool]:
    """So many single addresses on so many ENIs."""
    return lambda node: (node.supply.totals.addresses, len(node.supply.enis)) == (addresses, enis)


def holds_prefixes_only(node: LiveNode) -> bool:
    """The last single address is gone."""
    return node.supply.totals.prefixes > 0 and not any(eni.addresses for eni in node.supply.enis)


def is_repaired(node: LiveNode) -> bool:
    """Tags and groups are as they should be."""
    return all(
        eni.tags.get("team") == "net" and eni.groups == (node.lab.seed.group_ids[0],)
        for eni in owned.enis_of(node.lab.engine, node.instance_id)
    )


_CUSTOM: Final = {"custom_networking": True}
_DRAINING: Final = {"policy": {"drainOnChange": True}}

STORIES: Final = (
    Story("growth over several ENIs", plain, (pods(20),), holds(21, 3)),
    Story("release", plain, (pods(6),), holds(7, 2), begins=(pods(14),)),
    Story("release with an ENI", plain, (pods(2),), holds(3, 2), begins=(pods(24),)),
    Story(
        "mode change with live pods",
        plain,
        (spec(policy={"mode": "prefix"}), replaced),
        holds_prefixes_only,
        begins=(pods(8),),
    ),
    Story(
        "mode change and back",
        plain,
        (spec(policy={"mode": "prefix"}), spec(), replaced),
        holds(7, 2),
        begins=(pods(6),),
    ),
    Story(
        "another ENIConfig, draining",
        lambda: plain("10.0.101.0/24", "10.0.102.0/24", **_CUSTOM),
        (eniconfig(2, **_DRAINING), replaced),
        lambda node: in_subnets(node) == {2},
        begins=(eniconfig(1, **_DRAINING), pods(4)),
    ),
    Story("adoption", inherited, (pods(12),), lambda node: len(node.supply.enis) == 3),
    Story(
        "dual stack",
        dual_stack,
        (spec(families=["IPv4", "IPv6"]), pods(14)),
        lambda node: all(eni.ipv6_prefixes for eni in node.supply.enis),
        begins=(pods(3),),
    ),
    Story(
        "repair of tags and groups",
        lambda: plain(tags={"team": "net"}, resync_seconds=30),
        (spoiled,),
        is_repaired,
        begins=(pods(12),),
    ),
    Story(
        "one of several subnets full", two_subnets, (crowded,), lambda node: in_subnets(node) == {2}, begins=(pods(7),)
    ),
)


async def tell(story: Story, step: int, fate: Fate, **knobs: Any) -> str | None:
    """Tells a story in which a step has a fate, counted from when the acts begin; fails where it does not end well.

    Args:
        story: what happens.
        step: the number of the step.
        fate: what becomes of it.
        knobs: how EC2 behaves meanwhile (``eni_lab.aws.engine.knobs``).

    Returns the step that was struck; None where there were not so many.
    """
    node = story.make()
    node.lab.engine.configure(**knobs)
    try:
        for act in story.begins:
            act(node)
            await node.settle()
        first = node.life
        first.arm(step, fate)
        for act in story.acts:
            act(node)
            await node.settle()
        faults = list(node.faults())
        assert not faults, faults
        assert story.ends(node), f"came to {node.supply.totals} on {len(node.supply.enis)} ENIs"
        return first.struck
    finally:
        await node.close()
