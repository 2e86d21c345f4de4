"""The supply's way: to the host's network, to the ledger and who waits, to the disk; or nowhere, while held back."""

import asyncio
from pathlib import Path

import pytest

from eni_cni_shim.plugin.addresspool import PoolUnavailableError
from eni_crds.conditions import Reason
from eni_crds.nodeippool import Family
from eni_node_agent.cluster.supply import SupplyFile
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.sandbox.pool import Refusal
from eni_testing.eventually import eventually
from eni_testing.supplies import eni, supply
from eni_testing.supply_flow import World, running


async def test_a_waiting_pod_is_served_once_the_host_serves_its_address(world: World) -> None:
    world.network.gate.clear()
    asking = asyncio.create_task(world.assign("a"))
    world.take(supply(eni(0, addresses=["10.0.1.5"])))
    await eventually(lambda: len(world.network.asked) == 1, "the host's network is asked")
    assert not asking.done()
    assert world.reporter.report().usage.pending == 1
    world.network.gate.set()
    assert await asking == "10.0.1.5"


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


async def test_a_pool_for_ipv6_alone_is_served(world: World) -> None:
    world.take(supply(eni(0, ipv6_prefixes=["2001:db8::/80"]), families=[Family.IPV6]))
    assert await world.assign("a") == "2001:db8::"
    assert world.flow.is_able


RIVAL = Refusal(Reason.VPC_CNI_RUNNING, "VPC CNI owns the addresses of this node")


async def test_held_back_it_touches_nothing_hands_out_nothing_and_confirms_nothing(world: World) -> None:
    world.flow.hold_back(RIVAL)
    world.take(supply(eni(0, addresses=["10.0.1.4", "10.0.1.5"], releasing=[("10.0.1.5/32", "t1")])))
    await eventually(lambda: not world.flow._news.is_set(), "the flow has woken")
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
