"""50 pods at once on a cold node: how long until each has its network, how many ADDs fail, what EC2 is asked."""

from benchmarks import cluster
from benchmarks.figures import quantile

from eni_lab.lab import Options

PODS = 50
CASES: dict[str, tuple[Options, dict[str, str]]] = {
    "c5.xlarge secondary": (Options(nodes=1, instance_type="c5.xlarge", tied=True), {}),
    "m5.large prefix": (
        Options(nodes=1, instance_type="m5.large", max_pods=110, tied=True),
        {"ENABLE_PREFIX_DELEGATION": "true"},
    ),
}
PEER = {
    "c5.xlarge secondary": "VPC CNI 1.23.1: 21.8-24.4 s, 18 calls, 230-336 failed ADDs",
    "m5.large prefix": "VPC CNI 1.23.1: 15.3-17.0 s, 3 calls, 59-112 failed ADDs",
}
"""The same node, service times and driver; measured apart, since it cannot run in the same laboratory."""


def measure(case: str) -> dict[str, object]:
    """Measures one case."""
    with cluster.node(*CASES[case]) as node:
        before = node.held()
        node.reset_calls()
        reports = node.runtime.add([f"burst{index}" for index in range(PODS)], seconds=120)
        calls = node.calls()
        waits = [report["seconds"] for report in reports]
        return {
            "held_before": before,
            "all_seconds": round(max(waits), 2),
            "wait_p50_seconds": round(quantile(waits, 0.5), 2),
            "wait_p90_seconds": round(quantile(waits, 0.9), 2),
            "failed_adds": sum(report["failures"] for report in reports),
            "calls": calls,
            "calls_in_all": sum(calls.values()),
            "held": node.held(),
            "peer": PEER[case],
        }


def run() -> dict[str, object]:
    """Measures all cases."""
    return {case: measure(case) for case in CASES}
