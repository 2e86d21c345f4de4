"""The operator's metrics. Names carry their unit; labels are few and bounded."""

from collections.abc import Iterable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from eni_crds.nodeippool import Condition, Supply

REGISTRY = CollectorRegistry()

EC2_CALL_SECONDS = Histogram(
    "eni_operator_ec2_call_seconds",
    "EC2 calls by API and outcome: ok, or the class of the error",
    ("api", "outcome"),
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "eni_operator_reconcile_seconds",
    "Runs of the loop, without what EC2 does meanwhile",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10),
    registry=REGISTRY,
)
RECONCILE_FAILURES = Counter("eni_operator_reconcile_failures_total", "Runs of the loop that failed", registry=REGISTRY)
WATCH_RESTARTS = Counter(
    "eni_operator_watch_restarts_total", "How often the watches had to be started again", registry=REGISTRY
)
SWEPT = Counter("eni_operator_swept_enis_total", "Leaked ENIs deleted by this process as the leader", registry=REGISTRY)
SWEEP_CANDIDATES = Gauge(
    "eni_operator_sweep_candidates",
    "ENIs of ours that the leader saw loose in its last sweep and kept",
    registry=REGISTRY,
)
POOL_ENIS = Gauge("eni_operator_pool_enis", "ENIs of the pool", ("node",), registry=REGISTRY)
POOL_PREFIXES = Gauge("eni_operator_pool_prefixes", "Prefixes of the pool", ("node",), registry=REGISTRY)
POOL_ADDRESSES = Gauge("eni_operator_pool_addresses", "Pod addresses the pool holds", ("node",), registry=REGISTRY)
POOL_WANTED_ADDRESSES = Gauge(
    "eni_operator_pool_wanted_addresses", "Pod addresses the pool grows or shrinks to", ("node",), registry=REGISTRY
)
POOL_CONDITION = Gauge(
    "eni_operator_pool_condition",
    "1 for each condition of the pool as it stands: its type, status and machine reason",
    ("node", "type", "status", "reason"),
    registry=REGISTRY,
)
EC2_QUEUE_SECONDS = Histogram(
    "eni_operator_ec2_queue_seconds",
    "Time an EC2 call waited for its turn, by API",
    ("api",),
    buckets=(0.01, 0.1, 0.5, 1, 5, 30, 120),
    registry=REGISTRY,
)
_POOL_GAUGES = (POOL_ENIS, POOL_PREFIXES, POOL_ADDRESSES, POOL_WANTED_ADDRESSES)
_shown: dict[str, set[tuple[str, str, str]]] = {}


def observe_ec2_call(api: str, outcome: str, seconds: float) -> None:
    """Counts one EC2 call."""
    EC2_CALL_SECONDS.labels(api, outcome).observe(seconds)


def observe_ec2_queue(api: str, seconds: float) -> None:
    """Counts one call's wait for its turn."""
    EC2_QUEUE_SECONDS.labels(api).observe(seconds)


def observe_pool(node: str, supply: Supply | None, conditions: Iterable[Condition]) -> None:
    """Takes a pool's totals and conditions over."""
    if supply is not None:
        totals = supply.totals
        for gauge, value in zip(
            _POOL_GAUGES, (totals.enis, totals.prefixes, totals.addresses, supply.wanted), strict=True
        ):
            gauge.labels(node).set(value)
    now = {(condition.type, condition.status.value, condition.reason) for condition in conditions}
    for labels in _shown.get(node, set()) - now:
        POOL_CONDITION.remove(node, *labels)
    for labels in now:
        POOL_CONDITION.labels(node, *labels).set(1)
    _shown[node] = now


def forget_pool(node: str) -> None:
    """Takes a node that is gone out of the gauges."""
    for gauge in _POOL_GAUGES:
        with suppress(KeyError):
            gauge.remove(node)
    for labels in _shown.pop(node, set()):
        POOL_CONDITION.remove(node, *labels)


def text() -> bytes:
    """Returns everything in Prometheus's text format."""
    return generate_latest(REGISTRY)
