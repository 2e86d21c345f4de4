"""podman with its CNI backend, another runtime of another make, on the conflist that the agent has written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eni_lab.waiting import wait_for
from eni_testing.agents import AgentNode
from eni_testing.cnitool import require_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

BUSYBOX = Path("/bin/busybox")
CONFIGURATION = """
[network]
network_backend = "cni"
network_config_dir = "{conf}"
cni_plugin_dirs = ["{bin}"]
default_network = "eni"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
[containers]
log_driver = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
HOLD = """
mkdir -p /run/netns
for place in /var/lib /run/netns; do mount -t tmpfs none $place; done
mkdir /var/lib/cni
echo ready
exec sleep infinity
"""


class Podman:
    """podman on a node, with storage and mounts of its own."""

    def __init__(self, node: AgentNode, base: Path) -> None:
        (base / "containers.conf").write_text(CONFIGURATION.format(conf=node.folder / "conf", bin=node.folder / "bin"))
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(base),
            "TMPDIR": str(base),
            "CONTAINERS_CONF": str(base / "containers.conf"),
            "ENI_AGENT_SOCKET": str(node.socket_path),
            "ENI_AGENT_TIMEOUT": "10",
        }
        folders = [
            f"--{option}={base / folder}" for option, folder in (("root", "s"), ("runroot", "r"), ("tmpdir", "t"))
        ]
        self._options = [*folders, "--storage-driver=vfs"]
        # What one podman mounts, as a container's namespace, the next must see, and nobody else.
        holder = ["nsenter", f"--net={node.host.path}", "unshare", "--mount", "sh", "-ec", HOLD]
        self._holder = subprocess.Popen(holder, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--target={self._holder.pid}", "--mount", "--net"]
        command = [*inside, "podman", *self._options, *arguments]
        return subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False, timeout=60)

    def close(self) -> None:
        self("rm", "--all", "--force", "--time=0")
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@pytest.fixture
def node(static_forwarder: list[str]) -> Iterator[AgentNode]:
    missing = [name for name in ("podman", "runc") if shutil.which(name) is None]
    missing += [] if BUSYBOX.exists() else ["busybox-static"]
    if missing:
        reason = f"this test needs {' and '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; in CI that is a failure")
        pytest.skip(reason)
    made = AgentNode()
    try:
        shutil.copy(static_forwarder[0], made.folder / "bin" / "eni-cni")
        shutil.copy(require_plugin("portmap"), made.folder / "bin" / "portmap")
        made.start_alone()
        yield made
    finally:
        made.close()


@pytest.fixture
def podman(node: AgentNode) -> Iterator[Podman]:
    with tempfile.TemporaryDirectory(prefix="eni-podman-") as folder:  # podman takes no path of more than 50 bytes
        made = Podman(node, Path(folder))
        yield made
        made.close()


@pytest.fixture
def root(tmp_path: Path) -> str:
    """The smallest of root file systems."""
    (tmp_path / "tree" / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, tmp_path / "tree" / "bin" / "busybox")
    return str(tmp_path / "tree")


def test_a_container_lives_and_goes(node: AgentNode, podman: Podman, root: str) -> None:
    listed = podman("network", "ls", "--format={{.Name}} {{.Driver}}")
    assert (listed.returncode, listed.stdout) == (0, "eni eni-cni\n"), listed.stderr
    serve = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin")
    started = podman("run", "--detach", "--name=web", "--network=eni", "--publish=30500:80", "--rootfs", root, *serve)
    assert started.returncode == 0, started.stderr
    address = podman("inspect", "--format={{.NetworkSettings.Networks.eni.IPAddress}}", "web").stdout.strip()
    assert node.host.reaches(address)
    fetch = ["busybox", "wget", "-q", "-O", "/dev/null", "http://10.0.250.10:30500/busybox"]
    wait_for("the host port answers", lambda: node.host.run(fetch, check=False).returncode == 0, seconds=10)
    default = podman("exec", "web", "/bin/busybox", "ip", "route").stdout
    assert "default via 169.254.1.1 dev eth0" in default
    assert podman("rm", "--force", "--time=0", "web").returncode == 0
    assert f"{address} " not in node.host.run(["ip", "route", "show", "table", "512"]).stdout
    assert "30500" not in node.host.run(["iptables-save", "-t", "nat"]).stdout


def test_a_container_goes_while_no_agent_runs_and_none_comes(node: AgentNode, podman: Podman, root: str) -> None:
    sleep = ("/bin/busybox", "sleep", "600")
    run = ("run", "--detach", "--network=eni", "--rootfs", root, *sleep)
    assert podman(*run).returncode == 0
    node.stop(signal.SIGKILL)
    refused = podman(*run)
    assert refused.returncode != 0
    assert "cannot reach the agent at" in refused.stderr
    removed = podman("rm", "--all", "--force", "--time=0")
    assert removed.returncode == 0, removed.stderr
    node.start()
    log = "address of a departed sandbox released"
    wait_for("its address is taken back", lambda: log in node.log, seconds=15)
