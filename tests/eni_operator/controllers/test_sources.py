"""Where addresses come from, by the real loop on the stand-in's engine: subnets, groups, tags, other people's ENIs."""

from typing import Any

import pytest

from eni_crds.nodeippool import EniRole, Supply
from eni_lab.aws.engine.knobs import Knobs
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.ec2.errors import DeniedError
from eni_operator.inventory.subnets import Subnets
from eni_testing import virtual_loop
from eni_testing.operator_node import OperatorNode
from eni_testing.stories import dual_stack

QUICK = Knobs(throttling=False).without_delays()
BLOCKS = ("10.0.101.0/24", "10.0.102.0/24")


class Place(OperatorNode):
    """A node in the first of three subnets of one zone."""

    def __init__(self, *blocks: str, **settings: Any) -> None:
        super().__init__(knobs=QUICK, **settings)
        first = self.lab.seed.subnet_ids[0]
        where = {"VpcId": self.lab.seed.vpc_id, "AvailabilityZone": self.lab.seed.zones[0]}
        made = [self.lab.call("CreateSubnet", CidrBlock=block, **where) for block in blocks or BLOCKS]
        self.subnets = (first, *(str(reply["Subnet"]["SubnetId"]) for reply in made))


def subnet(node: Place, number: int) -> str:
    return node.subnets[number]


def tag(node: Place, resource: str, **tags: str) -> None:
    listed = [{"Key": key.replace("__", "/"), "Value": value} for key, value in tags.items()]
    node.lab.call("CreateTags", Resources=[resource], Tags=listed)


def config(node: Place, name: str = "pods", **spec: Any) -> None:
    node.kube.eniconfigs = [*node.kube.eniconfigs, {"metadata": {"name": name}, "spec": spec}]


def supply(node: OperatorNode) -> Supply:
    found = node.kube.supply()
    assert found is not None
    return found


def secondary_subnets(node: Place) -> set[str]:
    return {eni.subnet_id for eni in supply(node).enis if eni.role is EniRole.SECONDARY}


async def test_custom_networking_takes_enis_from_the_eniconfig_and_no_address_from_the_primary() -> None:
    node = Place(custom_networking=True)
    node.kube.node["metadata"]["labels"] = {"k8s.amazonaws.com/eniConfig": "pods"}
    config(node, subnet=subnet(node, 1))
    node.agent.want(12)
    await node.settle()
    primary = supply(node).enis[0]
    assert (primary.addresses, primary.prefixes) == ([], [])
    assert "custom networking" in (primary.excluded or "")
    assert secondary_subnets(node) == {subnet(node, 1)}
    assert supply(node).limits.maximum_pods == 2 * 9 + 2


async def test_custom_networking_without_its_eniconfig_waits_and_says_so_and_goes_on_when_it_comes() -> None:
    node = Place(custom_networking=True)
    node.agent.want(3)
    for _ in range(20):
        await node.step()
    ready = node.kube.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ENIConfigMissing")
    assert "'default'" in ready["message"]
    config(node, "default", subnet=subnet(node, 2))
    node.reconciler.observed.take("eniconfigs", "ADDED", node.kube.eniconfigs[0])
    await node.settle()
    assert secondary_subnets(node) == {subnet(node, 2)}


@pytest.mark.parametrize("drains", [False, True])
async def test_a_changed_eniconfig_counts_for_new_enis_and_drains_old_ones_if_told_to(*, drains: bool) -> None:
    node = Place(custom_networking=True)
    config(node, "default", subnet=subnet(node, 1), policy={"drainOnChange": drains})
    node.agent.want(4)
    await node.settle()
    node.kube.eniconfigs = []
    config(node, "default", subnet=subnet(node, 2), policy={"drainOnChange": drains})
    node.reconciler.observed.take("eniconfigs", "MODIFIED", node.kube.eniconfigs[0])
    await node.settle()
    assert secondary_subnets(node) == ({subnet(node, 1), subnet(node, 2)} if drains else {subnet(node, 1)})
    before = set(node.agent.pods)
    node.agent.want(0)
    await node.settle()
    node.agent.want(5)
    assert not before & {name for name, address in node.agent.pods.items() if address}
    await node.settle()
    assert secondary_subnets(node) == ({subnet(node, 2)} if drains else {subnet(node, 1)})
    assert node.leaked() == []


