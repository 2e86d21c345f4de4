"""A node as Amazon's VPC CNI leaves it, on the fabric, with pods that talk; our agent starts on top of it.

What is left is made by ``eni_lab.node.vpc_cni``, which runs on the node and says what it leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from eni_crds.nodeippool import PolicyValue
from eni_lab.node import vpc_cni
from eni_testing.agents import AgentNode
from eni_testing.hosts import Host
from eni_testing.nodes import PRIMARY, SECONDARY, VPC, Node, supply_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eni_crds.nodeippool import Supply

ON_PRIMARY, ON_SECONDARY = "10.0.1.11", "10.0.1.21"
ON_PREFIX = "10.0.1.48"
"""The first address of a prefix, which VPC CNI gives away too."""
FREE = (
    {"address": ON_PRIMARY, "table": 254, "device": 0},
    {"address": ON_SECONDARY, "table": 2, "device": 1},
    {"address": ON_PREFIX, "table": 2, "device": 1},
    {"address": "10.0.1.24", "table": 2, "device": 1},
)

TALK = """
import socket, sys, time
# Asks again and again, by one flow that lasts and by a new one each time: a line for each answer, or "lost".
peer = (sys.argv[1], 7777)

def ask(asking):
    try:
        asking.send(b"?")
        print(asking.recv(99).decode(), flush=True)
    except OSError as error:
        print(f"lost {error}", flush=True)

def connected():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(0.5)
    made.connect(peer)
    return made

lasting = connected()
while True:
    ask(lasting)
    with connected() as new:
        ask(new)
    time.sleep(float(sys.argv[2]))
"""
ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
    listening.bind(("0.0.0.0", 7777))
    print("ready", flush=True)
    while True:
        _, peer = listening.recvfrom(99)
        listening.sendto(peer[0].encode(), peer)
"""


def leftover_supply(*, cooldown_seconds: int = 30) -> Supply:
    """Returns what the operator says of the node: the ENIs VPC CNI has made."""
    policy = {"cooldownSeconds": PolicyValue(value=cooldown_seconds, origin="pool")}
    return supply_of(PRIMARY, SECONDARY).replace(policy=policy)


