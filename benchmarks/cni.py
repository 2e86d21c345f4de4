"""Whole CNI calls, from exec to the last byte of JSON, against Debian's ptp with host-local.

Both set up a veth with one address and a default route. Each has a node of its own with as many pods on it already: 0,
100, 500. Rounds take turns, so that noise of the machine hits both alike; ratios are of medians in this one run. Needs
root, gcc, musl-gcc and Debian's containernetworking-plugins.
"""

import asyncio
import collections
import contextlib
import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.cni_node import (
    PEER_FOLDER,
    ROOT,
    Memory,
    Runtime,
    Variant,
    agent_node,
    compile_c,
    cpu_seconds,
    links,
    namespaces,
    wait_for_links,
)
from benchmarks.figures import quantile

from eni_cni_shim import forwarder
from eni_lab.fabric.namespaces import Holder
from eni_node_agent.looplag import STALL_SECONDS
from eni_testing.agents import AgentNode

PEER = "ptp + host-local"
OURS = "eni-cni, C"
SEQUENTIAL = (1, 25)
CONCURRENT = (50, 50)
"""Calls at once, calls in a round."""
ROUNDS = 6
PRESENT = (0, 100, 500)

Samples = dict[str, dict[str, list[float]]]


class Bench:
    """Both nodes and the rounds on them."""

    def __init__(self, runtime: Runtime, node: AgentNode, variants: Iterable[Variant], netns: list[str]) -> None:
        self._runtime = runtime
        self._node = node
        self._variants = {variant.name: variant for variant in variants}
        most, own = CONCURRENT[1], CONCURRENT[1] + max(PRESENT)
        self._netns = netns[:most]
        self._resident = {PEER: netns[most:own], OURS: netns[own:]}
        self._links = {variant.node: links(variant.node) for variant in self._variants.values()}
        self._calls = 0
        self._present = 0

    def run(self) -> dict[str, object]:
        """Returns the figures by number of pods present."""
        for variant in self._variants.values():  # warms caches; counts for nothing
            self._round(variant, 1, 3)
        return {f"{present} pods present": self._measure(present) for present in PRESENT}

    def _measure(self, present: int) -> dict[str, object]:
        self._fill(present)
        names = list(self._variants) if present == 0 else [PEER, OURS]
        samples: Samples = collections.defaultdict(lambda: collections.defaultdict(list))
        pid, spent, calls = self._node.pid, 0.0, 0
        for at_once, count in (SEQUENTIAL, CONCURRENT):
            for name in names * ROUNDS:
                before = cpu_seconds(pid)
                for verb, values in self._round(self._variants[name], at_once, count).items():
                    samples[f"{verb}, {at_once} at once"][name] += values
                if name == OURS:
                    spent, calls = spent + cpu_seconds(pid) - before, calls + count
        figures = {case: _figures(f"{present} present, {case}", values) for case, values in samples.items()}
        agent = self._agent_figures(1000 * spent / calls)
        print(f"{present} present: agent {agent}", flush=True)
        return {**figures, "agent": agent}

    def _agent_figures(self, cpu_ms: float) -> dict[str, object]:
        """Returns what the agent takes, and what part of a call is not its own; the mean is of all calls so far."""
        memory = Memory.of(self._node.pid)
        return {
            "resident_mb": memory.resident,
            "private_mb": memory.private,
            "cpu_ms_a_pod": round(cpu_ms, 2),
            "mean_add_ms": round(1000 * self._mean_add_seconds(), 2),
            "process_alone_p50_ms": round(self._process_alone(), 2),
            "stalls": self._node.own_stalls(STALL_SECONDS),
        }

    def _mean_add_seconds(self) -> float:
        """Returns how long ADDs were in the agent's hands."""
        labels = r'\{outcome="success",verb="ADD"\} (\S+)'
        text = self._node.http("/metrics")[1]
        found = [re.search(f"eni_agent_request_seconds_{name}{labels}", text) for name in ("sum", "count")]
        total, count = (float(each[1]) if each else 0.0 for each in found)
        return total / count if count else 0.0

    def _round(self, variant: Variant, at_once: int, count: int) -> dict[str, list[float]]:
        """Returns milliseconds by verb; the node is as before afterwards."""
        pods = {f"bench{self._calls + number}": netns for number, netns in enumerate(self._netns[:count])}
        self._calls += count
        milliseconds = {verb: self._runtime.call(verb, variant, pods, at_once) for verb in ("ADD", "DEL")}
        wait_for_links(variant.node, self._links[variant.node])
        return milliseconds

    def _fill(self, present: int) -> None:
        """Gives both nodes so many pods that stay."""
        for name, resident in self._resident.items():
            pods = {f"stays{number}": resident[number] for number in range(self._present, present)}
            if pods:
                self._runtime.call("ADD", self._variants[name], pods, 4)
                self._links[self._variants[name].node] += len(pods)
        self._present = present

    def _process_alone(self) -> float:
        """Returns what starting the executable takes of a call, in milliseconds."""
        pods = {f"version{number}": "-" for number in range(50)}
        return quantile(self._runtime.call("VERSION", self._variants[OURS], pods), 0.5)


def run() -> dict[str, object]:
    """Measures, prints a table and returns the figures by case and variant."""
    return asyncio.run(_run())


async def _run() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="eni-bench-", dir="/dev/shm") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        beside = Holder()
        stack.callback(beside.close)
        netns = stack.enter_context(namespaces(CONCURRENT[1] + 2 * max(PRESENT)))
        async with agent_node(folder) as node:
            variants = _variants(folder, node.host.path, beside.path)
            runtime = Runtime(folder, node.socket_path)
            return await asyncio.to_thread(lambda: Bench(runtime, node, variants, netns).run())


def _figures(case: str, by_variant: dict[str, list[float]]) -> dict[str, object]:
    peer = quantile(by_variant[PEER], 0.5)
    figures: dict[str, object] = {}
    for name, values in by_variant.items():
        p50, p90, p99 = (round(quantile(values, share), 2) for share in (0.5, 0.9, 0.99))
        ratio = round(peer / p50, 1)
        figures[name] = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "times_faster": ratio, "calls": len(values)}
        print(f"{case:30} {name:18} p50 {p50:7.2f}  p90 {p90:7.2f}  p99 {p99:7.2f} ms   {ratio:5.1f} x", flush=True)
    return figures


def _variants(folder: Path, node: str, beside: str) -> list[Variant]:
    static = compile_c(folder / "eni-cni", ROOT / "cni_shim/forwarder.c", "-Os", "-static", compiler="musl-gcc")
    ours = {"cniVersion": "1.0.0", "name": "eni", "type": "eni-cni", "mtu": 9001}
    ipam: dict[str, object] = {"type": "host-local", "dataDir": str(folder / "host-local"), "subnet": "10.9.0.0/16"}
    ipam["routes"] = [{"dst": "0.0.0.0/0"}]
    peers = {"cniVersion": "1.0.0", "name": "peer", "type": "ptp", "mtu": 9001, "ipMasq": False, "ipam": ipam}
    for name, config in (("ours", ours), ("peer", peers)):
        (folder / name).write_text(json.dumps(config))
    return [
        Variant(PEER, [str(PEER_FOLDER / "ptp")], folder / "peer", beside),
        Variant(OURS, [str(static)], folder / "ours", node),
        Variant("eni-cni, Python", ["/usr/bin/python3", "-I", "-S", forwarder.__file__], folder / "ours", node),
    ]
