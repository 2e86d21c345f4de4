import asyncio
from collections.abc import Callable

import pytest

from eni_cni_shim.plugin.addresspool import (
    Assignment,
    NoAddressError,
    PodLink,
    PoolUnavailableError,
    Sandbox,
    SandboxKey,
)
from eni_node_agent.ledger.journal import JournalError
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.sandbox import gc, names, pool
from eni_node_agent.sandbox.pool import Refusal, SandboxPool, Shortage
from eni_testing.eventually import eventually
from eni_testing.holdings import held
from eni_testing.supplies import eni, supply


class Memory:
    def __init__(self) -> None:
        self.is_full = False

    def hold(self, _: Holding) -> None:
        self._write()

    def release(self, _: Holding, __: float) -> None:
        self._write()

    def _write(self) -> None:
        if self.is_full:
            raise JournalError("journal cannot be written: full")


class World:
    """A pool over a ledger, with a clock set by hand."""

    def __init__(self, *, hold_seconds: float = 5.0, veth_prefix: str = "eni") -> None:
        self.now = 0.0
        self.pressed = 0
        self.shortages: list[Shortage] = []
        self.memory = Memory()
        self.ledger = Ledger(self.memory)
        self.pool = SandboxPool(
            self.ledger,
            hold_seconds=hold_seconds,
            clock=lambda: self.now,
            explain=lambda: Refusal("SubnetFull", "subnet subnet-1 has 0 free addresses"),
            pressed=self._press,
            lacking=self.shortages.append,
            veth_prefix=veth_prefix,
        )

    def supply(self, *addresses: str, cooldown_seconds: int = 30) -> None:
        seen = supply(eni(0, addresses=addresses), cooldown_seconds=cooldown_seconds)
        self.ledger.observe(seen, cidrs_of(seen.enis[0]), self.now)
        self.pool.wake()

    def add(self, name: str) -> asyncio.Task[str]:
        async def assign() -> str:
            return (await self.pool.assign(sandbox(name))).address

        return asyncio.create_task(assign())

    async def add_and_wait(self, *names_of_all: str) -> list[asyncio.Task[str]]:
        """Begins ADDs one after another; returns when all of them wait."""
        tasks = [self.add(name) for name in names_of_all]
        await self.until(lambda: len(self.pool.waiting()) == len(names_of_all))
        return tasks

    async def until(self, condition: Callable[[], bool]) -> None:
        await eventually(condition, "the pool's state")

    def _press(self) -> None:
        self.pressed += 1


def sandbox(name: str, *, every_card: bool = False) -> Sandbox:
    return Sandbox(SandboxKey("eni", name, "eth0"), every_card=every_card)


async def test_an_assignment_tells_the_plugin_all_it_needs() -> None:
    world = World()
    world.supply("10.0.1.5")
    assignment = await world.pool.assign(sandbox("a"))
    assert (assignment.address, assignment.eni_id, assignment.route_table) == ("10.0.1.5", eni(0).id, 512)
    assert assignment.host_ifname.startswith("eni")
    assert len(assignment.host_ifname) == 14
    assert world.pool.find(sandbox("a").key) == assignment
    assert list(world.pool.assignments()) == [assignment]


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


async def test_says_why_there_is_no_address_when_the_time_is_up() -> None:
    world = World(hold_seconds=0.05)
    world.supply()
    with pytest.raises(NoAddressError, match="no address came free: subnet subnet-1 has 0 free") as caught:
        await world.pool.assign(sandbox("a"))
    assert caught.value.reason == "SubnetFull"
    assert world.pool.waiting() == []
    world.supply("10.0.1.5")
    assert world.ledger.tally(0).free == 1


def shortage(name: str, *, is_final: bool) -> Shortage:
    return Shortage(
        sandbox(name), "SubnetFull", "no address came free: subnet subnet-1 has 0 free addresses", is_final=is_final
    )


