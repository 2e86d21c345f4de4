"""What tests of the way of a packet share: a node with pods on both its ENIs, a neighbour, and who sees whom."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eni_node_agent.network.converge import Converger
from eni_testing.nodes import PRIMARY, Node, supply_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eni_lab.aws.engine.ports import Port
    from eni_node_agent.network.desired import NetworkSettings
    from eni_testing.hosts import Host

NODE = PRIMARY.primary_ip
ON_PRIMARY, ON_ADDRESS, ON_PREFIX, FAR = "10.0.1.11", "10.0.1.21", "10.0.1.50", "10.0.2.11"
PODS = (ON_PRIMARY, ON_ADDRESS, ON_PREFIX)
STRICT = ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1"]

_ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as asked:
    asked.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(asked.makefile().read().split()[-1])
"""
_TELL = """
import socket
listener = socket.create_server(("0.0.0.0", 8080))
print("ready", flush=True)
while True:
    asked, peer = listener.accept()
    asked.recv(99)
    asked.sendall(peer[0].encode())
    asked.close()
"""


@dataclass
class World:
    """A node with pods on both its ENIs, and a neighbour with a pod on its only one; both check sources strictly."""

    node: Node
    neighbour: Node
    pods: dict[str, Host]


def converge(node: Node, settings: NetworkSettings, *ports: Port) -> None:
    """Makes the node's network right for these ENIs, and fails when it cannot be."""
    converger = node.do(Converger, settings, Path("/proc/sys"))
    state = node.do(converger.converge, supply_of(*ports)).state
    node.do(converger.host.close)
    assert not state.problems
    assert len(state.ready) == len(ports)


def seen_by(asker: Host, address: str, port: int) -> str:
    """Returns the source address a server sees, or nothing when it is not reached."""
    return seen_from(asker.path, address, port)


def seen_from(path: str, address: str, port: int) -> str:
    """Does what ``seen_by`` says, in the namespace at ``path``."""
    command = ["nsenter", f"--net={path}", sys.executable, "-IS", "-c", _ASK, address, str(port)]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=20).stdout.strip()


@contextmanager
def telling(pods: Sequence[Host]) -> Iterator[None]:
    """Each of the pods tells who calls on port 8080 what address it sees."""
    servers = []
    try:
        for pod in pods:
            command = ["nsenter", f"--net={pod.path}", sys.executable, "-IS", "-c", _TELL]
            servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield
    finally:
        for server in servers:
            server.kill()
            server.communicate()
