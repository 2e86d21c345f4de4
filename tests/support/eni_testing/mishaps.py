"""What may happen in a ``town``: pods, edits, other people's doings in EC2, and everything that can go wrong.

Each takes the town and ends what it began. Nobody takes an address from a pod here: that is no fault of ours to mend.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_lab.aws.engine.errors import Ec2Error
from eni_operator.controllers.worlds import UNSCHEDULABLE_TAINT
from eni_testing.engine_sdk import Fate
from eni_testing.town import MOST_PODS, Town, is_fated

Event = Callable[[Town], Awaitable[None]]

CALLS: Final = (
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DetachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "UnassignPrivateIpAddresses",
)
REFUSALS: Final = (
    ("RequestLimitExceeded", "Request limit exceeded.", 503),
    ("UnauthorizedOperation", "You are not authorized to perform this operation.", 403),
    ("Unavailable", "The service is unavailable.", 503),
    ("InternalError", "An internal error has occurred.", 500),
)

SEEN_SECONDS: Final = 5.0
"""After so long EC2 shows everybody what was done, however late it is."""


async def pods_come_or_go(town: Town) -> None:
    """A burst, or a few, or none left."""
    node, count = town.a_node(), town.chance.randint(0, MOST_PODS)
    town.tell(f"{node.name} has {count} pods")
    node.want(count)


async def some_pods_are_replaced(town: Town) -> None:
    """A rollout: any of the pods go, as many come."""
    node = town.a_node()
    for pod in town.chance.sample(sorted(node.agent.pods), len(node.agent.pods) // 2):
        del node.agent.pods[pod]
    town.tell(f"{node.name} replaces half of its pods")
    node.want(town.chance.randint(len(node.agent.pods), MOST_PODS))


async def policy_is_edited(town: Town) -> None:
    """Somebody tries settings out."""
    node, chance = town.a_node(), town.chance
    if node.kube.pool is None:
        return
    choices: dict[str, tuple[Any, ...]] = {
        "mode": ("secondary", "prefix", "auto"),
        "warmIPs": (0, 1, 5),
        "minimumIPs": (0, 3, 10),
        "warmPrefixes": (0, 1),
        "warmENIs": (0, 1),
        "maximumENIs": (1, 2, 3),
        "maximumIPs": (10, 40),
        "cooldownSeconds": (0, 10, 30),
        "releaseAfterSeconds": (0, 5, 30),
        "releaseBatch": (1, 3),
        "drainOnChange": (True, False),
    }
    named = chance.sample(sorted(choices), chance.randint(0, 4))
    spec: dict[str, Any] = {"policy": {name: chance.choice(choices[name]) for name in named}}
    if chance.random() < 0.1:
        spec["paused"] = True
    if chance.random() < 0.2:
        spec["families"] = ["IPv4", "IPv6"]
    town.tell(f"{node.name} is told {spec}")
    node.kube.put_spec(spec)


async def eniconfig_is_edited(town: Town) -> None:
    """New ENIs come from elsewhere; sometimes the old ones are to go."""
    chosen = town.chance.sample(town.cloud.subnets[1:], town.chance.randint(1, 2))
    drains = {"policy": {"drainOnChange": True}} if town.chance.random() < 0.5 else {}
    name = town.chance.choice(("pods", "default"))
    town.tell(f"ENIConfig {name} is {chosen} {drains}")
    town.write_eniconfig(name, *chosen, **drains)


async def ec2_refuses(town: Town) -> None:
    """One API answers one error, to one node, for a while."""
    node, call = town.a_node(), town.chance.choice(CALLS)
    town.tell(f"{node.name} is refused {call}")
    node.refuse[call] = town.chance.choice(REFUSALS)
    await asyncio.sleep(town.a_while())
    node.refuse.pop(call, None)


async def something_gets_lost(town: Town) -> None:
    """One of the next steps has no answer, or ends the process."""
    node, fate = town.a_node(), town.chance.choice(list(Fate))
    if not is_fated(node.life):
        step = town.chance.randint(0, 6)
        town.tell(f"{node.name}: step {step} from now: {fate}")
        node.life.arm(step, fate)


async def operator_is_killed(town: Town) -> None:
    """At any moment."""
    node = town.a_node()
    if not node.life.dead:
        town.tell(f"{node.name}: the operator is killed")
        node.kill()


async def ec2_tells_old_news(town: Town) -> None:
    """All reads are late, and what is new is not found."""
    lag = town.chance.uniform(0.2, 3.0)
    town.tell(f"EC2 is {lag:.1f} s late")
    town.cloud.engine.configure(describe_lag_seconds=lag, visible_after_seconds=lag / 2, attachment_hidden_seconds=lag)
    await asyncio.sleep(town.a_while())
    town.cloud.engine.configure(describe_lag_seconds=0.0, visible_after_seconds=0.0, attachment_hidden_seconds=0.0)


async def api_server_is_away(town: Town) -> None:
    """For one node or for all."""
    nodes = town.nodes if town.chance.random() < 0.3 else [town.a_node()]
    town.tell(f"no API server for {[node.name for node in nodes]}")
    for node in nodes:
        node.change_outage(town.chance.choice((0, 500, 503)))
    await asyncio.sleep(town.a_while())
    for node in nodes:
        node.change_outage(None)


async def node_is_cordoned(town: Town) -> None:
    """And uncordoned."""
    node = town.a_node()
    town.tell(f"{node.name} is cordoned")
    node.kube.change_node(taints=[{"key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}])
    await asyncio.sleep(town.a_while())
    node.kube.change_node(taints=[])


async def pool_is_deleted(town: Town) -> None:
    """Somebody thinks it would help."""
    node = town.a_node()
    if node.kube.pool is not None:
        town.tell(f"{node.name}: the pool is deleted")
        node.kube.drop_pool(node.kube.pool["metadata"]["uid"])


async def subnet_fills_up(town: Town) -> None:
    """Others take what a subnet has, and give it back."""
    subnet, made = town.chance.choice(town.cloud.subnets), list[dict[str, Any]]()
    town.tell(f"{subnet} is full")
    with suppress(Ec2Error):
        while len(made) < 300:
            made.append(town.cloud.call("CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"])
    await asyncio.sleep(town.a_while() + SEEN_SECONDS)
    for eni in made:
        town.cloud.call("DeleteNetworkInterface", NetworkInterfaceId=eni["NetworkInterfaceId"])


async def stranger_brings_an_eni(town: Town) -> None:
    """Somebody attaches an ENI that is not ours to use, and takes it away again."""
    node = town.a_node()
    tags = [{"ResourceType": "network-interface", "Tags": [{"Key": TAG_NO_MANAGE, "Value": "true"}]}]
    try:
        made = town.cloud.call("CreateNetworkInterface", SubnetId=town.cloud.subnets[0], TagSpecifications=tags)
    except Ec2Error:
        return
    eni_id = made["NetworkInterface"]["NetworkInterfaceId"]
    taken = {eni.attachment.device_index for eni in node.enis() if eni.attachment is not None}
    index = next(number for number in range(1, 20) if number not in taken)
    with suppress(Ec2Error):
        await asyncio.sleep(SEEN_SECONDS)
        where = {"InstanceId": node.instance_id, "DeviceIndex": index}
        attachment = town.cloud.call("AttachNetworkInterface", NetworkInterfaceId=eni_id, **where)["AttachmentId"]
        town.tell(f"{node.name}: somebody's {eni_id} is attached at {index}")
        await asyncio.sleep(town.a_while())
        town.cloud.call("DetachNetworkInterface", AttachmentId=attachment)
        await asyncio.sleep(SEEN_SECONDS)
    town.cloud.call("DeleteNetworkInterface", NetworkInterfaceId=eni_id)


async def stranger_changes_an_eni(town: Town) -> None:
    """Somebody takes a tag off an ENI, or gives it another group."""
    node = town.a_node()
    eni = town.chance.choice(sorted(node.enis(), key=lambda eni: eni.id))
    town.tell(f"{node.name}: somebody changes {eni.id}")
    if town.chance.random() < 0.5:
        key = town.chance.choice(("team", "team", TAG_INSTANCE))
        town.cloud.call("DeleteTags", Resources=[eni.id], Tags=[{"Key": key}])
        return
    name = f"group-{len(town.told)}"
    made = town.cloud.call("CreateSecurityGroup", GroupName=name, Description=name, VpcId=eni.vpc_id)
    town.cloud.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni.id, Groups=[made["GroupId"]])


WEIGHTS: Final[dict[Event, int]] = {
    pods_come_or_go: 10,
    some_pods_are_replaced: 6,
    policy_is_edited: 6,
    eniconfig_is_edited: 3,
    ec2_refuses: 5,
    something_gets_lost: 6,
    operator_is_killed: 3,
    ec2_tells_old_news: 2,
    api_server_is_away: 3,
    node_is_cordoned: 2,
    pool_is_deleted: 1,
    subnet_fills_up: 2,
    stranger_brings_an_eni: 1,
    stranger_changes_an_eni: 2,
}


def anything(town: Town) -> Awaitable[None]:
    """Lets something happen."""
    [event] = town.chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
    return event(town)