async def test_listed_subnets_serve_beside_the_primary_and_a_full_one_is_left_alone() -> None:
    node = Place("10.0.101.0/28", "10.0.102.0/24")
    config(node, subnets={"ids": [subnet(node, 1), subnet(node, 2)]}, subnetPolicy="ordered")
    node.kube.node["metadata"]["labels"] = {"k8s.amazonaws.com/eniConfig": "pods"}
    for _ in range(9):
        node.lab.call("CreateNetworkInterface", SubnetId=subnet(node, 1))
    node.agent.want(25)
    await node.settle()
    assert subnet(node, 2) in secondary_subnets(node)
    assert supply(node).enis[0].addresses != []
    assert {item.id for item in supply(node).subnets} == {subnet(node, 1), subnet(node, 2)}


async def test_discovery_uses_subnets_that_are_tagged_and_leaves_those_tagged_out() -> None:
    node = Place()
    tag(node, subnet(node, 0), **{"kubernetes.io__role__cni": "0"})
    tag(node, subnet(node, 1), **{"kubernetes.io__role__cni": "1"})
    node.agent.want(5)
    await node.settle()
    assert secondary_subnets(node) == {subnet(node, 1)}
    assert "kubernetes.io/role/cni=0" in (supply(node).enis[0].excluded or "")


async def test_discovery_that_is_denied_falls_back_to_the_primarys_subnet_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> tuple[SubnetId, ...]:
        raise DeniedError("DescribeSubnets", "UnauthorizedOperation", "You are not authorized")

    monkeypatch.setattr(Subnets, "find", refuse)
    node = Place()
    tag(node, subnet(node, 1), **{"kubernetes.io__role__cni": "1"})
    node.agent.want(12)
    await node.settle()
    assert secondary_subnets(node) == {subnet(node, 0)}
    denied = node.kube.condition("AccessDenied")
    assert (denied["status"], node.kube.condition("Sufficient")["status"]) == ("True", "True")
    assert "ec2:DescribeSubnets" in denied["message"]


async def test_enis_follow_the_primarys_security_groups() -> None:
    node = Place()
    node.agent.want(12)
    await node.settle()
    vpc = node.lab.show(node.enis()[0].id)["VpcId"]
    group = node.lab.call("CreateSecurityGroup", GroupName="more", Description="more", VpcId=vpc)["GroupId"]
    primary = next(eni for eni in node.enis() if eni.attachment.device_index == 0)
    node.lab.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=primary.id, Groups=[group])
    node.lab.now += 5000
    await node.settle()
    assert {tuple(eni.security_groups) for eni in supply(node).enis} == {(group,)}


async def test_groups_and_tags_that_somebody_changed_are_repaired_with_one_call_each() -> None:
    node = Place(tags={"team": "net"})
    node.agent.want(12)
    await node.settle()
    made = next(eni for eni in node.enis() if eni.attachment.device_index == 1)
    node.lab.call("DeleteTags", Resources=[made.id], Tags=[{"Key": "team"}])
    node.lab.now += 5000
    node.calls.clear()
    await node.settle()
    assert node.calls.count("CreateTags") == 1
    assert {eni.tags.get("team") for eni in node.enis()} == {"net"}


async def test_an_eni_somebody_else_attaches_is_used_if_untagged_ones_are_managed_and_never_removed() -> None:
    node = Place()
    foreign = node.lab.eni(0, SecondaryPrivateIpAddressCount=2)
    node.lab.attach(foreign, node.instance_id, 2)
    node.agent.want(20)
    await node.settle()
    assert EniRole.SECONDARY in {eni.role for eni in supply(node).enis if eni.id == foreign}
    node.agent.want(0)
    await node.settle()
    assert foreign in {eni.id for eni in node.enis()}


