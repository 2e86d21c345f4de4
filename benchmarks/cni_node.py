"""The nodes of the CNI benchmark: one with our whole agent, one for the plugin beside it, and pods on both.

The agent runs as in the image: optimised and precompiled, one malloc arena that shrinks again, its journal on a tmpfs,
Debian's Python where the image's version is there. It watches an API server, reports usage to it and logs; only EC2
takes no part.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from eni_testing.agents import AgentNode
from eni_testing.supplies import eni, supply

ROOT = Path(__file__).parents[1]
PEER_FOLDER = Path("/usr/lib/cni")
CLONE_NEWNET = 0x40000000
IMAGE_PYTHON = Path("/usr/bin/python3.11")
PREFIXES = [f"10.0.{third}.{fourth}/28" for third in (2, 3, 4) for fourth in range(0, 256, 16)]
"""768 addresses, which do not cool: rounds come faster."""


class Variant(NamedTuple):
    """An executable with its configuration, and the node it works on."""

    name: str
    executable: list[str]
    config: Path
    node: str
    """Path of the node's network namespace."""


class Runtime:
    """Calls CNI executables as a container runtime does."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self._spawner = compile_c(folder / "spawner", ROOT / "benchmarks/spawner.c", "-O2", "-pthread")
        self._environ = {"CNI_PATH": str(PEER_FOLDER), "ENI_AGENT_SOCKET": str(socket)}

    def call(self, verb: str, variant: Variant, pods: dict[str, str], at_once: int = 1) -> list[float]:
        """Returns the milliseconds of each call; ``pods`` are container ids with paths of their namespaces."""
        command = ["nsenter", f"--net={variant.node}", str(self._spawner), verb, str(at_once), str(variant.config)]
        result = subprocess.run(
            command + variant.executable,
            input="".join(f"{name} {netns}\n" for name, netns in pods.items()),
            env=self._environ,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )
        if result.returncode:
            sys.exit(f"{variant.name} failed at {verb}: {result.stderr}")
        return [float(line) / 1000 for line in result.stdout.splitlines()]


def links(node: str) -> int:
    """Counts the links of a node."""
    done = subprocess.run(["nsenter", f"--net={node}", "ip", "-o", "link"], capture_output=True, check=True, timeout=10)
    return len(done.stdout.splitlines())


def wait_for_links(node: str, count: int) -> None:
    """Waits until what a round has deleted is gone: deleting a veth takes the kernel some time after DEL."""
    deadline = time.monotonic() + 20
    while (found := links(node)) > count:
        if time.monotonic() > deadline:
            sys.exit(f"{found} links are on the node after 20 seconds, not {count}")
        time.sleep(0.05)


def compile_c(target: Path, source: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Returns the executable of a C source."""
    subprocess.run([compiler, *flags, "-Wall", "-Wextra", "-Werror", "-o", target, source], check=True, timeout=60)
    return target


def image_environ(cache: Path) -> dict[str, str]:
    """Returns the variables that have a Python run our packages as the image does; ``cache`` keeps compiled code."""
    folders = [*(str(ROOT / name) for name in ("node_agent", "cni_shim", "crds")), sysconfig.get_path("purelib")]
    return {
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONOPTIMIZE": "2",
        "PYTHONPYCACHEPREFIX": str(cache),
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }


@contextlib.asynccontextmanager
async def agent_node(folder: Path) -> AsyncIterator[AgentNode]:
    """Yields a node whose agent serves; started twice, for the first run compiles."""
    node = AgentNode(folder)
    try:
        async with node.api_server():
            node.variables |= image_environ(folder / "compiled")
            node.python = await asyncio.to_thread(_image_python, folder / "python")
            await node.give(supply(eni(0, prefixes=PREFIXES), cooldown_seconds=0))
            node.start()
            await node.until_able()
            ca = node.folder / "account" / "ca.crt"  # one authority, as in a cluster, not a hundred
            ca.write_text(ca.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
            await asyncio.to_thread(node.stop)
            node.start()
            await node.until_serving()
            yield node
    finally:
        node.close()


def _image_python(folder: Path) -> str:
    """Returns the image's Python, bare as there: the machine's own packages stay out."""
    base = IMAGE_PYTHON if IMAGE_PYTHON.exists() else Path(sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    return str(folder / "bin/python")


class Memory(NamedTuple):
    """What a process takes, in MB."""

    resident: float
    private: float
    """Of it not shared with anybody."""

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """Reads it of a process."""
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kilobytes = {name: int(value) for name, value in re.findall(r"(\w+): +([0-9]+) kB", text)}
        private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
        return cls(round(kilobytes["Rss"] * 1024 / 1e6, 1), round(private * 1024 / 1e6, 1))


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Yields paths of new network namespaces, which others can open too: descriptors of this process."""
    made: list[int] = []
    for _ in range(count):
        thread = threading.Thread(target=lambda: made.append(_new_namespace()))
        thread.start()
        thread.join()
    if len(made) != count:
        sys.exit("network namespaces cannot be made; this needs root")
    yield [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in made]
    for descriptor in made:
        os.close(descriptor)


def _new_namespace() -> int:
    """Returns a descriptor of a namespace that the calling thread leaves its own for."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
