"""What is reported of the node: usage, who waits, handshakes, drift and the agent's own state."""

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import CardUsage, ConditionStatus, Leaving
from eni_node_agent.cluster.pods import Pod
from eni_testing.eventually import eventually
from eni_testing.supplies import eni, supply
from eni_testing.supply_flow import World


async def test_reports_who_waits_for_every_card_before_it_asks_and_until_it_is_served(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"]), eni(0, card=1, addresses=["10.0.2.5"])))
    pods = [Pod("default", name, f"uid-{name}", "", every_card=name != "plain") for name in ("a", "b", "plain")]
    world.reporter.see_pods({pod.uid: pod for pod in pods})
    await eventually(lambda: world.ledger.tally(0).free == 3, "both cards serve")
    usage = world.reporter.report().usage
    assert (usage.pending, usage.cards) == (3, [CardUsage(network_card=1, pending=2)])
    asking = Sandbox(SandboxKey("eni", "a", "eth0"), "", "default", "a", "uid-a", every_card=True)
    assert (await world.pool.assign(asking)).addresses == ("10.0.1.5", "10.0.2.5")
    usage = world.reporter.report().usage
    assert (usage.pending, usage.cards) == (2, [CardUsage(network_card=1, assigned=1, pending=1)])


async def test_reports_handshakes_that_pods_hold_up_and_other_cards(world: World) -> None:
    marked = eni(0, card=1, addresses=["10.0.1.5"], releasing=[("10.0.1.5/32", "t1")])
    world.take(supply(eni(0), eni(0, card=1, addresses=["10.0.1.5"])))
    await world.assign("a")
    world.take(supply(eni(0), marked))
    usage = world.reporter.report().usage
    assert usage.leaving == [Leaving(cidr="10.0.1.5/32", token="t1", held=1)]
    assert usage.cards == [CardUsage(network_card=1, assigned=1)]


async def test_reports_the_agents_own_state(world: World) -> None:
    connected, drift = world.reporter.report().conditions
    assert (connected.type, connected.status, connected.reason) == ("AgentConnected", "False", "OperatorSilent")
    assert (drift.type, drift.status, drift.reason) == ("DriftDetected", "False", "NetworkInOrder")
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    await eventually(lambda: not world.flow.problem, "the primary serves")
    connected, _ = world.reporter.report().conditions
    assert (connected.status, connected.reason) == ("True", "AgentServing")


async def test_reports_repairs_for_a_while_and_lost_addresses_as_long_as_they_last(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5"]), cooldown_seconds=0))
    await world.assign("a")
    for kind in ("rule", "rule", "route"):
        world.reporter.see_repair(kind)
    world.take(supply(eni(0)))
    _, drift = world.reporter.report().conditions
    assert drift.status is ConditionStatus.TRUE
    assert "repaired: route 1, rule 2" in drift.message
    assert "1 pods hold addresses the supply does not name: 10.0.1.5" in drift.message
    world.now = 601
    _, drift = world.reporter.report().conditions
    assert "repaired" not in drift.message
    await world.pool.release(SandboxKey("eni", "a", "eth0"))
    _, drift = world.reporter.report().conditions
    assert drift.status is ConditionStatus.FALSE


async def test_a_condition_keeps_since_when_it_has_its_status(world: World) -> None:
    before = world.reporter.report().conditions
    assert world.reporter.report().conditions == before