async def test_tells_of_an_add_that_failed_once() -> None:
    world = World(hold_seconds=0.05)
    with pytest.raises(NoAddressError):
        await world.pool.assign(sandbox("a"))
    assert world.shortages == [shortage("a", is_final=True)]


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


async def test_new_links_have_the_prefix_that_was_asked_for() -> None:
    world = World(veth_prefix="pod")
    world.supply("10.0.1.5")
    assert (await world.pool.assign(sandbox("a"))).host_ifname.startswith("pod")


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


async def test_two_adds_of_one_sandbox_that_wait_get_one_address() -> None:
    world = World()
    tasks = await world.add_and_wait("a", "a")
    world.supply("10.0.1.5", "10.0.1.6")
    assert [await task for task in tasks] == ["10.0.1.5", "10.0.1.5"]
    assert world.ledger.tally(0).free == 1


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


async def test_releasing_what_is_not_known_is_no_error() -> None:
    assert await World().pool.release(sandbox("a").key) is None


async def test_a_full_pool_is_ready_and_one_that_cannot_serve_says_why() -> None:
    world = World()
    with pytest.raises(PoolUnavailableError, match="starting"):
        world.pool.check_ready()
    world.pool.set_availability("")
    world.pool.check_ready()


async def test_status_is_worse_where_pods_that_run_feel_it() -> None:
    world = World()
    world.supply("10.0.1.5")
    for limits_pods, has_pod, expected in ((False, False, False), (True, False, False), (True, True, True)):
        world.pool.set_availability("host network is not ready", limits_pods=limits_pods)
        if has_pod:
            await world.add("a")
        with pytest.raises(PoolUnavailableError) as caught:
            world.pool.check_ready()
        assert caught.value.limits_pods is expected


async def test_a_pool_without_addresses_is_ready_only_while_a_pod_would_be_hurt_by_the_opposite() -> None:
    world = World()
    world.pool.set_availability("")
    world.pool._exhausted = lambda: Refusal("SubnetFull", "subnet subnet-1 has 0 free addresses")
    with pytest.raises(NoAddressError, match="subnet-1") as caught:
        world.pool.check_ready()
    assert caught.value.reason == "SubnetFull"
    world.supply("10.0.1.5")
    await world.add("a")
    world.pool.check_ready()


async def test_a_sandbox_adopted_from_the_kernel_is_known_again_by_its_link() -> None:
    world = World()
    world.supply("10.0.1.5", "10.0.1.6")
    key = sandbox("a").key
    recovered = Sandbox(names.recovered_key(names.host_ifname(key)))
    world.ledger.adopt(held(recovered, "10.0.1.5", eni_id=""))
    assert list(world.pool.assignments()) == []
    assert (await world.pool.assign(sandbox("a"))).address == "10.0.1.5"
    released = await world.pool.release(key)
    assert released is not None
    assert released.host_ifname == names.host_ifname(key)
    assert world.pool.find(key) is None


@pytest.mark.parametrize("network", ["eni", "aws-cni"])
async def test_a_sandbox_of_vpc_cni_is_known_by_its_container_whatever_network_is_named(network: str) -> None:
    world = World()
    held = Sandbox(SandboxKey("aws-cni", "c1", "eth0"), pod_namespace="default", pod_name="sample-pod")
    world.ledger.adopt(Holding(held, (PodLink("eth0", "enicc21c2d7785", "", ("10.0.1.5",)),), since=0.0))
    found = world.pool.find(SandboxKey(network, "c1", "eth0"))
    assert found is not None
    assert (found.address, found.host_ifname, found.sandbox.pod_name) == ("10.0.1.5", "enicc21c2d7785", "sample-pod")
    assert world.pool.find(SandboxKey(network, "c2", "eth0")) is None
    assert await world.pool.release(SandboxKey(network, "c1", "eth0")) is not None
    assert world.pool.find(SandboxKey(network, "c1", "eth0")) is None
