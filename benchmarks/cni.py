"""Whole CNI calls, from exec to the last byte of JSON, against Debian's ptp with host-local in the same node.

Both set up a veth with one address and a default route. Rounds take turns, so that noise of the machine hits all alike;
ratios are of medians in this one run. Needs root, gcc and Debian's containernetworking-plugins.
"""

import collections
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import quantile

from eni_cni_shim import forwarder
from eni_lab.fabric.namespaces import Holder

ROOT = Path(__file__).parents[1]
PEER_FOLDER = Path("/usr/lib/cni")
PEER = "ptp + host-local"
SEQUENTIAL = (1, 25)
CONCURRENT = (20, 40)
"""Calls at once, calls in a round."""
ROUNDS = 4
CLONE_NEWNET = 0x40000000


class Variant(NamedTuple):
    """An executable with its configuration."""

    name: str
    executable: list[str]
    config: Path


class Bench:
    """A node, its pods' namespaces and what is called on them."""

    def __init__(self, folder: Path, node: str, netns: Sequence[int]) -> None:
        self._node = node
        self._spawner = _compile(folder / "spawner", ROOT / "benchmarks/spawner.c", "-O2", "-pthread")
        self._environ = {"CNI_PATH": str(PEER_FOLDER), "ENI_AGENT_SOCKET": str(folder / "agent.sock")}
        self._pods = [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in netns]
        self._calls = 0

    def round(self, variant: Variant, concurrency: int, count: int) -> tuple[list[float], list[float]]:
        """Returns milliseconds of each ADD and each DEL; the node is bare again afterwards."""
        ids = [f"bench{self._calls + number}" for number in range(count)]
        self._calls += count
        lines = "".join(f"{name} {netns}\n" for name, netns in zip(ids, self._pods, strict=False))
        milliseconds = tuple(self._spawn(verb, variant, concurrency, lines) for verb in ("ADD", "DEL"))
        self._wait_until_bare()
        return milliseconds[0], milliseconds[1]

    def _spawn(self, verb: str, variant: Variant, concurrency: int, lines: str) -> list[float]:
        command = ["nsenter", f"--net={self._node}", str(self._spawner), verb, str(concurrency), str(variant.config)]
        command += variant.executable
        result = subprocess.run(
            command, input=lines, env=self._environ, text=True, capture_output=True, check=False, timeout=120
        )
        if result.returncode:
            sys.exit(f"{variant.name} failed at {verb}: {result.stderr}")
        return [float(line) / 1000 for line in result.stdout.splitlines()]

    def _wait_until_bare(self) -> None:
        deadline = time.monotonic() + 10
        while self._links() > 1:  # loopback stays
            if time.monotonic() > deadline:
                sys.exit("links of the last round are still there after 10 seconds")
            time.sleep(0.05)

    def _links(self) -> int:
        command = ["nsenter", f"--net={self._node}", "ip", "-o", "link"]
        return len(subprocess.run(command, capture_output=True, check=True, timeout=10).stdout.splitlines())


def run() -> dict[str, object]:
    """Measures, prints a table and returns the figures by case and variant."""
    with tempfile.TemporaryDirectory(prefix="eni-bench-", dir="/run") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        node = Holder()
        stack.callback(node.close)
        bench = Bench(folder, node.path, stack.enter_context(_namespaces(CONCURRENT[1])))
        stack.enter_context(_agent(node.path, folder))
        variants = _variants(folder)
        samples: dict[str, dict[str, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))
        for variant in variants:  # warms caches; counts for nothing
            bench.round(variant, 1, 3)
        for concurrency, count in (SEQUENTIAL, CONCURRENT):
            for variant in variants * ROUNDS:
                for verb, values in zip(("ADD", "DEL"), bench.round(variant, concurrency, count), strict=True):
                    samples[f"{verb}, {concurrency} at once"][variant.name] += values
    return {case: _figures(case, by_variant) for case, by_variant in samples.items()}


def _figures(case: str, by_variant: dict[str, list[float]]) -> dict[str, object]:
    peer = quantile(by_variant[PEER], 0.5)
    figures: dict[str, object] = {}
    for name, values in by_variant.items():
        p50, p90, p99 = (round(quantile(values, share), 2) for share in (0.5, 0.9, 0.99))
        ratio = round(peer / p50, 1)
        figures[name] = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "times_faster": ratio, "calls": len(values)}
        print(f"{case:18} {name:18} p50 {p50:7.2f}  p90 {p90:7.2f}  p99 {p99:7.2f} ms   {ratio:5.1f} x", flush=True)
    return figures


def _variants(folder: Path) -> list[Variant]:
    static = _compile(folder / "eni-cni", ROOT / "cni_shim/forwarder.c", "-Os", "-static")
    ours = {"cniVersion": "1.0.0", "name": "eni", "type": "eni-cni", "mtu": 9001}
    ipam: dict[str, object] = {"type": "host-local", "dataDir": str(folder / "host-local"), "subnet": "10.9.0.0/16"}
    ipam["routes"] = [{"dst": "0.0.0.0/0"}]
    peers = {"cniVersion": "1.0.0", "name": "peer", "type": "ptp", "mtu": 9001, "ipMasq": False, "ipam": ipam}
    for name, config in (("ours", ours), ("peer", peers)):
        (folder / name).write_text(json.dumps(config))
    return [
        Variant(PEER, [str(PEER_FOLDER / "ptp")], folder / "peer"),
        Variant("eni-cni, C", [str(static)], folder / "ours"),
        Variant("eni-cni, Python", ["/usr/bin/python3", "-I", "-S", forwarder.__file__], folder / "ours"),
    ]


def _compile(target: Path, source: Path, *flags: str) -> Path:
    subprocess.run(["gcc", *flags, "-Wall", "-Wextra", "-Werror", "-o", target, source], check=True, timeout=60)
    return target


@contextlib.contextmanager
def _agent(node: str, folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.cni_agent", str(folder / "agent.sock"), str(folder / "ledger.db")]
    process = subprocess.Popen(["nsenter", f"--net={node}", *command], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        if process.stdout is None or not process.stdout.readline():
            sys.exit("the agent ended before it served")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextlib.contextmanager
def _namespaces(count: int) -> Iterator[list[int]]:
    """Yields descriptors of new network namespaces; others open them at this process's place in /proc."""
    made: list[int] = []
    for _ in range(count):
        thread = threading.Thread(target=lambda: made.append(_new_namespace()))
        thread.start()
        thread.join()
    if len(made) != count:
        sys.exit("network namespaces cannot be made; this needs root")
    yield made
    for descriptor in made:
        os.close(descriptor)


def _new_namespace() -> int:
    """Returns a descriptor of a namespace that the calling thread leaves its own for."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
