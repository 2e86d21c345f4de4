"""The real agent as a process on a node of its own, with an API server beside it and pods to serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import certifi

from eni_lab.waiting import wait_for
from eni_node_agent.cluster.supply import SupplyFile
from eni_testing import cni
from eni_testing.api_server import POOLS, ApiServer
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.supplies import eni, supply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eni_crds.nodeippool import Condition, Supply

NODE = "node-a"
HTTP = "127.0.0.1:61680"
BLOCKED_SECONDS = 0.25
"""Of a stall beside other tests: what waits inside of the loop takes longer in a burst. That no stall of our own lasts
20 ms shows where the machine is quiet, in ``make churn`` and the benchmark."""
PREFIXES = tuple(f"10.0.1.{16 * number}/28" for number in range(16))


class AgentNode:
    """A node whose primary ENI is there (``eni(0)`` of ``supplies``), and folders as the agent's pod mounts them."""

    def __init__(self, parent: Path | None = None, host: Host | None = None) -> None:
        """Makes the node; its folders are in ``parent``, else where temporary files are.

        A ``host`` that has its interfaces already is taken as it is.
        """
        self.host = host or Host()
        self.folder = Path(tempfile.mkdtemp(prefix="eni-agent-", dir=parent))
        for name in ("bin", "conf", "account", "cache/results"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "account" / "token").write_text("token")
        shutil.copy(certifi.where(), self.folder / "account" / "ca.crt")
        if host is None:
            self._add_primary()
        self.api = ApiServer()
        self.variables: dict[str, str] = {}
        self.python = sys.executable
        self.arguments = ["-m", "eni_node_agent", "run"]
        self._process: subprocess.Popen[bytes] | None = None
        self._pods: dict[str, Host] = {}
        self._runtime = ThreadPoolExecutor(64, "runtime")

    def _add_primary(self) -> None:
        self.host.run(["ip", "link", "add", "eth0", "address", "02:00:00:00:00:00", "type", "veth", "peer", "wire0"])
        self.host.run(["ip", "address", "add", "10.0.250.10/24", "dev", "eth0"])
        for link in ("wire0", "eth0"):
            self.host.run(["ip", "link", "set", link, "up"])
        self.host.run(["ip", "route", "add", "default", "via", "10.0.250.1"])

    @property
    def conflist(self) -> Path:
        """The file that makes the node Ready."""
        return self.folder / "conf" / "10-eni.conflist"

    @property
    def journal(self) -> Path:
        """The ledger's journal."""
        return self.folder / "run" / "ledger.db"

    @property
    def socket_path(self) -> Path:
        """The agent's socket."""
        return self.folder / "run" / "agent.sock"

    @property
    def log(self) -> str:
        """What the agents of this node have logged."""
        return (self.folder / "log").read_text()

    @property
    def usage(self) -> dict[str, Any]:
        """The usage reported last; nothing before the first report."""
        return self.api.applied[-1].usage if self.api.applied else {}

    def condition(self, kind: str) -> dict[str, str]:
        """Returns a condition as reported last; nothing while it was not."""
        reported = self.api.applied[-1].body["status"]["conditions"] if self.api.applied else []
        return next((each for each in reported if each["type"] == kind), {})

    def pod_links(self) -> list[str]:
        """Returns the host's ends of pods' links."""
        lines = self.host.run(["ip", "-brief", "link", "show", "type", "veth"]).stdout.splitlines()
        return [line.split("@")[0] for line in lines if line.startswith("eni")]

    def stalls(self) -> list[dict[str, Any]]:
        """Returns what the agents have logged of stalls, those that only the machine's load made among them."""
        lines = [json.loads(line) for line in self.log.splitlines() if '"event loop stalled"' in line]
        return [{key: line[key] for key in ("seconds", "own_seconds", "ran", "stalls")} for line in lines]

    def own_stalls(self, longer_than: float) -> list[dict[str, Any]]:
        """Returns the stalls of which so many seconds are the agent's own, not a busy machine's."""
        return [stall for stall in self.stalls() if stall["own_seconds"] > longer_than]

    @contextlib.asynccontextmanager
    async def api_server(self) -> AsyncIterator[Self]:
        """Serves the API on the node's loopback."""
        listener = self.host.call(socket.create_server, ("127.0.0.1", 6443))
        async with self.api.serve(listener):
            yield self

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the agent's container, for the agent and for what is executed beside it."""
        return {
            "PATH": os.environ["PATH"],
            "MY_NODE_NAME": NODE,
            "HOST_CNI_BIN_PATH": str(self.folder / "bin"),
            "HOST_CNI_CONFDIR_PATH": str(self.folder / "conf"),
            "CLUSTER_ENDPOINT": "http://127.0.0.1:6443",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": "6443",
            "ENI_SERVICE_ACCOUNT_DIR": str(self.folder / "account"),
            "ENI_SOCKET_PATH": str(self.socket_path),
            "ENI_RUN_DIR": str(self.folder / "run"),
            "ENI_STATE_DIR": str(self.folder / "state"),
            "ENI_CNI_CACHE_DIR": str(self.folder / "cache"),
            "ENI_HTTP_ADDRESS": HTTP,
            **self.variables,
        }

    def start(self) -> None:
        """Starts the agent; does not wait for anything."""
        command = ["nsenter", f"--net={self.host.path}", self.python, *self.arguments]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environ, stderr=log)

    async def execute(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Runs ``eni-agent`` with these arguments, as ``kubectl exec`` would; ``variables`` it has besides."""
        command = ["nsenter", f"--net={self.host.path}", self.python, "-m", "eni_node_agent", *arguments]
        environ = self.environ | variables
        return await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, timeout=60)

    def start_alone(self, prefixes: Sequence[str] = PREFIXES) -> None:
        """Starts the agent on the supply of a predecessor, with no API server; returns once it serves."""
        file = SupplyFile(self.folder / "state" / "supply.json")
        file.save(supply(eni(0, prefixes=prefixes), cooldown_seconds=1))
        self.start()
        wait_for("the agent serves", self.conflist.exists, seconds=20)

    @property
    def pid(self) -> int:
        """Of the agent that runs; fails the test when it has ended."""
        assert self._process is not None, "no agent runs"
        assert self._process.poll() is None, self.log[-2000:]
        return self._process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the agent by a signal; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(timeout=10)
        self._process = None
        return code

    async def give(self, supply: Supply, *conditions: Condition) -> None:
        """Lets the operator say what the node has."""
        found = self.api.objects[POOLS].get(NODE, {})
        status = dict(found.get("status", {}))
        status["supply"] = supply.dump()
        status["conditions"] = [condition.dump() for condition in conditions]
        await self.api.put(POOLS, {"metadata": {"name": NODE}, "status": status})

    async def serve(self, supply: Supply, *conditions: Condition) -> None:
        """Starts the agent with what the operator says already said; returns once it is able."""
        await self.give(supply, *conditions)
        self.start()
        await self.until_able()

    async def until_serving(self) -> None:
        """Waits until the agent takes requests."""
        await eventually(self._accepts, "the agent takes requests", within=15)

    async def until_able(self) -> None:
        """Waits until the agent has told the runtime of the node."""
        await eventually(self.conflist.exists, "the conflist is written", within=15)

    async def add(self, name: str, *, within: float = 25, annotations: dict[str, str] | None = None) -> cni.Outcome:
        """Has a pod set up, as the runtime would; its namespace is kept until ``close``."""
        if name not in self._pods:
            self._pods[name] = Host()
        fields = {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations or {}}}
        return await self._in_runtime("ADD", name, self._pods[name].path, within, fields)

    async def delete(self, name: str) -> cni.Outcome:
        """Has a pod taken down, as the runtime would."""
        pod = self._pods.pop(name)
        outcome = await self._in_runtime("DEL", name, pod.path)
        pod.close()
        return outcome

    async def address_of(self, name: str) -> str:
        """Has a pod set up; returns its address."""
        outcome = await self.add(name)
        assert outcome.exit_code == 0, outcome.stdout
        address: str = outcome.json["ips"][0]["address"]
        return address.removesuffix("/32")

    async def addresses_of(self, name: str, annotations: dict[str, str] | None = None) -> list[str]:
        """Has a pod set up; returns all its addresses, with masks."""
        outcome = await self.add(name, annotations=annotations)
        assert outcome.exit_code == 0, outcome.stdout
        return [ip["address"] for ip in outcome.json["ips"]]

    def pod(self, name: str) -> Host:
        """Returns a pod's namespace."""
        return self._pods[name]

    async def status(self) -> cni.Outcome:
        """Asks for STATUS."""
        return await self._in_runtime("STATUS", "", "")

    def http(self, path: str) -> tuple[int, str]:
        """Returns status and text of the agent's own page, 0 when there is none."""
        return self.host.call(_fetch, f"http://{HTTP}{path}")

    def fetch(self, address: str, path: str) -> tuple[int, str]:
        """Returns status and text of a page at another address of the node, 0 when there is none."""
        return self.host.call(_fetch, f"http://{address}{path}")

    def close(self) -> None:
        """Ends everything and removes the folders."""
        if self._process is not None:
            self.stop(signal.SIGKILL)
        self._runtime.shutdown()
        for pod in self._pods.values():
            pod.close()
        self.host.close()
        shutil.rmtree(self.folder)

    async def _in_runtime(
        self, command: str, name: str, netns: str, within: float = 25, fields: dict[str, Any] | None = None
    ) -> cni.Outcome:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._runtime, self._command, command, name, netns, within, fields or {})

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket_path)) == 0

    def _command(self, command: str, name: str, netns: str, within: float, fields: dict[str, Any]) -> cni.Outcome:
        variables = cni.environ(command, container_id=name or "none", netns=netns)
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID=uid-{name}"
        variables |= {"ENI_AGENT_SOCKET": str(self.socket_path), "CNI_ARGS": arguments}
        config: dict[str, Any] = {**cni.CONFIG, "cniVersion": "1.1.0", **fields}
        return cni.run(cni.PYTHON_FORWARDER, variables, json.dumps(config).encode(), timeout=within)


@contextlib.asynccontextmanager
async def node_beside_api_server(parent: Path | None = None) -> AsyncIterator[AgentNode]:
    """Yields a node on which no agent has run yet, and which has an API server to speak to."""
    made = AgentNode(parent)
    try:
        async with made.api_server():
            yield made
    finally:
        made.close()


def _fetch(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except (URLError, OSError):
        return 0, ""
