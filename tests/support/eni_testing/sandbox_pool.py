"""A pool of sandboxes over a ledger, with a clock set by hand and a journal that can be full."""

import asyncio
from collections.abc import Callable

from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.sandbox.pool import Refusal, SandboxPool, Shortage
from eni_testing.eventually import eventually
from eni_testing.holdings import Notebook, sandbox
from eni_testing.supplies import eni, supply


class World:
    """A pool over a ledger, with a clock set by hand."""

    def __init__(self, *, hold_seconds: float = 5.0, veth_prefix: str = "eni") -> None:
        self.now = 0.0
        self.pressed = 0
        self.shortages: list[Shortage] = []
        self.memory = Notebook()
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
        """Shows the pool a supply of these addresses on the primary ENI."""
        seen = supply(eni(0, addresses=addresses), cooldown_seconds=cooldown_seconds)
        self.ledger.observe(seen, cidrs_of(seen.enis[0]), self.now)
        self.pool.wake()

    def add(self, name: str) -> asyncio.Task[str]:
        """Begins an ADD, which ends with its address."""

        async def assign() -> str:
            return (await self.pool.assign(sandbox(name))).address

        return asyncio.create_task(assign())

    async def add_and_wait(self, *names_of_all: str) -> list[asyncio.Task[str]]:
        """Begins ADDs one after another; returns when all of them wait."""
        tasks = [self.add(name) for name in names_of_all]
        await self.until(lambda: len(self.pool.waiting()) == len(names_of_all))
        return tasks

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a state of the pool."""
        await eventually(condition, "the pool's state")

    def _press(self) -> None:
        self.pressed += 1
