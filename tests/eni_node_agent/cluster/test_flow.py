import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eni_cni_shim.plugin.addresspool import PoolUnavailableError, Sandbox, SandboxKey
from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import (
    CardUsage,
    Condition,
    ConditionStatus,
    Family,
    Leaving,
    NodeIPPool,
    NodeIPPoolStatus,
    Supply,
)
from eni_node_agent.cluster.flow import SupplyFlow
from eni_node_agent.cluster.pods import Pod
from eni_node_agent.cluster.report import Reporter
from eni_node_agent.cluster.supply import SupplyFile
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.sandbox.pool import Refusal, SandboxPool
from eni_testing.eventually import eventually
from eni_testing.supplies import eni, supply

FULL = Condition(
    type=ConditionType.SUBNET_EXHAUSTED,
    status=ConditionStatus.TRUE,
    reason=Reason.SUBNET_FULL,
    message="subnet-1 is full",
    last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
)


class Memory:
    def hold(self, _: Holding) -> None: ...

    def release(self, _: Holding, __: float) -> None: ...


class Network:
    """A host network that is ready when the test says so."""

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.asked: list[Supply] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ensure(self, seen: Supply) -> NetworkState:
        self.asked.append(seen)
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the host's network failed")
        return NetworkState(frozenset(each.id for each in seen.enis) - self.absent)


class World:
    log: pytest.LogCaptureFixture

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.file = SupplyFile(folder / "supply.json")
        self.network = Network()
        self.ledger = Ledger(Memory())
        self.pool = SandboxPool(
            self.ledger,
            hold_seconds=5,
            clock=lambda: self.now,
            explain=lambda: self.flow.explain(),  # noqa: PLW0108  the flow comes after the pool
            pressed=lambda: None,
        )
        self.lacks_for_ipv6 = ""
        self.flow = SupplyFlow(
            self.ledger,
            self.pool,
            self.network,
            self.file,
            clock=lambda: self.now,
            changed=lambda: None,
            lacks_for_ipv6=lambda: self.lacks_for_ipv6,
        )
        self.reporter = Reporter(self.ledger, self.pool, self.flow, boot_id="b1", clock=lambda: self.now)

    def take(self, seen: Supply | None, *conditions: Condition) -> None:
        """Lets the operator speak."""
        status = NodeIPPoolStatus(supply=seen, conditions=list(conditions))
        self.flow.take(NodeIPPool(metadata={"name": "node-a"}, status=status))

    async def assign(self, name: str) -> str:
        return (await self.pool.assign(Sandbox(SandboxKey("eni", name, "eth0")))).address


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    task = asyncio.create_task(run(world.flow))
    yield world
    task.cancel()
    await asyncio.wait([task])


async def run(flow: SupplyFlow) -> None:
    """Starts the flow again when it fails, as ``wiring`` does."""
    while True:
        with contextlib.suppress(RuntimeError):
            await flow.run()


@pytest.fixture
async def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    async with running(tmp_path) as made:
        made.log = caplog
        yield made


async def test_a_waiting_pod_is_served_once_the_host_serves_its_address(world: World) -> None:
    world.network.gate.clear()
    asking = asyncio.create_task(world.assign("a"))
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    await eventually(lambda: len(world.network.asked) == 1, "the host's network is asked")
    assert not asking.done()
    assert world.reporter.report().usage.pending == 1
    world.network.gate.set()
    assert await asking == "10.0.1.5"


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
    world.take(supply(eni(0, addresses=["10.0.1.5"]), cooldown_seconds=1), FULL)
    await eventually(lambda: world.ledger.tally(0).free == 1, "supply served")
    assert world.flow.exhaustion() is None
    await world.assign("a")
    assert (refusal := world.flow.exhaustion()) is not None
    assert refusal.reason == Reason.SUBNET_FULL
    await world.pool.release(SandboxKey("eni", "a", "eth0"))
    assert world.flow.exhaustion() is None, "it cools"


