"""Usage: the agent's part of the NodeIPPool's status, written seldom but never late.

Decides when a write is worth it: rising demand at once, answers of the release handshake soon, the rest quietly, what
is unchanged only as a heartbeat every few minutes. What usage is comes from the ledger and the pods; who acts on it is
the operator, which takes an agent that has not reported for six minutes for gone.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from eni_crds.contract import Contract
from eni_crds.names import AGENT_FIELD_MANAGER, POOL_GROUP, POOL_KIND, POOL_VERSION
from eni_crds.nodeippool import Condition, Usage
from eni_node_agent.cluster.api import ApiError, Apply, UnreachableError
from eni_node_agent.cluster.reflector import Sleep
from eni_node_agent.cluster.supply import POOLS_PATH

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.01
"""From a poke to the look at what it is about: who poked has a pod to serve first, and pods come in bursts."""
URGENT_SECONDS: Final = 0.05
"""Pods arrive in bursts: a rise of pending gathers what follows within this time, and so on while it rises."""
BURST_SECONDS: Final = 0.25
"""No burst is gathered for longer. One report of 50 pods costs EC2 8 calls where three of a third each cost 15."""
BRISK_SECONDS: Final = 0.25
"""Between writes while demand rises or a handshake waits."""
QUIET_SECONDS: Final = 3.0
"""Between writes of everything else: falling demand, counts a person reads."""
HEARTBEAT_SPREAD: Final = 0.33
"""Heartbeats come earlier or later by up to this part, so that those of many nodes do not come together."""
RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 10.0
NOT_FOUND: Final = 404


class Report(Contract, frozen=True):
    """The agent's part of the status."""

    usage: Usage
    conditions: list[Condition]


def delay(written: Report | None, current: Report, since_write: float) -> float | None:
    """Returns in how many seconds the report should be written; None: never, it says nothing new.

    Args:
        written: what the API server has from us; None before the first write.
        current: what is true now.
        since_write: seconds since the last write.
    """
    if written is None:
        return 0.0
    if _substance(written) == _substance(current):
        return None
    before, after = written.usage, current.usage
    if after.pending > before.pending:
        return URGENT_SECONDS
    rises = after.pending + after.assigned > before.pending + before.assigned
    if rises or set(after.released) - set(before.released):
        return max(BRISK_SECONDS - since_write, URGENT_SECONDS)
    return max(QUIET_SECONDS - since_write, URGENT_SECONDS)


def heartbeat_pause(seconds: float, random: float) -> float:
    """Returns in how many seconds a node says that it is still there, given a random number from 0 to 1."""
    return seconds * (1 + HEARTBEAT_SPREAD * (2 * random - 1))


class UsageWriter:
    """Writes the report when it is worth it; ``poke`` tells that something may have changed."""

    def __init__(
        self,
        api: Apply,
        node: str,
        report: Callable[[], Report],
        *,
        heartbeat: Callable[[], float],
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Makes the writer.

        Args:
            api: the API server.
            node: whose NodeIPPool.
            report: gives the truth of the moment.
            heartbeat: gives the longest time between two writes, in seconds; asked after every write.
            clock: gives seconds.
            sleep: waits, in seconds.
        """
        self._api = api
        self._node = node
        self._report = report
        self._heartbeat = heartbeat
        self._clock = clock
        self._sleep = sleep
        self._poked = asyncio.Event()
        self._written: Report | None = None
        self._written_at = float("-inf")
        self._heartbeat_at = clock()
        self._failures = 0

    def poke(self) -> None:
        """Says that usage may have changed."""
        self._poked.set()

    def forget(self) -> None:
        """Says that the object has no usage of ours: somebody deleted it and it was made anew."""
        self._written = None
        self.poke()

    async def run(self) -> None:
        """Writes for ever."""
        while True:
            if not await self._is_poked_within(self._heartbeat_at - self._clock()):
                await self._write(self._report())
                continue
            await self._sleep(LOOK_SECONDS)
            self._poked.clear()
            seconds = delay(self._written, self._report(), self._clock() - self._written_at)
            if seconds is None:
                continue
            if seconds > URGENT_SECONDS:
                if await self._is_poked_within(seconds):
                    continue  # what came in may be more urgent than what waits
            else:
                await self._gather(seconds - LOOK_SECONDS)
            await self._write(self._report())

    async def _gather(self, seconds: float) -> None:
        """Lets a burst come in: for a moment, and as long as each moment brings more pods, within limits."""
        began, seen = self._clock(), -1
        while seen < (pending := self._report().usage.pending) and self._clock() - began < BURST_SECONDS:
            seen = pending
            await self._sleep(seconds)
        self._poked.clear()

    async def _is_poked_within(self, seconds: float) -> bool:
        """Waits; ends early when poked."""
        sleeping = asyncio.ensure_future(self._sleep(max(seconds, 0.0)))
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({sleeping, poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            poked.cancel()
        return self._poked.is_set()

    async def _write(self, report: Report) -> None:
        stamped = report.usage.replace(reported_at=datetime.now(UTC))
        manifest = {
            "apiVersion": f"{POOL_GROUP}/{POOL_VERSION}",
            "kind": POOL_KIND,
            "metadata": {"name": self._node},
            "status": Report(usage=stamped, conditions=report.conditions).dump(),
        }
        try:
            await self._api.apply(f"{POOLS_PATH}/{self._node}/status", manifest, AGENT_FIELD_MANAGER)
        except (ApiError, UnreachableError) as error:
            await self._fail(error)
        else:
            self._written, self._written_at, self._failures = report, self._clock(), 0
            self._heartbeat_at = self._written_at + self._heartbeat()

    async def _fail(self, error: ApiError | UnreachableError) -> None:
        """Waits and asks for another try; says once what is wrong."""
        if not self._failures and not (isinstance(error, ApiError) and error.status == NOT_FOUND):
            log.warning("usage cannot be written", extra={"error": str(error)})
        pause = min(RETRY_SECONDS * 2**self._failures, LONGEST_RETRY_SECONDS)
        self._failures = min(self._failures + 1, 30)
        await self._sleep(pause)
        self._poked.set()


def _substance(report: Report) -> Report:
    """Returns what is new only when it says something new: not the time of the report."""
    return report.replace(usage=report.usage.replace(reported_at=None))
