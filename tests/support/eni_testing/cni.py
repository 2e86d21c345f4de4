"""A container runtime, an agent of a few lines and a pool in memory, for tests of the CNI executable and plugin."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eni_cni_shim import forwarder, protocol
from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from eni_cni_shim.plugin.verbs import Plugin

SOURCE = Path(__file__).parents[3] / "cni_shim" / "forwarder.c"
PYTHON_FORWARDER = [sys.executable, "-I", "-S", forwarder.__file__]
POD_TABLE = 512
NODE_ADDRESS = "10.0.1.10"
NODE_ADDRESS_IPV6 = "2001:db8:0:1::a"
CONFIG: dict[str, Any] = {"cniVersion": "1.0.0", "name": "eni", "type": "eni-cni", "mtu": 9001}


def build_forwarder(folder: Path) -> list[str]:
    """Returns the command of the C executable, just compiled with the flags its header gives."""
    compiler = shutil.which("musl-gcc")
    assert compiler, "musl-gcc (Debian's musl-tools) is needed to build the CNI executable"
    executable = folder / "eni-cni"
    flags = ["-Os", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(executable), str(SOURCE)], check=True, timeout=60)
    return [str(executable)]


class Pod(Host):
    """A pod's namespace with a descriptor on it."""

    def __init__(self) -> None:
        super().__init__()
        self.netns = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Closes the descriptor, and the namespace goes."""
        os.close(self.netns)
        super().close()


class Outcome(NamedTuple):
    """What a runtime sees of a CNI call."""

    exit_code: int
    stdout: bytes

    @property
    def json(self) -> Any:
        """The answer, parsed."""
        return json.loads(self.stdout)

    @property
    def code(self) -> int:
        """The error's code, once it is certain that the answer is an error."""
        assert self.exit_code != 0
        assert set(self.json) >= {"cniVersion", "code", "msg"}
        return int(self.json["code"])


def environ(command: str, container_id: str = "c1", netns: str = "", ifname: str = "eth0") -> dict[str, str]:
    """Returns what containerd sets for a pod's sandbox."""
    pod = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1"
    values = {"CNI_COMMAND": command, "CNI_CONTAINERID": container_id, "CNI_NETNS": netns, "CNI_IFNAME": ifname}
    return {**values, "CNI_ARGS": pod, "CNI_PATH": "/opt/cni/bin"}


def run(executable: list[str], variables: dict[str, str], stdin: bytes = b"", timeout: float = 15) -> Outcome:
    """Runs the executable as a runtime does."""
    process = subprocess.run(
        executable, env=variables, input=stdin, stdout=subprocess.PIPE, check=False, timeout=timeout
    )
    return Outcome(process.returncode, process.stdout)


@contextlib.contextmanager
def socket_path() -> Iterator[Path]:
    """Yields a path short enough for a socket, in a folder that goes with everything in it."""
    with tempfile.TemporaryDirectory(prefix="eni-cni-") as folder:
        yield Path(folder) / "agent.sock"


def receive_request(connection: socket.socket) -> tuple[protocol.Request, list[int]]:
    """Returns the request and the descriptors that came with it."""
    data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    while len(data) < protocol.REQUEST_HEADER.size + protocol.parse_length(data[: protocol.REQUEST_HEADER.size]):
        data += connection.recv(1 << 16)
    return protocol.parse_body(data[protocol.REQUEST_HEADER.size :]), descriptors


Behaviour = Callable[[socket.socket], object]


@contextlib.contextmanager
def agent(behaviour: Behaviour) -> Iterator[Path]:
    """Yields the socket of an agent that treats every connection as it is told to, each in a thread of its own."""
    with socket_path() as path, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        thread = threading.Thread(target=_accept, args=(listener, behaviour))
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, behaviour: Behaviour) -> None:
    serving = []
    with contextlib.suppress(OSError):  # the listener is shut down at the test's end
        while True:
            connection, _ = listener.accept()
            serving.append(threading.Thread(target=_serve, args=(connection, behaviour)))
            serving[-1].start()
    for thread in serving:
        thread.join()


def _serve(connection: socket.socket, behaviour: Behaviour) -> None:
    with connection, contextlib.suppress(ConnectionError):
        behaviour(connection)


def answering(data: bytes) -> Behaviour:
    """Returns an agent that takes the request and answers with these bytes."""

    def behave(connection: socket.socket) -> None:
        _, descriptors = receive_request(connection)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(data)

    return behave


@dataclass
class MemoryPool:
    """An AddressPool over a list; ``failure`` is raised by whatever would need the pool to work."""

    free: list[str] = field(default_factory=lambda: [f"10.0.1.{last}" for last in range(20, 250)])
    failure: Exception | None = None
    held: dict[SandboxKey, Assignment] = field(default_factory=dict)

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the next address."""
        self.check_ready()
        if sandbox.key not in self.held:
            name = "eni" + hashlib.sha1("/".join(sandbox.key).encode(), usedforsecurity=False).hexdigest()[:11]
            link = PodLink(sandbox.key.ifname, name, "eni-1", (self.free.pop(0),))
            self.held[sandbox.key] = Assignment(sandbox, (link,), POD_TABLE)
        return self.held[sandbox.key]

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the address back, to the end of the list."""
        assignment = self.held.pop(key, None)
        if assignment is not None:
            self.free.append(assignment.address)
        return assignment

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        return self.held.get(key)

    def assignments(self) -> list[Assignment]:
        """Returns all that is assigned."""
        return list(self.held.values())

    def check_ready(self) -> None:
        """Raises the failure."""
        if self.failure is not None:
            raise self.failure


@contextlib.asynccontextmanager
async def served(plugin: Plugin, path: Path) -> AsyncIterator[None]:
    """Serves a plugin on the socket, in the least code that does it; the agent's own server is tested elsewhere."""
    serving: set[asyncio.Task[None]] = set()

    async def serve_one(connection: socket.socket) -> None:
        with connection:
            request, descriptors = await asyncio.to_thread(receive_request, connection)
            reply = await plugin.handle(request, descriptors[0] if descriptors else None)
            await asyncio.to_thread(connection.sendall, protocol.dump_reply(reply))
            for descriptor in descriptors:
                os.close(descriptor)

    def accept() -> None:
        task = asyncio.create_task(serve_one(listener.accept()[0]))
        serving.add(task)
        task.add_done_callback(serving.discard)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        asyncio.get_running_loop().add_reader(listener, accept)
        yield
        asyncio.get_running_loop().remove_reader(listener)
    await asyncio.gather(*serving)
