"""The way of supply through the agent: object or file, ledger, host network, ledger again, those who wait.

Decides in which order: what is taken away is taken from the ledger first and saved before it is confirmed; what is new
is handed out only once the host's network serves it. Where supply comes from is ``supply``'s, what becomes of it the
ledger's and the network's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from eni_crds.conditions import Reason
from eni_crds.nodeippool import Condition, EniRole, Family, NodeIPPool, Supply
from eni_node_agent.cluster import supply as operator_supply
from eni_node_agent.cluster.supply import SupplyFile
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.sandbox.pool import Refusal, SandboxPool

log = logging.getLogger(__name__)

_UNHEARD: Final = "the API server has not told of this node's NodeIPPool yet"
_ABSENT: Final = "the API server has no NodeIPPool of this node that can be read, which the operator makes"
_EMPTY: Final = "the operator has not described this node's pool"
_NO_IPV6: Final = "the pool gives pods IPv6 addresses, and"


class Network(Protocol):
    """What the flow needs of the host's network."""

    async def ensure(self, supply: Supply) -> NetworkState:
        """Brings the network to what the supply asks for and returns how far it got."""
        ...


class SupplyFlow:
    """Holds the supply of the moment and how far the host is with it. Lives in one event loop."""

    def __init__(  # noqa: PLR0913 - what has a default is passed by name
        self,
        ledger: Ledger,
        pool: SandboxPool,
        network: Network,
        file: SupplyFile,
        *,
        clock: Callable[[], float],
        changed: Callable[[], None],
        lacks_for_ipv6: Callable[[], str] = lambda: "",
    ) -> None:
        """Makes the flow.

        Args:
            ledger: who holds what.
            pool: those who wait.
            network: the host's.
            file: the last supply on disk.
            clock: seconds since boot.
            changed: called after every change.
            lacks_for_ipv6: tells in a clause why pods of this node cannot have IPv6; empty: they can.
        """
        self._ledger = ledger
        self._pool = pool
        self._network = network
        self._file = file
        self._clock = clock
        self._changed = changed
        self._lacks_for_ipv6 = lacks_for_ipv6
        self._supply: Supply | None = None
        self._ensured: Supply | None = None
        self._state = NetworkState()
        self._silence = _UNHEARD
        self._conditions: list[Condition] = []
        self._held_back: Refusal | None = None
        self._news = asyncio.Event()
        self._saved: Supply | None = None
        self._is_disk_failing = False

    def restore(self) -> None:
        """Takes over the supply saved by a predecessor, if there is one."""
        supply = self._file.load()
        if supply is not None:
            log.info("serving from the saved supply", extra={"enis": len(supply.enis)})
            self._saved = supply
            self._take(supply)
        self._tell_pool()

    def take(self, pool: NodeIPPool | None) -> None:
        """Takes over what the operator says; None: the API server has nothing of it, the last supply still holds."""
        supply = pool.status.supply if pool else None
        self._silence = _ABSENT if pool is None else _EMPTY if supply is None else ""
        self._conditions = pool.status.conditions if pool else []
        if supply is not None and supply != self._supply:
            self._take(supply)
        else:
            self._tell_pool()
            self._changed()

    def hold_back(self, why: Refusal) -> None:
        """Leaves the host's network alone and hands nothing out: somebody else owns this node's addresses."""
        if why != self._held_back:
            log.warning("held back", extra={"reason": why.reason, "problem": why.message})
            self._held_back = why
            self._observe()

    def go_on(self) -> None:
        """Follows the supply again, or for the first time."""
        self._held_back = None
        self._observe()
        if self._supply is not None:
            self._news.set()

    @property
    def is_held_back(self) -> bool:
        """True: the ledger may lack addresses that pods have, so nothing may be said to be in nobody's hands."""
        return self._held_back is not None

    @property
    def supply(self) -> Supply | None:
        """The supply of the moment; None: none has been seen yet."""
        return self._supply

    @property
    def is_saved(self) -> bool:
        """False: the disk does not have the supply of the moment yet.

        A restart would then serve from an older one, so nothing may be confirmed as given back.
        """
        return self._saved is self._supply

    def retry(self) -> None:
        """Tries again what the disk did not take; to be called now and then."""
        if not self.is_saved:
            self._news.set()

    def settle(self, state: NetworkState) -> None:
        """Takes over how far the host's network is; also called when a late link has made an ENI ready."""
        self._state = state
        self._observe()

    async def run(self) -> None:
        """Has the host's network follow the supply, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self.is_held_back:
                continue
            try:
                await self._follow()
            except Exception:
                self._news.set()
                raise

    async def _follow(self) -> None:
        """Pods are served first, the disk comes after."""
        supply = self._supply
        assert supply is not None
        state = await self._network.ensure(supply)
        self._ensured = supply
        self.settle(state)
        if self._saved is not supply:
            await self._save(supply)

    async def _save(self, supply: Supply) -> None:
        try:
            await asyncio.to_thread(self._file.save, supply)
        except OSError as error:
            if not self._is_disk_failing:
                log.error("supply cannot be saved, nothing is given back until it is", extra={"error": str(error)})  # noqa: TRY400
            self._is_disk_failing = True
        else:
            self._is_disk_failing = False
            self._saved = supply
            self._changed()

    @property
    def problem(self) -> str:
        """Why the node cannot serve at all, in a sentence; empty: it can."""
        obstacle = self.obstacle
        return "" if obstacle is None else obstacle.message

    @property
    def obstacle(self) -> Refusal | None:
        """Why the node cannot serve at all; None: it can."""
        if self._held_back is not None:
            return self._held_back
        if self._supply is None:
            missing = Refusal(Reason.OPERATOR_SILENT, f"no supply has been seen yet: {self._silence}")
            return self._refusal() or missing
        if Family.IPV6 in self._supply.families and (lack := self._lacks_for_ipv6()):
            return Refusal(Reason.IPV6_NOT_SERVED, f"{_NO_IPV6} {lack}")
        problem = self._host_problem(self._supply)
        return Refusal(Reason.HOST_NOT_READY, problem) if problem else None

    def _host_problem(self, supply: Supply) -> str:
        primary = next((eni for eni in supply.enis if eni.role is EniRole.PRIMARY), None)
        if primary is None:
            return "supply names no primary ENI"
        if primary.id in self._state.ready:
            return ""
        found = "; ".join(self._state.problems) or f"no link has the MAC {primary.mac} of the primary ENI {primary.id}"
        return f"host network is not ready: {found}"

    @property
    def is_able(self) -> bool:
        """True when a pod would get an address: one is free, or nothing keeps the pool from growing."""
        return not self.problem and (self._ledger.tally(self._clock()).free > 0 or self._refusal() is None)

    def exhaustion(self) -> Refusal | None:
        """Returns why no address is left and none will come; None: one is free, cools, or the pool may grow."""
        tally = self._ledger.tally(self._clock())
        return None if tally.free or tally.cooling else self._refusal()

    def explain(self) -> Refusal:
        """Returns why there is no address, in the operator's words where it has any."""
        told = self.obstacle or self._refusal()
        if told is None and self._silence:
            return Refusal(Reason.OPERATOR_SILENT, self._silence)
        told = told or operator_supply.progress(self._conditions)
        return told or Refusal(Reason.GROWING, "the pool is growing, the operator has not finished yet")

    def _tell_pool(self) -> None:
        """A host's network that has not been looked at since the start is not said to be broken: pods run on it."""
        obstacle = self.obstacle
        is_of_host = obstacle is not None and obstacle.reason == Reason.HOST_NOT_READY
        is_unknown = is_of_host and self._ensured is None
        self._pool.set_availability("" if is_unknown else self.problem, limits_pods=is_of_host)

    def _refusal(self) -> Refusal | None:
        return operator_supply.refusal(self._conditions)

    def _take(self, supply: Supply) -> None:
        self._supply = supply
        self._observe()
        self._news.set()

    def _observe(self) -> None:
        if self._supply is not None:
            self._ledger.observe(self._supply, self._served(), self._clock())
        self._tell_pool()
        self._pool.wake()
        self._changed()

    def _served(self) -> frozenset[str]:
        """Returns the CIDRs whose rules and routes are in place: of the last supply the network was ensured for."""
        if self._ensured is None or self.is_held_back:
            return frozenset()
        ready = (eni for eni in self._ensured.enis if eni.id in self._state.ready)
        return frozenset(cidr for eni in ready for cidr in cidrs_of(eni))
