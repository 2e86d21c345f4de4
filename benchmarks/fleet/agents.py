"""One node's agent for a fleet of hundreds: pods that are bound at the join, addresses given out of the supply shown.

Decides what the real agent (``eni_node_agent``) does of the supply and when it reports, with its own times, and nothing
of the host's network but that an ENI serves once its link is up. Counterpart of the operator's loop.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any, Final

from benchmarks.fleet.account import Account, wall
from benchmarks.fleet.kube import CALL_SECONDS, ApiServer
from benchmarks.fleet.scenarios import PODS

from eni_crds.nodeippool import EniState
from eni_node_agent.cluster.usage import BRISK_SECONDS, BURST_SECONDS, QUIET_SECONDS, URGENT_SECONDS, heartbeat_pause
from eni_operator.controllers.kube import POOLS, KubeObject
from eni_testing.virtual_loop import now

HEARTBEAT_SECONDS: Final = 120.0
LINK_SETUP_SECONDS: Final = 0.1
"""From the link's coming up until its addresses serve."""


class Agent:
    """Gives the node's pods addresses; ``served`` is called when all have one."""

    def __init__(self, node: str, account: Account, server: ApiServer, served: Callable[[str], None]) -> None:
        self._node = node
        self._account = account
        self._server = server
        self._served = served
        self._held: set[str] = set()
        self._supply: KubeObject | None = None
        self._poked = asyncio.Event()
        self._written: KubeObject = {}
        self._written_at = float("-inf")

    async def run(self) -> None:
        """Runs for ever."""
        self._server.watch(self._see, self._node)
        pool = self._server.get(POOLS, self._node)
        if pool is not None:
            self._see(POOLS, None, pool)
        await self._poked.wait()
        await asyncio.sleep(BURST_SECONDS)
        while True:
            self._poked.clear()
            report = self._report()
            if report != self._written:
                await asyncio.sleep(self._delay(report))
                self._poked.clear()
                await self._write(self._report())
            await self._wait(heartbeat_pause(HEARTBEAT_SECONDS, self._account.random.random()))

    async def _wait(self, heartbeat: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._written_at + heartbeat - now())):
                await self._poked.wait()
        except TimeoutError:
            await self._write(self._report())

    def _delay(self, report: KubeObject) -> float:
        before = self._written
        if not before or report["pending"] > before["pending"]:
            return URGENT_SECONDS
        brisk = report["assigned"] > before["assigned"] or report["released"] != before["released"]
        return max((BRISK_SECONDS if brisk else QUIET_SECONDS) - (now() - self._written_at), URGENT_SECONDS)

    async def _write(self, report: KubeObject) -> None:
        await asyncio.sleep(CALL_SECONDS)
        self._written, self._written_at = report, now()
        stamp = datetime.fromtimestamp(wall(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {"metadata": {"name": self._node}, "status": {"usage": {**report, "reportedAt": stamp}}}
        self._server.merge_status(body)

    # Supply

    def _see(self, plural: str, _event: str | None, item: KubeObject) -> None:
        if plural != POOLS:
            return
        supply = item["status"].get("supply")
        if supply is not self._supply or not self._written:
            self._supply = supply
            self._give()

    def _give(self) -> None:
        """Gives those that wait an address; of an ENI without a link yet, once it is there."""
        for cidr in self._cidrs():
            missing = PODS - len(self._held)
            if missing > 0:
                self._held |= set(sorted(_addresses(cidr) - self._held)[:missing])
        if len(self._held) == PODS:
            self._served(self._node)
        self._poked.set()

    def _enis(self) -> list[KubeObject]:
        enis = (self._supply or {}).get("enis", [])
        return [eni for eni in enis if eni["state"] == EniState.ATTACHED and not eni.get("excluded")]

    def _cidrs(self) -> list[str]:
        """Returns what pods may have now."""
        usable: list[str] = []
        for eni in self._enis():
            linked = self._account.linked(eni["id"]) + LINK_SETUP_SECONDS
            if linked <= now():
                usable += _kept(eni)
            elif linked != float("inf"):
                asyncio.get_running_loop().call_later(linked - now() + 0.001, self._give)
        return usable

    def _report(self) -> dict[str, Any]:
        cidrs = self._cidrs()
        releasing = [entry for eni in (self._supply or {}).get("enis", []) for entry in eni.get("releasing", [])]
        return {
            "assigned": len(self._held),
            "cooling": 0,
            "free": sum(len(_addresses(cidr) - self._held) for cidr in cidrs),
            "pending": PODS - len(self._held),
            "idle": [cidr for cidr in cidrs if self._held.isdisjoint(_addresses(cidr))],
            "released": [entry for entry in releasing if self._held.isdisjoint(_addresses(entry["cidr"]))],
            "bootID": "boot-1",
        }


def _kept(eni: KubeObject) -> list[str]:
    leaving = {entry["cidr"] for entry in eni.get("releasing", [])}
    held = (*(f"{address}/32" for address in eni.get("addresses", [])), *eni.get("prefixes", []))
    return [cidr for cidr in held if cidr not in leaving]


def _addresses(cidr: str) -> set[str]:
    address, _, length = cidr.partition("/")
    return {address} if length == "32" else {str(one) for one in IPv4Network(cidr)}
