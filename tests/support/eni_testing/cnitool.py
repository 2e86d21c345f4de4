"""The CNI project's own client on a node: what an independent runtime makes of our conflist and executable."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from eni_lab.errors import LabError
from eni_lab.kube import cnitool
from eni_lab.layout import Layout
from eni_testing.agents import AgentNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eni_testing.hosts import Host

DEBIAN_PLUGINS = Path("/usr/lib/cni")
CHAIN = ("portmap", "bandwidth", "tuning")
"""What can follow ours."""


@functools.cache
def programs() -> Mapping[str, Path]:
    """Both generations; skips the test, or fails it in CI, where they cannot be built."""
    try:
        return cnitool.ensure(Layout.from_env(os.environ, Path.home()).cache, print)
    except LabError as error:
        reason = f"cnitool cannot be built: {error}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; in CI that is a failure")
        pytest.skip(reason)


def require_plugin(name: str) -> Path:
    """Returns a plugin of Debian's containernetworking-plugins; skips the test, or fails it in CI, without."""
    path = DEBIAN_PLUGINS / name
    if not path.exists():
        reason = f"this test needs {path} of the package containernetworking-plugins"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; in CI that is a failure")
        pytest.skip(reason)
    return path


@contextlib.contextmanager
def serving_node(static_forwarder: list[str], *plugins: str, **variables: str) -> Iterator[AgentNode]:
    """Yields a node whose runtime has our executable and these plugins of Debian's, the agent serving."""
    node = AgentNode()
    try:
        shutil.copy(static_forwarder[0], node.folder / "bin" / "eni-cni")
        for plugin in plugins:
            shutil.copy(require_plugin(plugin), node.folder / "bin" / plugin)
        node.variables.update(variables)
        node.start_alone()
        yield node
    finally:
        node.close()


def address_of(result: Any) -> str:
    """Returns the address in the result of ADD."""
    address: str = result["ips"][0]["address"]
    return address.removesuffix("/32")


class Said(NamedTuple):
    """What cnitool has said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The result of ``add``."""
        assert self.exit_code == 0, self
        return json.loads(self.stdout)


SUCCESS = Said(0, "", "")


class CniTool:
    """Runs cnitool on a node, its cache of results in a folder of the test's own."""

    def __init__(self, generation: str, host: Host, conf_dir: Path, bin_dir: Path, cache: Path, socket: Path) -> None:
        self._program = programs()[generation]
        self._host = host
        self._cache = cache
        self._cache.mkdir(exist_ok=True)
        path = os.environ.get("PATH", "")
        environ = {"NETCONFPATH": str(conf_dir), "CNI_PATH": str(bin_dir), "ENI_AGENT_SOCKET": str(socket)}
        self._environ = {"PATH": path, "ENI_AGENT_TIMEOUT": "20", **environ}

    def call(
        self, verb: str, netns: str, *, network: str = "eni", ifname: str = "eth0", capabilities: Any = None
    ) -> Said:
        """Has a verb carried out for all plugins of a network's conflist."""
        environ = {**self._environ, "CNI_IFNAME": ifname}
        if capabilities is not None:
            environ["CAP_ARGS"] = json.dumps(capabilities)
        # The client's cache of results is at a fixed place, the machine's own is not to be touched.
        mounted = 'mount --bind "$1" /var/lib/cni && shift && exec "$@"'
        if not Path("/var/lib/cni").exists():
            mounted = "mount -t tmpfs none /var/lib && mkdir /var/lib/cni && " + mounted
        command = ["unshare", "--mount", "sh", "-ec", mounted, "sh", str(self._cache), str(self._program)]
        done = subprocess.run(
            ["nsenter", f"--net={self._host.path}", *command, verb, network, netns],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def forget(self) -> None:
        """Loses the cache of results, as a runtime does whose disk is new."""
        for path in self._cache.rglob("*"):
            if path.is_file():
                path.unlink()