class LeftNode(AgentNode):
    """A node of the fabric on which VPC CNI was at work; its pods are made by a runtime that knows its conflist."""

    def __init__(self, host: Node, *, connmark: str = "nftables", iptables: str = "iptables-nft") -> None:
        super().__init__(host=host)
        self.run_dir = self.folder / "aws-node"
        self.variables |= {
            "ENI_VPC_CNI_RUN_DIR": str(self.run_dir),
            "AWS_VPC_K8S_CNI_BACKING_STORE": str(self.checkpoint),
        }
        self.iptables = iptables
        self._results: dict[str, Any] = {}
        self._leave(connmark)

    @property
    def checkpoint(self) -> Path:
        """VPC CNI's file."""
        return self.run_dir / "ipam.json"

    @property
    def their_conflist(self) -> Path:
        """VPC CNI's conflist."""
        return self.folder / "conf" / "10-aws.conflist"

    def _leave(self, connmark: str) -> None:
        config = {
            "vpc": [VPC],
            "primary": {"ifname": "eth0", "address": PRIMARY.primary_ip},
            "enis": [
                {
                    "ifname": "eth1",
                    "address": f"{SECONDARY.primary_ip}/24",
                    "subnet": SECONDARY.subnet_cidr,
                    "gateway": "10.0.1.1",
                    "table": 2,
                }
            ],
            "free": list(FREE),
            "mtu": 9001,
            "connmark": connmark,
            "iptables": self.iptables,
            "conf_dir": str(self.folder / "conf"),
            "bin_dir": str(self.folder / "bin"),
        }
        path = self.folder / "vpc-cni.json"
        path.write_text(json.dumps(config))
        command = ["env", f"VPC_CNI_RUN_DIR={self.run_dir}", sys.executable, "-I", vpc_cni.__file__, "node", str(path)]
        self.host.run(command)

    def add_by_vpc_cni(self, name: str) -> Host:
        """Has VPC CNI set a pod up, as the runtime would; returns the pod."""
        pod = self._pods[name] = Host()
        self._results[name] = json.loads(self._run_theirs("ADD", name, pod.path))
        return pod

    def delete_by_vpc_cni(self, name: str) -> None:
        """Has VPC CNI's executable take a pod down, as a runtime that keeps the old configuration would."""
        pod = self._pods.pop(name)
        self._run_theirs("DEL", name, pod.path)
        pod.close()

    def stop_daemon(self) -> None:
        """From here on VPC CNI's executable finds no daemon."""
        pool = json.loads((self.run_dir / "pool.json").read_text())
        (self.run_dir / "pool.json").write_text(json.dumps(pool | {"daemon": False}))

    def _run_theirs(self, command: str, name: str, netns: str) -> str:
        conf = json.loads((self.their_conflist_anywhere()).read_text())
        stdin = {**conf["plugins"][0], "cniVersion": conf["cniVersion"], "name": conf["name"]}
        if command == "DEL":
            stdin["prevResult"] = self._results[name]
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": name,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID=uid-{name}",
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            ["nsenter", f"--net={self.host.path}", str(self.folder / "bin" / "aws-cni")],
            env=variables,
            input=json.dumps(stdin),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def their_conflist_anywhere(self) -> Path:
        """VPC CNI's conflist, set aside or not."""
        return next((self.folder / "conf").glob("10-aws.conflist*"))

    def traces(self) -> list[str]:
        """Returns every line of the node's network that VPC CNI has written, in words of the tools."""
        lines = [line for line in self.host.run(["ip", "-d", "rule"]).stdout.splitlines() if is_theirs(line)]
        lines += [
            line
            for line in self.host.run(["ip", "route", "show", "table", "main"]).stdout.splitlines()
            if " eni" in line
        ]
        for table in ("nat", "mangle"):
            shown = self.host.run([self.iptables, "-t", table, "-S"]).stdout.splitlines()
            lines += [f"{table} {line}" for line in shown if "AWS" in line]
        tables = self.host.run(["nft", "list", "tables"]).stdout.splitlines()
        return lines + [line for line in tables if "aws-cni" in line]


def is_theirs(rule: str) -> bool:
    """Tells whether a line of ``ip -d rule`` is of the kinds VPC CNI makes and not the kernel's or ours."""
    return rule.partition(":")[0] in {"512", "1024", "1535", "1536", "32765"} and "proto 169" not in rule


class Talk:
    """A conversation that goes on: a process in one namespace asks a peer without end."""

    def __init__(self, asker: Host, peer: str, pause: float = 0.05) -> None:
        """Begins it, with a ``pause`` in seconds between two rounds."""
        self._answers = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  closed by close(); a pipe that nobody reads would fill up
        command = ["nsenter", f"--net={asker.path}", sys.executable, "-IS", "-c", TALK, peer, str(pause)]
        self._process = subprocess.Popen(command, stdout=self._answers, text=True)

    def lines(self) -> list[str]:
        """Returns what was answered so far: the address the peer sees, or ``lost`` and why."""
        file = self._answers.fileno()  # whose position is where the process writes next: it is read and stays
        return os.pread(file, os.fstat(file).st_size, 0).decode().splitlines()

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it and forgets what was answered."""
        self.end()
        self._answers.close()


@contextlib.contextmanager
def echoing(*namespaces: str) -> Iterator[None]:
    """Every network namespace, by its path, answers on UDP 7777 with the address it sees."""
    with contextlib.ExitStack() as stack:
        for path in namespaces:
            command = ["nsenter", f"--net={path}", sys.executable, "-IS", "-c", ECHO]
            server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield
