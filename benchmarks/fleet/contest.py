"""One contender in one scenario: the fleet joins, comes to rest, and has a quiet hour; what that took.

Decides when the join is over; counts and times come from ``account`` and ``progress``.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.fleet import ipamd, ours
from benchmarks.fleet.account import Account
from benchmarks.fleet.ipamd import Ipamd, Targets
from benchmarks.fleet.programs import running
from benchmarks.fleet.progress import Progress
from benchmarks.fleet.scenarios import JOIN_SECONDS, PODS, Scenario

from eni_testing import virtual_loop
from eni_testing.virtual_loop import now

REST_SECONDS: Final = 60.0
"""The fleet is at rest when nobody has asked EC2 to change anything for so long."""
LIMIT_SECONDS: Final = 2 * 3600.0
"""A fleet that is not served by then is called so."""
HOUR: Final = 3600.0

Tell = Callable[[str], None]
Start = Callable[[Account, Scenario, Progress, list[float]], AbstractAsyncContextManager[None]]
"""Starts the daemons of a whole fleet, each at its instant, and ends them."""


@dataclass(frozen=True, slots=True)
class Result:
    """What it took. Times in virtual seconds from the instant the first node could join."""

    nodes: int
    floor_seconds: float
    served: int
    """Nodes all of whose pods had an address in the end."""
    first_seconds: float
    half_seconds: float
    last_seconds: float
    """When the last node was served; infinite if one was not."""
    rest_seconds: float
    """When EC2 was last asked to change something."""
    calls: dict[str, int]
    calls_in_all: int
    refused: dict[str, int]
    refused_in_all: int
    failed: dict[str, int]
    """Other errors, by API and code."""
    idle: int
    """Addresses held beyond one for each pod, at rest."""
    secondary_enis: int
    quiet_calls: dict[str, int]
    """In the hour after rest."""
    quiet_calls_per_node: float
    cpu_seconds: float
    """Of the simulation, everything included."""

    @property
    def ratio(self) -> float:
        """Returns how many times the floor the last node took."""
        return self.last_seconds / self.floor_seconds if self.floor_seconds else float("inf")


def contend(scenario: Scenario, start: Start, nodes: int, *, seed: int = 1, tell: Tell = lambda _: None) -> Result:
    """Runs one contest on virtual time."""
    return virtual_loop.run(_contend(scenario, start, nodes, seed, tell))


async def _contend(scenario: Scenario, start: Start, nodes: int, seed: int, tell: Tell) -> Result:
    began = time.process_time()
    account, progress = Account(scenario, nodes, seed), Progress(nodes)
    joins = sorted(account.random.uniform(0, JOIN_SECONDS) for _ in range(nodes))
    async with start(account, scenario, progress, joins), _told(account, progress, tell):
        await _served(progress)
        await _at_rest(account)
        before = Counter(account.tally.calls)
        refused, failed = Counter(account.tally.refused), Counter(account.tally.failed)
        rest, idle, enis = account.tally.changed_at, account.held() - nodes * PODS, account.attached() - nodes
        await asyncio.sleep(HOUR)
        quiet = account.tally.calls - before
    times = sorted(progress.served_at.values())
    return Result(
        nodes=nodes,
        floor_seconds=scenario.floor(nodes),
        served=len(times),
        first_seconds=round(times[0], 1) if times else float("inf"),
        half_seconds=round(times[len(times) // 2], 1) if times else float("inf"),
        last_seconds=round(times[-1], 1) if len(times) == nodes else float("inf"),
        rest_seconds=round(rest, 1),
        calls=dict(sorted(before.items())),
        calls_in_all=before.total(),
        refused=dict(sorted(refused.items())),
        refused_in_all=refused.total(),
        failed=dict(sorted(failed.items())),
        idle=idle,
        secondary_enis=enis,
        quiet_calls=dict(sorted(quiet.items())),
        quiet_calls_per_node=round(quiet.total() / nodes, 3),
        cpu_seconds=round(time.process_time() - began, 1),
    )


async def _served(progress: Progress) -> None:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await progress.everyone.wait()
    except TimeoutError:
        return


async def _at_rest(account: Account) -> None:
    while (left := min(account.tally.changed_at + REST_SECONDS, LIMIT_SECONDS) - now()) > 0:  # noqa: ASYNC110 - time is virtual: nobody is kept awake
        await asyncio.sleep(left)


@asynccontextmanager
async def _told(account: Account, progress: Progress, tell: Tell) -> AsyncIterator[None]:
    """Says now and then how far the fleet is, in virtual and in real time."""

    async def speak() -> None:
        said = time.monotonic()
        while True:
            await asyncio.sleep(5.0)
            if time.monotonic() - said >= 2:
                said = time.monotonic()
                calls, refused = account.tally.calls.total(), account.tally.refused.total()
                served = f"{len(progress.served_at)} of {progress.nodes} nodes served"
                tell(f"{now():6.0f} s of virtual time: {served}, {calls} calls, {refused} throttled")

    async with running([speak()]):
        yield


def peer(targets: Targets) -> Start:
    """Returns what starts VPC CNI's daemons."""

    @asynccontextmanager
    async def start(
        account: Account, scenario: Scenario, progress: Progress, joins: list[float]
    ) -> AsyncIterator[None]:
        async def live(number: int) -> None:
            await asyncio.sleep(joins[number])
            node, instance_id = f"node-{number}", account.instances[number]
            await Ipamd(account, scenario, node, instance_id, targets, progress).run()

        async with running([live(number) for number in range(len(joins))]):
            yield

    return start


CONTENDERS: Final[dict[str, Start]] = {
    "cluster": ours.cluster,
    "node": ours.node,
    "vpc-cni": peer(ipamd.DEFAULT),
    "vpc-cni-tuned": peer(ipamd.TUNED),
}
