"""ADDs without an address: why, and who is told when."""

import asyncio

import pytest

from eni_cni_shim.plugin.addresspool import NoAddressError
from eni_node_agent.sandbox import pool
from eni_node_agent.sandbox.pool import Shortage
from eni_testing.holdings import sandbox
from eni_testing.sandbox_pool import World


def shortage(name: str, *, is_final: bool) -> Shortage:
    return Shortage(
        sandbox(name), "SubnetFull", "no address came free: subnet subnet-1 has 0 free addresses", is_final=is_final
    )


async def test_says_why_there_is_no_address_when_the_time_is_up() -> None:
    world = World(hold_seconds=0.05)
    world.supply()
    with pytest.raises(NoAddressError, match="no address came free: subnet subnet-1 has 0 free") as caught:
        await world.pool.assign(sandbox("a"))
    assert caught.value.reason == "SubnetFull"
    assert world.pool.waiting() == []
    world.supply("10.0.1.5")
    assert world.ledger.tally(0).free == 1


async def test_tells_of_an_add_that_failed_once() -> None:
    world = World(hold_seconds=0.05)
    with pytest.raises(NoAddressError):
        await world.pool.assign(sandbox("a"))
    assert world.shortages == [shortage("a", is_final=True)]


async def test_tells_of_a_wait_that_is_longer_than_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.05)
    world = World()
    [task] = await world.add_and_wait("a")
    await world.until(lambda: world.shortages == [shortage("a", is_final=False)])
    world.supply("10.0.1.5")
    assert await task == "10.0.1.5"
    assert len(world.shortages) == 1


async def test_an_add_that_was_served_in_time_or_given_up_is_not_told_of() -> None:
    world = World()
    first, second = await world.add_and_wait("a", "b")
    second.cancel()
    world.supply("10.0.1.5")
    assert await first == "10.0.1.5"
    await asyncio.wait([second])
    assert world.shortages == []
