"""The operator's metrics. Names carry their unit; labels are few and bounded."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from eni_crds.nodeippool import Supply

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
POOL_ENIS = Gauge("eni_operator_pool_enis", "ENIs of the pool", registry=REGISTRY)
POOL_PREFIXES = Gauge("eni_operator_pool_prefixes", "Prefixes of the pool", registry=REGISTRY)
POOL_ADDRESSES = Gauge("eni_operator_pool_addresses", "Pod addresses the pool holds", registry=REGISTRY)
POOL_WANTED_ADDRESSES = Gauge(
    "eni_operator_pool_wanted_addresses", "Pod addresses the pool grows or shrinks to", registry=REGISTRY
)


def observe_ec2_call(api: str, outcome: str, seconds: float) -> None:
    """Counts one EC2 call."""
    EC2_CALL_SECONDS.labels(api, outcome).observe(seconds)


def observe_pool(supply: Supply | None) -> None:
    """Takes the pool's totals over."""
    if supply is not None:
        POOL_ENIS.set(supply.totals.enis)
        POOL_PREFIXES.set(supply.totals.prefixes)
        POOL_ADDRESSES.set(supply.totals.addresses)
        POOL_WANTED_ADDRESSES.set(supply.wanted)
