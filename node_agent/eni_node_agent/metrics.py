"""Metrics of the agent in Prometheus's format. Decides names and labels; who counts is ``wiring``."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Histogram(
            "eni_agent_request_seconds",
            "CNI requests by verb and outcome; an ADD that waited for the pool to grow includes the wait.",
            ("verb", "outcome"),
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self.repairs = Counter(
            "eni_agent_network_repairs", "Repairs of the host's network by kind.", ("kind",), registry=self._registry
        )
        self.conflicts = Gauge(
            "eni_agent_network_conflicts",
            "Policy rules of other tools that take pods' packets from their way now.",
            registry=self._registry,
        )
        self.reclaimed = Counter(
            "eni_agent_reclaimed_addresses",
            "Addresses released because their sandbox was gone without a DEL.",
            registry=self._registry,
        )

        self.refused = Counter(
            "eni_agent_add_refused",
            "ADDs that ended without an address, by the machine reason the pod and the runtime were told.",
            ("reason",),
            registry=self._registry,
        )

    def watch_pool(self, counts: Callable[[], dict[str, int]], waiting: Callable[[], int]) -> None:
        """Has the addresses of the pool, by state, and the sandboxes that wait looked up at every scrape."""
        self._registry.register(_Pool(counts, waiting))

    def text(self) -> bytes:
        """Returns all metrics."""
        return generate_latest(self._registry)


class _Pool(Collector):
    def __init__(self, counts: Callable[[], dict[str, int]], waiting: Callable[[], int]) -> None:
        self._counts = counts
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "eni_agent_addresses", "Addresses of the pool by state; pending: pods that have none.", labels=["state"]
        )
        for state, count in self._counts().items():
            family.add_metric([state], count)
        yield family
        yield GaugeMetricFamily(
            "eni_agent_waiting_sandboxes", "Sandboxes whose ADD waits for an address now.", self._waiting()
        )