@pytest.mark.parametrize("how", ["setting", "tag"])
async def test_an_eni_that_is_not_managed_is_shown_and_left_alone(how: str) -> None:
    node = Place(manage_untagged=how != "setting")
    foreign = node.lab.eni(0, SecondaryPrivateIpAddressCount=2)
    node.lab.attach(foreign, node.instance_id, 2)
    if how == "tag":
        tag(node, foreign, **{"node.k8s.amazonaws.com__no_manage": "true"})
    node.agent.want(12)
    await node.settle()
    [shown] = [eni for eni in supply(node).enis if eni.id == foreign]
    assert (shown.role, shown.addresses) == (EniRole.UNMANAGED, [])


async def test_what_a_former_instance_left_written_is_not_taken_over() -> None:
    node = Place()
    node.agent.want(12)
    await node.settle()
    node.lab.call("TerminateInstances", InstanceIds=[node.instance_id])
    node.instance_id = node.lab.instance()
    node.kube.node["spec"]["providerID"] = f"aws:///us-east-1a/{node.instance_id}"
    node.agent.pods.clear()
    node.agent.seen = None
    node.start()
    await node.reconciler.once()
    assert supply(node).instance.id == node.instance_id
    node.agent.want(3)
    await node.settle()
    assert {eni.id for eni in supply(node).enis} == {eni.id for eni in node.enis()}
    assert node.leaked() == []


async def test_a_cordoned_node_does_not_grow_unless_it_is_told_to() -> None:
    for manage in (False, True):
        node = Place(manage_unschedulable=manage)
        await node.settle()
        node.kube.node["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
        node.reconciler.observed.take("nodes", "MODIFIED", node.kube.node)
        node.agent.want(6)
        for _ in range(20):
            await node.step()
        assert (node.agent.pending == 0) == manage
        if not manage:
            assert node.kube.condition("Ready")["reason"] == "Unschedulable"


async def test_an_agent_that_falls_silent_is_named_and_keeps_what_it_has() -> None:
    node = Place()
    node.agent.want(12)
    await node.settle()
    held = supply(node).totals.addresses
    node.agent.want(0)
    assert node.kube.pool is not None
    node.kube.pool["status"]["usage"] |= {"reportedAt": "2023-11-14T22:13:20Z", "idle": []}
    node.reconciler.observed.take("nodeippools", "MODIFIED", node.kube.snapshot())
    node.lab.now += 7200
    for _ in range(10):
        await node.reconciler.once()
        node.lab.now += 10
    assert node.kube.condition("Ready")["reason"] == "AgentSilent"
    assert supply(node).totals.addresses == held


async def test_provisioning_disabled_changes_nothing_in_ec2_and_says_so() -> None:
    node = Place(policy=EnvironmentPolicy(provisioning=False))
    node.agent.want(5)
    for _ in range(20):
        await node.step()
    assert {call for call in node.calls if not call.startswith(("Describe", "Get"))} == set()
    assert node.kube.condition("Ready")["reason"] == "ProvisioningDisabled"


async def test_every_network_card_has_an_address_to_give_where_cards_are_managed() -> None:
    node = OperatorNode("p4d.24xlarge", knobs=QUICK, multi_card=True)
    node.agent.want(3)
    await node.settle()
    held = {eni.network_card: len(eni.addresses) for eni in supply(node).enis}
    assert sorted(held) == [0, 1, 2, 3]
    assert min(held.values()) == 1
    assert supply(node).limits.cards == [15, 15, 15, 15]
    assert supply(node).cards == [0, 1, 2, 3]


async def test_other_cards_are_left_alone_where_they_are_not_managed() -> None:
    node = OperatorNode("p4d.24xlarge", knobs=QUICK)
    node.agent.want(3)
    await node.settle()
    assert {eni.network_card for eni in supply(node).enis} == {0}
    assert supply(node).cards == []


def test_an_ipv6_pool_has_one_prefix_an_eni_and_gives_its_ipv4_addresses_back() -> None:
    async def story() -> Supply:
        node = dual_stack()
        await node.settle()
        node.kube.put_spec({"families": ["IPv6"]})
        await node.settle()
        await node.close()
        return node.supply

    found = virtual_loop.run(story())
    assert {len(eni.ipv6_prefixes) for eni in found.enis} == {1}
    assert (found.wanted, found.totals.addresses) == (0, 0)