async def test_what_the_host_serves_already_is_handed_out_while_it_works_on_more(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    await eventually(lambda: world.ledger.tally(0).free == 1, "first supply served")
    world.network.gate.clear()
    world.take(supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"])))
    await eventually(lambda: len(world.network.asked) == 2, "the host's network is asked")
    assert world.ledger.tally(0).free == 1
    assert await world.assign("a") == "10.0.1.5"
    world.network.gate.set()
    await eventually(lambda: world.ledger.tally(0).free == 1, "second supply served")
    assert await world.assign("b") == "10.0.1.6"


async def test_an_eni_whose_link_comes_late_is_taken_up_then(world: World) -> None:
    late = eni(1, addresses=["10.0.1.6"])
    world.network.absent = {late.id}
    world.take(supply(eni(0), late))
    await eventually(lambda: not world.flow.problem, "the primary serves")
    assert world.ledger.tally(0).free == 0
    world.flow.settle(NetworkState(frozenset({eni(0).id, late.id})))
    assert world.ledger.tally(0).free == 1


async def test_releasing_takes_effect_before_the_host_has_done_anything(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    await eventually(lambda: world.ledger.tally(0).free == 1, "served")
    world.network.gate.clear()
    world.take(supply(eni(0, addresses=["10.0.1.5"], releasing=[("10.0.1.5/32", "t1")])))
    assert world.ledger.tally(0).free == 0


async def test_confirms_nothing_that_the_disk_does_not_remember(world: World, tmp_path: Path) -> None:
    (tmp_path / ".supply.json.draft").mkdir()
    world.take(supply(eni(0, addresses=["10.0.1.5"], releasing=[("10.0.1.5/32", "t1")])))
    await eventually(lambda: "cannot be saved" in world.log.text, "the disk is tried")
    assert world.ledger.tally(0).released
    assert world.reporter.report().usage.released == []
    (tmp_path / ".supply.json.draft").rmdir()
    world.flow.retry()
    await eventually(lambda: world.flow.is_saved, "the disk takes it")
    assert [entry.token for entry in world.reporter.report().usage.released] == ["t1"]


async def test_goes_on_after_the_host_network_failed_it(world: World) -> None:
    world.network.failures = 1
    asking = asyncio.create_task(world.assign("a"))
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    assert await asking == "10.0.1.5"
    assert len(world.network.asked) == 2


async def test_serves_from_the_saved_supply_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as before:
        before.take(supply(eni(0, addresses=["10.0.1.5"])))
        await eventually(lambda: before.flow.is_saved, "saved")
    async with running(tmp_path) as after:
        after.flow.restore()
        assert await after.assign("a") == "10.0.1.5"
        assert after.flow.is_able


async def test_a_saved_supply_of_another_instance_serves_nobody(tmp_path: Path) -> None:
    SupplyFile(tmp_path / "supply.json").save(supply(eni(0, addresses=["10.0.1.5"])))
    async with running(tmp_path) as world:
        world.network.absent = {eni(0).id}  # no link here has that MAC
        world.flow.restore()
        await eventually(lambda: len(world.network.asked) == 1, "the host's network is asked")
        assert world.ledger.tally(0).free == 0
        assert not world.flow.is_able
        with pytest.raises(PoolUnavailableError, match="no link has the MAC 02:00:00:00:00:00 of the primary ENI"):
            world.pool.check_ready()


def silent(why: str) -> Refusal:
    return Refusal("OperatorSilent", why)


UNKNOWN = FULL.model_copy(
    update={"type": "Ready", "status": ConditionStatus.FALSE, "reason": "UnknownInstance", "message": "no i-1"}
)


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
    world.take(supply(eni(0, addresses=["10.0.1.5"])), FULL)
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
    with pytest.raises(
        PoolUnavailableError, match="gives pods IPv6 addresses, and the kernel of this node has no IPv6"
    ):
        world.pool.check_ready()
    assert world.flow.explain().reason == "IPv6NotServed"
    assert not world.flow.is_able
    world.take(supply(inner))
    assert await world.assign("a") == "10.0.1.5"


async def test_a_pool_for_ipv6_alone_is_served(world: World) -> None:
    world.take(supply(eni(0, ipv6_prefixes=["2001:db8::/80"]), families=[Family.IPV6]))
    assert await world.assign("a") == "2001:db8::"
    assert world.flow.is_able


async def test_says_how_far_the_operator_is(world: World) -> None:
    growing = FULL.model_copy(
        update={"type": "Ready", "status": ConditionStatus.FALSE, "reason": "Growing", "message": "to 8"}
    )
    world.take(supply(eni(0)), growing)
    await eventually(lambda: not world.flow.problem, "the primary serves")
    assert world.flow.explain() == Refusal("Growing", "to 8")
    assert world.flow.is_able


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


async def test_the_node_is_able_while_addresses_are_free_or_may_come(world: World) -> None:
    world.take(supply(eni(0)), FULL)
    await eventually(lambda: not world.flow.problem, "the primary serves")
    assert not world.flow.is_able
    assert world.flow.explain().reason == "SubnetFull"
    world.take(supply(eni(0)))
    assert world.flow.is_able
    world.take(supply(eni(0, addresses=["10.0.1.5"])), FULL)
    await eventually(lambda: world.flow.is_able, "an address is free")


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


RIVAL = Refusal(Reason.VPC_CNI_RUNNING, "VPC CNI owns the addresses of this node")


async def test_held_back_it_touches_nothing_hands_out_nothing_and_confirms_nothing(world: World) -> None:
    world.flow.hold_back(RIVAL)
    world.take(supply(eni(0, addresses=["10.0.1.4", "10.0.1.5"], releasing=[("10.0.1.5/32", "t1")])))
    await asyncio.sleep(0.05)
    assert world.network.asked == []
    assert world.flow.explain() == RIVAL
    with pytest.raises(PoolUnavailableError, match="VPC CNI owns"):
        world.pool.check_ready()
    report = world.reporter.report()
    assert (report.usage.idle, report.usage.released, report.usage.pending) == ([], [], 0)
    assert (report.conditions[0].status, report.conditions[0].reason) == ("False", "VPCCNIRunning")
    world.flow.go_on()
    assert await world.assign("web") == "10.0.1.4"


async def test_held_back_again_it_hands_out_nothing_more(world: World) -> None:
    world.take(supply(eni(0, addresses=["10.0.1.4"])))
    await eventually(lambda: world.ledger.tally(0).free == 1, "the network is ready")
    world.flow.hold_back(RIVAL)
    assert world.ledger.tally(0).free == 0
    world.flow.go_on()
    assert world.ledger.tally(0).free == 1
