"""A container runtime that may say anything to the CNI executable, and the shape its answers must have."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from eni_testing import cni

if TYPE_CHECKING:
    from pathlib import Path

_INTERFACE = {"name", "mac", "sandbox"}
_IP = {"address", "gateway", "interface"}
_ROUTE = {"dst", "gw"}


class Answer(NamedTuple):
    """All that a runtime sees."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.stdout)

    @property
    def code(self) -> int:
        """The error's code, once it is certain that the answer is an error as the specification has it."""
        assert self.exit_code != 0, self
        assert self.stderr == b"", self
        error = self.json
        assert {"cniVersion", "code", "msg"} <= set(error) <= {"cniVersion", "code", "msg", "details"}, error
        assert isinstance(error["code"], int), error
        assert isinstance(error["msg"], str), error
        assert error["msg"], error
        assert "\n" not in error["msg"], error
        return int(error["code"])


DONE = Answer(0, b"", b"")
"""Success without a word, as of every verb but ADD and VERSION."""


class Client:
    """Calls one executable, which talks to one agent."""

    def __init__(self, executable: list[str], socket: Path, timeout: int = 20) -> None:
        self._executable = executable
        self._agent = {"ENI_AGENT_SOCKET": str(socket), "ENI_AGENT_TIMEOUT": str(timeout)}

    def call(
        self,
        verb: str,
        *,
        version: str = "1.1.0",
        container_id: str = "c1",
        netns: str = "",
        ifname: str = "eth0",
        stdin: bytes | None = None,
        variables: dict[str, str] | None = None,
        **fields: Any,
    ) -> Answer:
        """Has a verb carried out. ``variables`` are put over the runtime's, ``fields`` over the configuration's.

        ``stdin`` stands instead of the configuration.
        """
        environ = {**cni.environ(verb, container_id, netns, ifname), **self._agent, **(variables or {})}
        document = {**cni.CONFIG, "cniVersion": version, **fields}
        data = json.dumps(document).encode() if stdin is None else stdin
        done = subprocess.run(self._executable, env=environ, input=data, capture_output=True, check=False, timeout=40)
        return Answer(done.returncode, done.stdout, done.stderr)


def faults(result: Any, version: str, netns: str) -> list[str]:
    """Returns in sentences where a result of ADD is not of the shape its version prescribes."""
    interface = _INTERFACE | ({"mtu"} if version == "1.1.0" else set())
    ip = _IP | ({"version"} if version.startswith("0.") else set())
    found = [] if result.get("cniVersion") == version else [f"cniVersion is {result.get('cniVersion')}"]
    found += _unknown("the result", result, {"cniVersion", "interfaces", "ips", "routes", "dns"})
    for each in result["interfaces"]:
        found += _unknown("an interface", each, interface)
        found += [] if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", each["mac"]) else [f"mac is {each['mac']}"]
        found += [] if each.get("sandbox", netns) == netns else [f"sandbox is {each['sandbox']}"]
        found += [] if version != "1.1.0" or isinstance(each["mtu"], int) else [f"mtu is {each['mtu']}"]
    for each in result["ips"]:
        found += _unknown("an address", each, ip)
        family = ipaddress.ip_interface(each["address"]).version
        found += [] if each.get("version", str(family)) == str(family) else [f"version is {each['version']}"]
        found += [] if ("version" in each) == version.startswith("0.") else [f"version in a result of {version}"]
        found += [] if "sandbox" in result["interfaces"][each["interface"]] else ["an address is on no pod's interface"]
        ipaddress.ip_address(each["gateway"])
    for each in result["routes"]:
        found += _unknown("a route", each, _ROUTE)
        ipaddress.ip_network(each["dst"])
    return found


def _unknown(what: str, document: Any, known: set[str]) -> list[str]:
    return [f"{what} has {key}" for key in document if key not in known]
