"""The CNI project's own client, of both generations, on the conflist that the agent has written."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from eni_lab.waiting import wait_for
from eni_testing.cni import Pod
from eni_testing.cni_client import faults
from eni_testing.cnitool import CHAIN, SUCCESS, CniTool, address_of, serving_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eni_testing.agents import AgentNode

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]  # cnitool is built when it is needed first

NODE_ADDRESS = "10.0.250.10"


@pytest.fixture(scope="module")
def plain(static_forwarder: list[str]) -> Iterator[AgentNode]:
    """A node where our plugin is alone."""
    with serving_node(static_forwarder) as node:
        yield node


@pytest.fixture
def other() -> Iterator[Pod]:
    pod = Pod()
    yield pod
    pod.close()


@pytest.mark.parametrize(("generation", "version"), [("current", "1.1.0"), ("previous", "1.0.0")])
def test_each_generation_takes_the_newest_version_it_knows(
    plain: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod, generation: str, version: str
) -> None:
    tool = make_tool(generation, plain)
    result = tool.call("add", pod.path).json
    assert faults(result, version, pod.path) == []
    assert plain.host.reaches(address_of(result))
    assert tool.call("check", pod.path) == SUCCESS
    pod.run(["ip", "route", "delete", "default"])
    broken = tool.call("check", pod.path)
    assert (broken.exit_code, "default route" in broken.stderr) == (1, True)
    assert tool.call("del", pod.path) == SUCCESS
    assert tool.call("del", pod.path) == SUCCESS
    wait_for("the link goes", lambda: "eth0" not in pod.run(["ip", "-br", "link"]).stdout, seconds=5)


def test_status_and_gc_reach_us_through_the_client(
    plain: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod, other: Pod
) -> None:
    tool = make_tool("current", plain)
    assert tool.call("status", pod.path) == SUCCESS
    addresses = [address_of(tool.call("add", each.path).json) for each in (pod, other)]
    assert tool.call("gc", pod.path) == SUCCESS
    routes = plain.host.run(["ip", "route", "show", "table", "512"]).stdout
    assert not [address for address in addresses if f"{address} " in routes], "this client counts nobody as valid"


@pytest.mark.parametrize("generation", ["current", "previous"])
def test_del_succeeds_with_cache_namespace_and_agent_gone(
    plain: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod, generation: str
) -> None:
    tool = make_tool(generation, plain)
    tool.call("add", pod.path)
    tool.forget()
    assert tool.call("del", pod.path) == SUCCESS
    gone = Pod()
    tool.call("add", gone.path)
    path = gone.path
    gone.close()
    assert tool.call("del", path) == SUCCESS
    without = CniTool(generation, plain.host, plain.folder / "conf", plain.folder / "bin", plain.folder, plain.folder)
    assert without.call("del", pod.path) == SUCCESS


def test_what_one_generation_has_added_the_other_takes_away(
    plain: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod
) -> None:
    """A runtime is upgraded while its pods run."""
    address = address_of(make_tool("previous", plain).call("add", pod.path).json)
    assert make_tool("current", plain).call("check", pod.path) == SUCCESS
    assert make_tool("current", plain).call("del", pod.path) == SUCCESS
    assert not plain.host.reaches(address, timeout=0.2)


def test_the_chain_is_all_that_was_asked_for_in_the_version_all_speak(chained: AgentNode) -> None:
    document = json.loads(chained.conflist.read_text())
    assert [plugin["type"] for plugin in document["plugins"]] == ["eni-cni", *CHAIN]
    assert document["cniVersion"] == "1.0.0"
    assert "cniVersions" not in document, "Debian's plugins know no 1.1.0"
    assert document["disableCheck"] is True


@pytest.mark.parametrize("generation", ["current", "previous"])
def test_check_is_not_asked_of_plugins_that_fail_it_on_a_sound_pod(
    chained: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod, generation: str
) -> None:
    """Debian's bandwidth panics where a pod has no limit, its portmap looks for IPv4's chain in IPv6's table too."""
    tool = make_tool(generation, chained)
    tool.call("add", pod.path)
    assert tool.call("check", pod.path) == SUCCESS
    tool.call("del", pod.path)


class Server:
    """Serves in a pod: answers each connection with its peer's address, or takes all it is sent."""

    def __init__(self, pod: Pod, port: int) -> None:
        self._listener = pod.call(socket.create_server, ("0.0.0.0", port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(20)
                while data := connection.recv(1 << 16):
                    if data.endswith(b"."):
                        connection.sendall(b"taken")


@pytest.mark.parametrize("generation", ["current", "previous"])
def test_a_host_port_reaches_the_pod_and_goes_with_it(
    chained: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod, other: Pod, generation: str
) -> None:
    tool = make_tool(generation, chained)
    ports = {"portMappings": [{"hostPort": 30123, "containerPort": 8080, "protocol": "tcp"}]}
    tool.call("add", other.path)
    result = tool.call("add", pod.path, capabilities=ports).json
    assert faults(result, "1.0.0", pod.path) == []
    server = Server(pod, 8080)
    try:
        for client in (other, chained.host):
            with client.call(socket.create_connection, (NODE_ADDRESS, 30123), timeout=5) as connection:
                connection.sendall(b"hello.")
                assert connection.recv(5) == b"taken"
    finally:
        server.close()
    assert "30123" in chained.host.run(["iptables-save", "-t", "nat"]).stdout
    for each in (pod, other):
        assert tool.call("del", each.path, capabilities=ports if each is pod else None) == SUCCESS
    assert "30123" not in chained.host.run(["iptables-save", "-t", "nat"]).stdout


def test_a_pod_has_no_ipv6_where_that_was_asked_for(
    chained: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod
) -> None:
    tool = make_tool("current", chained)
    before = pod.run(["cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6"]).stdout
    tool.call("add", pod.path)
    values = [f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6" for link in ("all", "default", "lo", "eth0")]
    assert (before, pod.run(["cat", *values]).stdout) == ("0\n", "1\n" * 4)
    assert "inet6" not in pod.run(["ip", "address"]).stdout
    tool.call("del", pod.path)
