"""Sandboxes that want a link on every network card, beside plain ones."""

import asyncio

import pytest

from eni_cni_shim.plugin.addresspool import Assignment, NoAddressError
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.sandbox import gc, names
from eni_testing.holdings import sandbox
from eni_testing.sandbox_pool import World
from eni_testing.supplies import eni, supply


def cards(world: World, *addresses_of_cards: list[str]) -> None:
    """Shows a supply with so many network cards."""
    enis = [eni(0, card=card, addresses=addresses) for card, addresses in enumerate(addresses_of_cards)]
    world.ledger.observe(supply(*enis), [cidr for each in enis for cidr in cidrs_of(each)], world.now)
    world.pool.wake()


def add_on_every_card(world: World, name: str) -> asyncio.Task[Assignment]:
    return asyncio.create_task(world.pool.assign(sandbox(name, every_card=True)))


async def test_a_sandbox_on_every_card_has_named_links() -> None:
    world = World()
    cards(world, ["10.0.1.5"], ["10.0.2.5"])
    given = await world.pool.assign(sandbox("a", every_card=True))
    assert [(link.ifname, link.addresses) for link in given.links] == [
        ("eth0", ("10.0.1.5",)),
        ("mNicIf1", ("10.0.2.5",)),
    ]
    assert [link.host_ifname for link in given.links] == [names.host_ifname(sandbox("a").key, n) for n in (0, 1)]
    assert await world.pool.release(sandbox("a").key) is not None
    assert world.pool.find(sandbox("a").key) is None


async def test_who_waits_for_a_card_keeps_nobody_else_waiting_and_is_served_first_of_its_kind() -> None:
    world = World()
    cards(world, ["10.0.1.5", "10.0.1.6", "10.0.1.7"], [])
    first, second = add_on_every_card(world, "a"), add_on_every_card(world, "b")
    await world.until(lambda: len(world.pool.waiting()) == 2)
    assert await world.add("plain") == "10.0.1.5"
    cards(world, ["10.0.1.5", "10.0.1.6", "10.0.1.7"], ["10.0.2.5"])
    assert (await first).addresses == ("10.0.1.6", "10.0.2.5")
    assert not second.done()
    cards(world, ["10.0.1.5", "10.0.1.6", "10.0.1.7"], ["10.0.2.5", "10.0.2.6"])
    assert (await second).addresses == ("10.0.1.7", "10.0.2.6")


async def test_a_plain_sandbox_that_waits_is_before_one_that_wants_every_card() -> None:
    world = World()
    cards(world, [], [])
    plain = world.add("plain")
    await world.until(lambda: len(world.pool.waiting()) == 1)
    every = add_on_every_card(world, "a")
    await world.until(lambda: len(world.pool.waiting()) == 2)
    cards(world, ["10.0.1.5"], ["10.0.2.5"])
    assert await plain == "10.0.1.5"
    assert not every.done()
    cards(world, ["10.0.1.5", "10.0.1.6"], ["10.0.2.5"])
    assert (await every).addresses == ("10.0.1.6", "10.0.2.5")


async def test_who_waited_in_vain_for_one_card_holds_nothing_of_the_other() -> None:
    world = World(hold_seconds=0.05)
    cards(world, ["10.0.1.5"], [])
    with pytest.raises(NoAddressError, match="0 free addresses"):
        await world.pool.assign(sandbox("a", every_card=True))
    assert world.ledger.tally(0).free == 1


async def test_links_adopted_from_the_kernel_are_known_again_one_by_one() -> None:
    world = World()
    cards(world, ["10.0.1.5"], ["10.0.2.5"])
    key = sandbox("a").key
    found = {"10.0.1.5": names.host_ifname(key), "10.0.2.5": names.host_ifname(key, 1), "10.0.9.9": "eni-of-another"}
    gc.adopt_from_kernel(world.ledger, found, now=0)
    again = await world.pool.assign(sandbox("a", every_card=True))
    assert [(link.ifname, link.addresses) for link in again.links] == [
        ("eth0", ("10.0.1.5",)),
        ("mNicIf1", ("10.0.2.5",)),
    ]
    assert world.pool.find(key) is not None
    released = await world.pool.release(key)
    assert released is not None
    assert released.addresses == ("10.0.1.5", "10.0.2.5")
    assert {holding.address for holding in world.ledger.holdings()} == {"10.0.9.9"}
