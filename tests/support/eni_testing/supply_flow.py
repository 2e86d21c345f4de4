"""The flow of the supply with its ledger, pool and reporter, over a host network that is ready when a test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import Condition, NodeIPPool, NodeIPPoolStatus, Supply
from eni_node_agent.cluster.flow import SupplyFlow
from eni_node_agent.cluster.report import Reporter
from eni_node_agent.cluster.supply import SupplyFile
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.sandbox.pool import SandboxPool
from eni_testing.holdings import Notebook


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
    """The parts together, with a clock set by hand."""

    log: pytest.LogCaptureFixture

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.file = SupplyFile(folder / "supply.json")
        self.network = Network()
        self.ledger = Ledger(Notebook())
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
        """Asks for an address for a sandbox, and waits for it."""
        return (await self.pool.assign(Sandbox(SandboxKey("eni", name, "eth0")))).address


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    """Yields a world whose supply is followed; what is saved is in the folder."""
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
