"""A node: an instance's namespaces and disk, and in them containerd, kubelet and kube-proxy.

Its network interfaces are the fabric's to make; this module tells the fabric where, and waits for the address.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from eni_lab.cgroups import Cgroup
from eni_lab.cloud_client import Cloud
from eni_lab.errors import LabError
from eni_lab.kube import seed
from eni_lab.kube.binaries import Binaries
from eni_lab.kube.certificates import issue, node_identity
from eni_lab.layout import Layout
from eni_lab.node import config
from eni_lab.node.config import Instance
from eni_lab.processes import (
    LAB_NAMESPACES,
    NODE_NAMESPACES,
    Parts,
    has_become,
    inside,
    number_in,
    only_child,
    reap,
    spawn,
)
from eni_lab.waiting import wait_for

BOOT = Path(__file__).parent / "boot.sh"
MACHINES_PLUGINS = Path("/usr/lib/cni")
PLUGINS = ("loopback", "portmap", "bandwidth", "tuning", "ptp", "host-local")
"""CNI executables of Debian's package that a node's image brings, as an AMI does; no configuration."""


class Machine:
    """One node of the laboratory. Its record on disk is what tells a later command of it."""

    def __init__(self, layout: Layout, parts: Parts, cgroup: Cgroup, instance: Instance) -> None:
        self.instance = instance
        self.name = instance.node
        self._layout = layout
        self._parts = parts
        self._cgroup = cgroup
        self._folder = layout.nodes / instance.node
        self._disk = self._folder / "disk"

    @property
    def pid(self) -> int | None:
        """Its first process, while it is switched on."""
        return self._parts.pid(self.name)

    def command(self, *command: str | Path) -> list[str]:
        """A command run as a process of the node.

        Raises:
            LabError: it is switched off.
        """
        if self.pid is None:
            raise LabError(f"node {self.name} is switched off")
        return inside(self.pid, NODE_NAMESPACES, *command)

    def install(self, proxy_mode: str = "nftables", files: Mapping[str, str] = MappingProxyType({})) -> None:
        """Makes its disk: the laboratory's images, its credentials and configuration, and ``files``, text by path."""
        (self._disk / "opt/cni/bin").mkdir(parents=True)
        for plugin in PLUGINS:
            shutil.copy(MACHINES_PLUGINS / plugin, self._disk / "opt/cni/bin")
        for path, text in files.items():
            (self._disk / path).parent.mkdir(parents=True, exist_ok=True)
            (self._disk / path).write_text(text)
        seed.share(self._layout.image_store, self._disk / "var/lib/containerd")
        issue(self._layout, node_identity(self.name, self.instance.address))
        (self._folder / "containerd.toml").write_text(config.CONTAINERD)
        (self._folder / "kubelet.json").write_text(json.dumps(config.kubelet(self.instance, self._layout.pki)))
        proxy = config.kube_proxy(self.instance, self._layout.kubeconfig("proxy"), proxy_mode)
        (self._folder / "kube-proxy.json").write_text(json.dumps(proxy))
        (self._folder / "instance.json").write_text(json.dumps(asdict(self.instance)))

    def switch_on(self, lab: int, pause: Path, binaries: Binaries, cloud: Cloud) -> None:
        """Boots it: namespaces, network, runtime, kubelet."""
        first = self._boot(lab, pause, binaries)
        cloud.connect(self.instance, number_in(first, 1))
        self._start("containerd", "containerd", "-c", self._folder / "containerd.toml")
        self._wait_for_runtime()
        self._wait_for_address()
        self._start(
            "kubelet",
            binaries["kubelet"],
            f"--config={self._folder / 'kubelet.json'}",
            f"--kubeconfig={self._layout.kubeconfig(self.name)}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.instance.node_ips}",
            f"--node-labels={self.instance.labels}",
        )
        self._start("kube-proxy", binaries["kube-proxy"], f"--config={self._folder / 'kube-proxy.json'}")

    def ensure_kubelet(self) -> None:
        """Starts the kubelet again if it ended, as systemd would: it does while the runtime is not quite up."""
        if self._parts.pid(f"{self.name}.kubelet") is None:
            self._parts.start_again(f"{self.name}.kubelet")

    def switch_off(self) -> None:
        """Cuts the power: all its processes end at once, its disk stays."""
        self._cgroup.kill(self.name)
        wait_for(f"namespaces of {self.name} ended", lambda: self.pid is None, seconds=20)
        self._cgroup.remove(self.name)
        reap()

    def discard(self) -> None:
        """Forgets a node that is switched off, with its disk."""
        self._parts.forget(f"{self.name}.")
        shutil.rmtree(self._folder)

    def _boot(self, lab: int, pause: Path, binaries: Binaries) -> int:
        groups = self._cgroup.create(self.name)
        self._disk.mkdir(parents=True, exist_ok=True)
        shared = {self._layout.state, self._layout.stores, *(path.parent for path in binaries.values())}
        new = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
        boot: list[str | Path] = ["sh", BOOT, self.name, self._disk, *sorted(shared), "--", pause]
        log = self._layout.logs / f"{self.name}.log"
        outer = spawn(inside(lab, LAB_NAMESPACES, "unshare", *new, *boot), log, groups)
        first = only_child(only_child(outer))  # nsenter, unshare, the node's first process
        self._parts.remember(self.name, first)
        wait_for(f"node {self.name} booted (see {log})", lambda: has_become(first, "pause"), seconds=20)
        return first

    def _start(self, part: str, *command: str | Path) -> None:
        self._parts.start(f"{self.name}.{part}", self.command(*command), self.name)

    def _wait_for_runtime(self) -> None:
        """A kubelet that finds no runtime ends at once."""
        asking = self.command("ctr", "version")
        wait_for(
            f"containerd of {self.name} answers",
            lambda: subprocess.run(asking, capture_output=True, check=False).returncode == 0,
            seconds=30,
            interval=0.05,
        )

    def _wait_for_address(self) -> None:
        asking = self.command("ip", "-4", "-o", "address", "show", "dev", "eth0")

        def configured() -> bool:
            answer = subprocess.run(asking, capture_output=True, text=True, check=False)
            return f" {self.instance.address}/" in answer.stdout

        wait_for(f"eth0 of {self.name} has {self.instance.address}", configured, seconds=30, interval=0.05)


def load(layout: Layout) -> list[Instance]:
    """The nodes that a laboratory has, from their records."""
    return [Instance(**json.loads(file.read_text())) for file in sorted(layout.nodes.glob("*/instance.json"))]
