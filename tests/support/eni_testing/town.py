"""Several nodes in one VPC, each with an operator of its own, for a soak: random events, faults, and one verdict.

All is on virtual time and from one seed: the same seed gives the same run. Counterpart: ``mishaps`` has the events.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from eni_lab.aws.engine.invariants import breaches
from eni_operator.controllers.kube import ENICONFIGS, KubeObject
from eni_testing.engine_sdk import Life
from eni_testing.live_node import BEGAN, Cloud, LiveNode, clock

TYPES: Final = ("m5.large", "m5.large", "c5.xlarge", "t3.large", "m5.xlarge")
SUBNETS: Final = ("10.0.64.0/24", "10.0.65.0/26", "10.0.66.0/24")
MOST_PODS: Final = 12
"""On a node: what the smallest has room for, under custom networking too, with an ENI to spare for what comes in."""
PAUSE_SECONDS: Final = 4.0
"""Mean time between two events."""
RESYNC_SECONDS: Final = 100
"""What others change in EC2 is noticed so soon."""
RECOVERY_SECONDS: Final = 900.0
"""Longer than every back-off, and than the API server is not asked for what the watches missed."""


class Town:
    """The nodes, their VPC and the chance that rules them. ``told`` is the history."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.cloud = Cloud(*SUBNETS, seed=seed)
        self.eniconfigs: list[KubeObject] = []
        self.told: list[str] = []
        self.nodes = [self._node(number) for number in range(self.chance.randint(3, 5))]
        for number in (1, 2):
            self.write_eniconfig("pods", self.cloud.subnets[number])
        self.write_eniconfig("default", self.cloud.subnets[3])

    def _node(self, number: int) -> LiveNode:
        chance = random.Random(self.chance.random())
        node = LiveNode(
            self.cloud,
            chance.choice(TYPES),
            name=f"node-{number}",
            eniconfigs=self.eniconfigs,
            chance=chance,
            cools=True,
            custom_networking=chance.random() < 0.3,
            resync_seconds=RESYNC_SECONDS,
            tags={"team": "net"},
        )
        node.kube.node["metadata"]["labels"] = chance.choice(({}, {"k8s.amazonaws.com/eniConfig": "pods"}))
        return node

    def tell(self, sentence: str) -> None:
        """Notes what happens."""
        self.told.append(f"{clock() - BEGAN:7.2f} {sentence}")

    def a_node(self) -> LiveNode:
        """Returns any node."""
        return self.chance.choice(self.nodes)

    def a_while(self) -> float:
        """Returns seconds for which something may last."""
        return self.chance.expovariate(1 / 15)

    def write_eniconfig(self, name: str, *subnets: str, **more: object) -> None:
        """Writes an ENIConfig, with one subnet or with several."""
        where: dict[str, object] = {"subnet": subnets[0]} if len(subnets) == 1 else {"subnets": {"ids": [*subnets]}}
        item = {"metadata": {"name": name}, "spec": {**where, **more}}
        self.eniconfigs[:] = [*(other for other in self.eniconfigs if other["metadata"]["name"] != name), item]
        for node in self.nodes if hasattr(self, "nodes") else []:
            node.kube.tell(ENICONFIGS, "MODIFIED", item)

    async def live(self, seconds: float, events: Callable[["Town"], Awaitable[None]]) -> None:
        """Lets events happen for so long; each may go on for a while beside the others."""
        under_way: set[asyncio.Task[None]] = set()
        while clock() < BEGAN + seconds:
            await asyncio.sleep(self.chance.expovariate(1 / PAUSE_SECONDS))
            task = asyncio.ensure_future(events(self))
            under_way.add(task)
        await asyncio.gather(*under_way)

    async def recover(self) -> None:
        """Ends every fault and every wish but for pods, and waits until all nodes have come to rest."""
        self.tell("all faults end")
        self.cloud.engine.configure(describe_lag_seconds=0.0, visible_after_seconds=0.0, attachment_hidden_seconds=0.0)
        self.write_eniconfig("pods", self.cloud.subnets[1], self.cloud.subnets[3])
        for node in self.nodes:
            node.refuse.clear()
            node.sdk.lose_reply_of.clear()
            node.life.fated = None
            node.change_outage(None)
            node.kube.change_node(taints=[])
        await asyncio.sleep(RECOVERY_SECONDS)
        for node in self.nodes:
            node.kube.put_spec({})
        await self._rest(short=True)
        untold = [node.name for node in self.nodes if node.agent.pending and node.is_ready]
        assert not untold, f"pods wait on {untold} and the pool says nothing"
        for node in self.nodes:
            node.replace_pods()
        await self._rest(short=False)

    async def _rest(self, *, short: bool) -> None:
        await asyncio.sleep(RECOVERY_SECONDS)
        for node in self.nodes:
            await node.settle(short=short)

    def faults(self) -> Iterator[str]:
        """Yields everything that should not be once all has come to rest."""
        yield from breaches(self.cloud.engine.region)
        for node in self.nodes:
            yield from (f"{node.name}: {fault}" for fault in node.faults())
            if not node.is_ready:
                yield f"{node.name}: {node.kube.condition('Ready')['message']}"
        held = Counter(address for node in self.nodes for address in node.agent.pods.values())
        yield from (f"{address} is held by {count} pods" for address, count in held.items() if count > 1)

    async def close(self) -> None:
        """Ends everything."""
        for node in self.nodes:
            await node.close()


async def soak(seed: int, seconds: float, events: Callable[[Town], Awaitable[None]]) -> list[str]:
    """Lives a town through so many seconds; returns its history and every call, fails where a law does not hold."""
    town = Town(seed)
    try:
        await town.live(seconds, events)
        await town.recover()
        faults = list(town.faults())
        assert not faults, "\n".join(faults)
    except AssertionError as error:
        error.add_note("\n".join(["what happened last:", *town.told[-40:], f"seed {seed}"]))
        raise
    finally:
        await town.close()
    return [*town.told, *(f"{node.name} {call}" for node in town.nodes for call in node.calls)]


def is_fated(life: Life) -> bool:
    """Tells whether a step of this life has a fate that has not come about."""
    return life.fated is not None and life.fated >= len(life.steps)
