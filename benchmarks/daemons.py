"""What the two daemons cost a node, and how soon they serve: resident memory, and start to first served ADD.

Cold is a node that has never run them, EC2 at its usual service times. Restarts are after a SIGKILL, from the start of
the new process; the kubelet's own pause before it starts one is not counted.
"""

import subprocess
import time

from benchmarks import cluster

from eni_lab.lab import Options
from eni_lab.node.runtime import Runtime
from eni_lab.waiting import wait_for

PEER = "VPC CNI 1.23.1: 64-68 MB; 2.3 s cold, 0.8 s warm, 31 s with the API server away"
PROGRAMS = {"agent": "/opt/eni/bin/eni-agent run", "operator": "/opt/eni/bin/eni-operator"}
CONFLIST = "/etc/cni/net.d/10-eni.conflist"
RETRY_SECONDS = 0.01


def run() -> dict[str, object]:
    """Measures one m5.large."""
    with cluster.node(Options(nodes=1, tied=True)) as node:
        cold = _ask(node, "stat", "-c", "%.Y", CONFLIST) - min(_started(node, program) for program in PROGRAMS)
        memory = {program: _resident_mb(node, program) for program in PROGRAMS}
        with Runtime(node.lab.node(node.name), RETRY_SECONDS) as runtime:
            warm = _restart(node, runtime, "warm")
            # Without the API server no address could come, so there must be one to give.
            wait_for("a free address beside the pod's", lambda: _has_one_to_give(node), seconds=60, interval=0.2)
            node.lab.parts.stop("apiserver")
            alone = _restart(node, runtime, "alone")
            node.lab.parts.start_again("apiserver")
    return {
        "resident_mb": memory,
        "cold_seconds": round(cold, 2),
        "restart_seconds": round(warm, 2),
        "restart_without_api_server_seconds": round(alone, 2),
        "peer": PEER,
    }


def _restart(node: cluster.Node, runtime: Runtime, name: str) -> float:
    old = _pid(node, "agent")
    runtime.finish("NEW", [name], seconds=10)
    _run(node, "kill", "-KILL", str(old))
    wait_for("a new agent", lambda: _pid(node, "agent") not in (0, old), seconds=120, interval=0.005)
    started = _started(node, "agent") - time.time() + time.monotonic()
    return float(runtime.finish("ADD", [name], seconds=60)[0]["ended"]) - started


def _has_one_to_give(node: cluster.Node) -> bool:
    usage = node.pool().usage
    return bool(usage["assigned"] == 1 and usage["free"] >= 1)


def _started(node: cluster.Node, program: str) -> float:
    """When a process began, in Unix seconds."""
    ticks = float(_run(node, "cat", f"/proc/{_pid(node, program)}/stat").rsplit(")", 1)[1].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / 100


def _resident_mb(node: cluster.Node, program: str) -> float:
    pages = _run(node, "cat", f"/proc/{_pid(node, program)}/statm").split()[1]
    return round(int(pages) * 4096 / 1e6, 1)


def _pid(node: cluster.Node, program: str) -> int:
    found = _run(node, "pgrep", "-o", "-f", PROGRAMS[program], check=False).split()
    return int(found[0]) if found else 0


def _ask(node: cluster.Node, *command: str) -> float:
    return float(_run(node, *command))


def _run(node: cluster.Node, *command: str, check: bool = True) -> str:
    done = subprocess.run(node.lab.node(node.name).command(*command), capture_output=True, text=True, check=check)
    return done.stdout
