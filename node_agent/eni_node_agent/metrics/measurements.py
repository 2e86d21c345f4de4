"""All that is measured of one agent: our instruments, VPC CNI's names, and how they are fed.

Decides what is counted when; what the numbers are called is ``instruments``' and ``vpc_cni``'s. Knows neither ledger
nor kernel: ``wiring`` says how things stand whenever somebody scrapes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from eni_crds import vpc_cni_metrics
from eni_crds.nodeippool import SERVING_ROLES, Supply
from eni_node_agent.metrics import process, vpc_cni
from eni_node_agent.metrics.instruments import Metrics, Moment
from eni_node_agent.metrics.vpc_cni import Counts, Pool, StartTimes
from eni_node_agent.metrics.waits import PodWaits


class Seen(NamedTuple):
    """How things stand."""

    supply: Supply | None
    assigned: tuple[str, ...]
    """Addresses pods hold."""
    counts: dict[str, int]
    """Addresses by state: assigned, cooling, free, pending."""
    waiting: int
    ready_enis: frozenset[str]
    looks: Mapping[str, int]
    is_serving: bool
    is_marking: bool
    journal_bytes: int


class Measurements:
    """What one process measures. ``clock`` gives seconds since boot, ``look`` tells how things stand."""

    def __init__(self, clock: Callable[[], float], look: Callable[[], Seen]) -> None:
        self.metrics = Metrics()
        self.counts = Counts()
        self._clock = clock
        self._look = look
        self._waits = PodWaits()
        self._starts = StartTimes(self.metrics.registry)
        self._is_initialized = False
        self._has_served = False
        self.metrics.watch(self._moment)

    def text(self) -> bytes:
        """Returns everything in Prometheus's text format."""
        seen = self._look()
        pool = Pool(
            seen.supply, seen.assigned, seen.looks, is_marking=seen.is_marking, is_starting=not self._is_initialized
        )
        return self.metrics.text() + vpc_cni_metrics.dump(vpc_cni.families(pool, self.counts, process.version()))

    def started(self) -> None:
        """Takes over that the socket is open."""
        seconds = process.age()
        self.metrics.start.set(seconds)
        self._starts.started(seconds)

    def see_network(self, *, is_serving: bool, problems: int) -> None:
        """Takes over how far the host's network is."""
        self.counts.setup_failures += bool(problems)
        if is_serving and not self._is_initialized:
            self._is_initialized = True
            self._starts.initialized(process.age())

    def see_supply(self, supply: Supply, lost: Iterable[str]) -> None:
        """Takes over a supply and the assigned addresses it does not name."""
        self.counts.losses.see(supply, lost)

    def see_pods(self, uids: Iterable[str]) -> None:
        """Takes over the pods that are bound here now."""
        self._waits.see(uids, self._clock())

    def served(self, pod_uid: str) -> None:
        """Takes over that a pod has got its address."""
        if not self._has_served:
            self._has_served = True
            self.metrics.first_address.set(process.age())
        seconds = self._waits.served(pod_uid, self._clock())
        if seconds is not None:
            self.metrics.pod_waits.observe(seconds)

    def _moment(self) -> Moment:
        seen = self._look()
        enis = seen.supply.enis if seen.supply else []
        serving = [eni.id in seen.ready_enis for eni in enis if eni.role in SERVING_ROLES]
        return Moment(
            addresses=seen.counts,
            waiting=seen.waiting,
            enis={"ready": serving.count(True), "not_ready": serving.count(False)},
            wanted=seen.supply.wanted if seen.supply else 0,
            looks=dict(seen.looks),
            is_serving=seen.is_serving,
            journal_bytes=seen.journal_bytes,
        )
