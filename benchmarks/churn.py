"""Eight minutes of pods that come and go on a c5.xlarge: addresses held idle, and how long pods wait.

10 pods, 25 at 60 s, 10 at 150 s, 30 at 240 s, 5 at 330 s, end at 480 s; the oldest go first. Idle is held minus
running, sampled every second.
"""

import time
from collections import deque

from benchmarks import cluster
from benchmarks.figures import quantile

from eni_lab.lab import Options

STEPS = ((0, 10), (60, 25), (150, 10), (240, 30), (330, 5))
END = 480
PEER = "VPC CNI 1.23.1: 5.0 idle with waits of 14.0 s at p90 (WARM_IP_TARGET=5), or 31.0 idle with 2.3 s (prefixes)"


def run() -> dict[str, object]:
    """Measures our default policy."""
    with cluster.node(Options(nodes=1, instance_type="c5.xlarge", tied=True)) as node:
        node.reset_calls()
        idle = _play(node)
        adds = node.runtime.reports("ADD")
        waits = [report["seconds"] for report in adds]
        calls = node.calls()
        return {
            "mean_idle": round(sum(idle) / len(idle), 2),
            "max_idle": max(idle),
            "wait_p50_seconds": round(quantile(waits, 0.5), 2),
            "wait_p90_seconds": round(quantile(waits, 0.9), 2),
            "wait_max_seconds": round(max(waits), 2),
            "failed_adds": sum(report["failures"] for report in adds),
            "calls": calls,
            "calls_in_all": sum(calls.values()),
            "held_at_the_end": node.held(),
            "peer": PEER,
        }


def _play(node: cluster.Node) -> list[int]:
    """Plays the steps; the idle addresses of every second."""
    alive: deque[str] = deque()
    idle, steps, started, began = [], deque(STEPS), 0, time.monotonic()
    for second in range(END):
        if steps and second >= steps[0][0]:
            _, count = steps.popleft()
            while len(alive) > count:
                node.runtime.begin("DEL", alive.popleft())
            new = [f"churn{started + number}" for number in range(count - len(alive))]
            started += len(new)
            if new:
                node.runtime.finish("NEW", new, seconds=10)
            for name in new:
                node.runtime.begin("ADD", name)
            alive.extend(new)
        idle.append(node.held() - _running(node))
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
    return idle


def _running(node: cluster.Node) -> int:
    return len(node.runtime.reports("ADD")) - len(node.runtime.reports("DEL"))
