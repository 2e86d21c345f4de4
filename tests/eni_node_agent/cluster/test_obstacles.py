"""Whether the node can serve, and why not: in the operator's words, the host's, or for want of either."""

import pytest

from eni_cni_shim.plugin.addresspool import PoolUnavailableError, SandboxKey
from eni_crds.conditions import Reason
from eni_crds.nodeippool import ConditionStatus, Family
from eni_node_agent.sandbox.pool import Refusal
from eni_testing.eventually import eventually
from eni_testing.supplies import SUBNET_FULL, eni, supply
from eni_testing.supply_flow import World


def silent(why: str) -> Refusal:
    return Refusal("OperatorSilent", why)


UNKNOWN = SUBNET_FULL.replace(type="Ready", status=ConditionStatus.FALSE, reason="UnknownInstance", message="no i-1")


async def test_a_host_network_not_looked_at_yet_is_not_called_broken(world: World) -> None:
    """Or the node would be NotReady for a moment after each start of the agent."""
    with pytest.raises(PoolUnavailableError, match="starting"):
        world.pool.check_ready()
    world.network.gate.clear()
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    world.pool.check_ready()
    assert "host network is not ready" in world.flow.problem
    world.network.absent = {eni(0).id}
    world.network.gate.set()
    await eventually(lambda: world.flow._ensured is not None, "the host's network has been looked at")
    with pytest.raises(PoolUnavailableError, match="host network is not ready"):
        world.pool.check_ready()


async def test_addresses_are_exhausted_when_none_is_free_none_cools_and_none_will_come(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5"]), cooldown_seconds=1), SUBNET_FULL)
    await eventually(lambda: world.ledger.tally(0).free == 1, "supply served")
    assert world.flow.exhaustion() is None
    await world.assign("a")
    assert (refusal := world.flow.exhaustion()) is not None
    assert refusal.reason == Reason.SUBNET_FULL
    await world.pool.release(SandboxKey("eni", "a", "eth0"))
    assert world.flow.exhaustion() is None, "it cools"


async def test_without_a_supply_it_says_who_is_silent(world: World) -> None:
    yet = "no supply has been seen yet: "
    world.flow.restore()
    assert world.flow.explain() == silent(yet + "the API server has not told of this node's NodeIPPool yet")
    world.flow.take(None)
    nothing = "the API server has no NodeIPPool of this node that can be read, which the operator makes"
    assert world.flow.explain() == silent(yet + nothing)
    with pytest.raises(PoolUnavailableError, match="has no NodeIPPool of this node"):
        world.pool.check_ready()
    world.take(None)
    assert world.flow.explain() == silent(yet + "the operator has not described this node's pool")
    world.take(None, UNKNOWN)
    assert world.flow.explain() == Refusal("UnknownInstance", "no i-1")
    with pytest.raises(PoolUnavailableError, match="no i-1"):
        world.pool.check_ready()
    assert world.network.asked == []


async def test_an_object_that_is_gone_leaves_the_supply_and_is_told_of(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5"])), SUBNET_FULL)
    assert await world.assign("a") == "10.0.1.5"
    world.flow.take(None)
    assert world.flow.explain() == silent(
        "the API server has no NodeIPPool of this node that can be read, which the operator makes"
    )
    assert world.flow.problem == ""
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    assert world.flow.explain().reason == "Growing"


@pytest.mark.parametrize("families", [[Family.IPV6], [Family.IPV4, Family.IPV6]])
async def test_what_a_node_lacks_for_ipv6_is_told_where_the_pool_has_it(world: World, families: list[Family]) -> None:
    inner = eni(0, addresses=["10.0.1.5"], ipv6_prefixes=["2001:db8::/80"])
    world.lacks_for_ipv6 = "the kernel of this node has no IPv6"
    world.take(supply(inner, families=families))
    await eventually(lambda: world.flow.is_saved, "the host's network and the disk are done")
    with pytest.raises(PoolUnavailableError, match="IPv6 addresses, and the kernel of this node has no IPv6"):
        world.pool.check_ready()
    assert world.flow.explain().reason == "IPv6NotServed"
    assert not world.flow.is_able
    world.take(supply(inner))
    assert await world.assign("a") == "10.0.1.5"


async def test_says_how_far_the_operator_is(world: World) -> None:
    growing = SUBNET_FULL.replace(type="Ready", status=ConditionStatus.FALSE, reason="Growing", message="to 8")
    world.take(supply(eni(0)), growing)
    await eventually(lambda: not world.flow.problem, "the primary serves")
    assert world.flow.explain() == Refusal("Growing", "to 8")
    assert world.flow.is_able


async def test_the_node_is_able_while_addresses_are_free_or_may_come(world: World) -> None:
    world.take(supply(eni(0)), SUBNET_FULL)
    await eventually(lambda: not world.flow.problem, "the primary serves")
    assert not world.flow.is_able
    assert world.flow.explain().reason == "SubnetFull"
    world.take(supply(eni(0)))
    assert world.flow.is_able
    world.take(supply(eni(0, addresses=["10.0.1.5"])), SUBNET_FULL)
    await eventually(lambda: world.flow.is_able, "an address is free")
