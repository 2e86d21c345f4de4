"""ADDs that ask the pool: who waits, in which order they are served, and what is left when one gives up."""

import asyncio

import pytest

from eni_cni_shim.plugin.addresspool import PoolUnavailableError
from eni_node_agent.ledger.packing import cidrs_of
from eni_testing.holdings import sandbox
from eni_testing.sandbox_pool import World
from eni_testing.supplies import eni, supply


async def test_an_assignment_tells_the_plugin_all_it_needs() -> None:
    world = World()
    world.supply("10.0.1.5")
    assignment = await world.pool.assign(sandbox("a"))
    assert (assignment.address, assignment.eni_id, assignment.route_table) == ("10.0.1.5", eni(0).id, 512)
    assert assignment.host_ifname.startswith("eni")
    assert len(assignment.host_ifname) == 14
    assert world.pool.find(sandbox("a").key) == assignment
    assert list(world.pool.assignments()) == [assignment]


async def test_new_links_have_the_prefix_that_was_asked_for() -> None:
    world = World(veth_prefix="pod")
    world.supply("10.0.1.5")
    assert (await world.pool.assign(sandbox("a"))).host_ifname.startswith("pod")


async def test_holds_an_add_until_supply_comes() -> None:
    world = World()
    world.supply()
    [task] = await world.add_and_wait("a")
    assert world.pressed > 0
    world.supply("10.0.1.5")
    assert await task == "10.0.1.5"


async def test_serves_first_come_first() -> None:
    world = World()
    first, second, third = await world.add_and_wait("a", "b", "c")
    world.supply("10.0.1.5")
    assert await first == "10.0.1.5"
    world.supply("10.0.1.5", "10.0.1.6", "10.0.1.7")
    assert [await second, await third] == ["10.0.1.6", "10.0.1.7"]


async def test_who_comes_later_does_not_overtake_who_waits() -> None:
    world = World()
    world.supply()
    [waiting] = await world.add_and_wait("a")
    seen = supply(eni(0, addresses=["10.0.1.5"]))
    world.ledger.observe(seen, cidrs_of(seen.enis[0]), world.now)  # free, and nobody woken yet
    late = world.add("b")
    await world.until(lambda: len(world.pool.waiting()) == 2)
    world.pool.wake()
    assert await waiting == "10.0.1.5"
    assert not late.done()
    late.cancel()


async def test_wakes_when_a_cooling_address_has_rested() -> None:
    world = World()
    world.supply("10.0.1.5")
    await world.pool.assign(sandbox("a"))
    await world.pool.release(sandbox("a").key)
    [task] = await world.add_and_wait("b")
    world.now = 29.95
    world.pool.wake()
    assert not task.done()
    world.now = 30.0  # the alarm set for 0.05 s from then finds it rested
    assert await asyncio.wait_for(task, 2) == "10.0.1.5"


async def test_a_released_address_goes_to_who_waits_where_nothing_cools() -> None:
    world = World()
    world.supply("10.0.1.5", cooldown_seconds=0)
    await world.pool.assign(sandbox("a"))
    [task] = await world.add_and_wait("b")
    await world.pool.release(sandbox("a").key)
    assert await task == "10.0.1.5"


async def test_two_adds_of_one_sandbox_that_wait_get_one_address() -> None:
    world = World()
    tasks = await world.add_and_wait("a", "a")
    world.supply("10.0.1.5", "10.0.1.6")
    assert [await task for task in tasks] == ["10.0.1.5", "10.0.1.5"]
    assert world.ledger.tally(0).free == 1


async def test_an_add_given_up_while_it_waits_takes_nothing() -> None:
    world = World()
    [first, second] = await world.add_and_wait("a", "b")
    first.cancel()
    await asyncio.wait([first])
    world.supply("10.0.1.5")
    assert await second == "10.0.1.5"
    assert world.ledger.find(sandbox("a").key) is None


async def test_an_add_given_up_as_its_address_came_gives_it_back() -> None:
    world = World()
    world.supply(cooldown_seconds=0)
    [task] = await world.add_and_wait("a")
    world.supply("10.0.1.5", cooldown_seconds=0)
    task.cancel()  # the address is given, its asker has not run since
    await asyncio.wait([task])
    assert world.ledger.find(sandbox("a").key) is None
    assert world.ledger.tally(0).free == 1


async def test_releasing_what_is_not_known_is_no_error() -> None:
    assert await World().pool.release(sandbox("a").key) is None


async def test_what_cannot_be_remembered_is_an_unavailable_pool() -> None:
    world = World()
    world.supply("10.0.1.5")
    world.memory.is_full = True
    with pytest.raises(PoolUnavailableError, match="full"):
        await world.pool.assign(sandbox("a"))
    world.memory.is_full = False
    await world.pool.assign(sandbox("a"))
    world.memory.is_full = True
    with pytest.raises(PoolUnavailableError, match="full"):
        await world.pool.release(sandbox("a").key)
    assert world.pool.find(sandbox("a").key) is not None


async def test_who_waits_hears_of_a_journal_that_cannot_be_written() -> None:
    world = World()
    [first, second] = await world.add_and_wait("a", "b")
    world.memory.is_full = True
    world.supply("10.0.1.5")
    for task in (first, second):
        with pytest.raises(PoolUnavailableError, match="full"):
            await task
