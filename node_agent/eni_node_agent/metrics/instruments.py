"""Our own instruments. Decides names, labels and buckets; labels are few and bounded, none of them names a pod."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eni_node_agent.metrics import process

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_SHORT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
"""For what must stay under 20 ms: journal and event loop."""
_LONG: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 240.0)


class Moment(NamedTuple):
    """What is looked up at every scrape instead of being counted."""

    addresses: dict[str, int]
    """By state: assigned, cooling, free; and pending, the pods that have none."""
    waiting: int
    """Sandboxes whose ADD waits for an address."""
    enis: dict[str, int]
    """ENIs of the supply that serve pods, by whether the host's network is ready for them: ready, not_ready."""
    wanted: int
    """Pod addresses the operator grows or shrinks the pool to."""
    looks: dict[str, int]
    """Looks at the host's network by how they ended: success, error."""
    is_serving: bool
    """True: nothing keeps the node from serving pods at all."""
    journal_bytes: int


class Metrics:
    """All instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_request_instruments()
        self._make_event_instruments()

    def _make_request_instruments(self) -> None:
        self.requests = self._histogram(
            "eni_agent_request_seconds",
            "CNI requests by verb and outcome; an ADD that waited for the pool to grow includes the wait.",
            ("verb", "outcome"),
        )
        self.phases = self._histogram(
            "eni_agent_phase_seconds",
            "Parts of a request: address (waiting for one), kernel (the pod's network), journal (a part of address).",
            ("verb", "phase", "outcome"),
        )
        self.journal_writes = self._histogram(
            "eni_agent_journal_write_seconds", "Writes to the journal, by operation.", ("operation",), _SHORT
        )
        self.journal_failures = self._counter(
            "eni_agent_journal_failures", "Writes to the journal that failed; nothing was assigned.", ("operation",)
        )
        self.loop_lag = self._histogram(
            "eni_agent_loop_lag_seconds",
            "The longest time the event loop was deaf, once a second; 20 ms is too much.",
            (),
            _SHORT,
        )
        self.pod_waits = self._histogram(
            "eni_agent_pod_bound_to_address_seconds",
            "From the moment the agent saw that a pod is bound here to its address.",
            (),
            _LONG,
        )

    def _make_event_instruments(self) -> None:
        self.repairs = self._counter("eni_agent_network_repairs", "Repairs of the host's network by kind.", ("kind",))
        self.reclaimed = self._counter(
            "eni_agent_reclaimed_addresses", "Addresses released because their sandbox was gone without a DEL."
        )
        self.refused = self._counter(
            "eni_agent_add_refused",
            "ADDs that ended without an address, by the machine reason the pod and the runtime were told.",
            ("reason",),
        )
        self.annotations = self._counter(
            "eni_agent_pod_ip_annotations",
            "Annotations vpc.amazonaws.com/pod-ips by outcome: written, emptied, gone (the pod), refused, dropped.",
            ("outcome",),
        )
        self.conflicts = self._gauge(
            "eni_agent_network_conflicts", "Policy rules and addresses of other tools that are in the way of pods now."
        )
        self.start = self._gauge("eni_agent_start_seconds", "From the start of the process to its open socket.")
        self.first_address = self._gauge(
            "eni_agent_first_address_seconds", "From the start of the process to its first address for a pod."
        )

    def watch(self, look: Callable[[], Moment]) -> None:
        """Has the state of the pool looked up at every scrape."""
        self.registry.register(_State(look))

    def text(self) -> bytes:
        """Returns all metrics."""
        return generate_latest(self.registry)

    def _histogram(
        self, name: str, meaning: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = _BUCKETS
    ) -> Histogram:
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)


class _State(Collector):
    def __init__(self, look: Callable[[], Moment]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        moment = self._look()
        yield _by(
            "eni_agent_addresses",
            "Addresses of the pool by state; pending: pods that have none.",
            "state",
            moment.addresses,
        )
        yield _by("eni_agent_enis", "ENIs that serve pods, by whether the host is ready.", "state", moment.enis)
        yield GaugeMetricFamily(
            "eni_agent_waiting_sandboxes", "Sandboxes whose ADD waits for an address now.", moment.waiting
        )
        yield GaugeMetricFamily(
            "eni_agent_wanted_addresses", "Pod addresses the operator grows or shrinks the pool to.", moment.wanted
        )
        yield GaugeMetricFamily("eni_agent_serving", "1: the node can serve pods.", int(moment.is_serving))
        yield GaugeMetricFamily("eni_agent_journal_bytes", "Size of the journal.", moment.journal_bytes)
        yield _by("eni_agent_build_info", "Always 1.", "version", {process.version(): 1})
        looks = CounterMetricFamily(
            "eni_agent_network_looks", "Looks at the host's network by how they ended.", labels=["outcome"]
        )
        for outcome, count in moment.looks.items():
            looks.add_metric([outcome], count)
        yield looks


def _by(name: str, meaning: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
