"""Behind other plugins, and called by a meta-plugin with its own configuration, network and interface name."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from eni_testing.agents import AgentNode
from eni_testing.cni_client import DONE, Client, faults
from eni_testing.cnitool import SUCCESS, CniTool, require_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from eni_testing.cni import Pod

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

EARLIER = f'''#!{sys.executable} -IS
"""A plugin before ours in the list: has made a link and knows the DNS servers; later it has nothing to do."""
import json, os, sys
config = json.load(sys.stdin)
if os.environ["CNI_COMMAND"] == "ADD":
    interfaces = [{{"name": "earlier0"}}, {{"name": "inner0", "sandbox": os.environ["CNI_NETNS"]}}]
    ips = [{{"address": "192.168.7.2/24", "interface": 1}}]
    result = {{"interfaces": interfaces, "ips": ips, "dns": {{"nameservers": ["10.0.0.2"]}}}}
    print(json.dumps({{"cniVersion": config["cniVersion"], **result}}))
'''
META = f'''#!{sys.executable} -IS
"""A meta-plugin as Multus is one: calls its delegates with their own configurations, eth0 first, net1 and so on."""
import json, os, subprocess, sys
config, verb = json.load(sys.stdin), os.environ["CNI_COMMAND"]
calls = [("eth0" if number == 0 else f"net{{number}}", each) for number, each in enumerate(config["delegates"])]
results = []
for ifname, delegate in calls if verb != "DEL" else reversed(calls):
    path = os.path.join(os.environ["CNI_PATH"], delegate["type"])
    stdin = {{"cniVersion": config["cniVersion"], **delegate}}
    if verb == "CHECK":
        stdin["prevResult"] = json.load(open(f"{{config['state']}}/{{ifname}}"))
    done = subprocess.run([path], env=dict(os.environ, CNI_IFNAME=ifname), input=json.dumps(stdin).encode(),
                          stdout=subprocess.PIPE)
    if done.returncode:
        sys.stdout.buffer.write(done.stdout)
        sys.exit(done.returncode)
    if verb == "ADD":
        open(f"{{config['state']}}/{{ifname}}", "wb").write(done.stdout)
        results.append(done.stdout)
if results:
    sys.stdout.buffer.write(results[0])
'''


@pytest.fixture(scope="module")
def machine(static_forwarder: list[str]) -> Iterator[AgentNode]:
    made = AgentNode()
    try:
        bin_dir = made.folder / "bin"
        shutil.copy(static_forwarder[0], bin_dir / "eni-cni")
        for name, text in (("earlier", EARLIER), ("meta", META)):
            (bin_dir / name).write_text(text)
            (bin_dir / name).chmod(0o755)
        made.start_alone()
        yield made
    finally:
        made.close()


class Site:
    """A conflist of the test's own on that node."""

    def __init__(self, machine: AgentNode, base: Path) -> None:
        self.machine = machine
        self.state, self.conf, self._cache = base / "state", base / "net.d", base / "cache"
        self.state.mkdir()
        self.conf.mkdir()

    def tool(self, generation: str, *plugins: dict[str, Any], version: str = "1.0.0") -> CniTool:
        document = {"cniVersion": version, "name": "meta-network", "plugins": plugins}
        (self.conf / "00-meta.conflist").write_text(json.dumps(document))
        bin_dir = self.machine.folder / "bin"
        return CniTool(generation, self.machine.host, self.conf, bin_dir, self._cache, self.machine.socket_path)

    def routes(self) -> str:
        return self.machine.host.run(["ip", "route", "show", "table", "512"]).stdout


@pytest.fixture
def site(machine: AgentNode, tmp_path: Path) -> Site:
    return Site(machine, tmp_path)


OURS = {"type": "eni-cni", "mtu": 9001}


@pytest.mark.parametrize(
    ("generation", "version"),
    [("current", "1.1.0"), ("current", "0.4.0"), ("previous", "1.0.0"), ("previous", "0.4.0"), ("previous", "0.3.1")],
)
def test_behind_another_plugin_its_result_is_kept(site: Site, pod: Pod, generation: str, version: str) -> None:
    tool = site.tool(generation, {"type": "earlier"}, OURS, version=version)
    result = tool.call("add", pod.path, network="meta-network").json
    assert [each["name"] for each in result["interfaces"]][:2] == ["earlier0", "inner0"]
    assert [result["interfaces"][ip["interface"]]["name"] for ip in result["ips"]] == ["inner0", "eth0"]
    assert result["dns"] == {"nameservers": ["10.0.0.2"]}
    assert result["cniVersion"] == version
    if version != "0.3.1":
        assert tool.call("check", pod.path, network="meta-network") == SUCCESS
    assert tool.call("del", pod.path, network="meta-network") == SUCCESS
    assert site.routes() == ""


def test_as_the_default_delegate_of_a_meta_plugin_with_another_network_beside(site: Site, pod: Pod) -> None:
    """What Multus does on a node: eth0 from the cluster's network, net1 from a network of a pod's annotation."""
    shutil.copy(require_plugin("ptp"), site.machine.folder / "bin" / "ptp")
    shutil.copy(require_plugin("host-local"), site.machine.folder / "bin" / "host-local")
    ipam = {"type": "host-local", "subnet": "192.168.77.0/24", "dataDir": str(site.state / "ipam")}
    delegates = [{**OURS, "name": "eni"}, {"type": "ptp", "name": "storage", "ipam": ipam}]
    tool = site.tool("current", {"type": "meta", "delegates": delegates, "state": str(site.state)})
    result = tool.call("add", pod.path, network="meta-network").json
    assert faults(result, "1.0.0", pod.path) == []
    address = result["ips"][0]["address"].removesuffix("/32")
    assert site.machine.host.reaches(address)
    assert "192.168.77." in pod.run(["ip", "address", "show", "net1"]).stdout
    assert "default via 169.254.1.1 dev eth0" in pod.run(["ip", "route"]).stdout
    assert tool.call("check", pod.path, network="meta-network") == SUCCESS
    assert tool.call("del", pod.path, network="meta-network") == SUCCESS
    assert f"{address} " not in site.routes()


def test_several_attachments_of_ours_live_in_one_pod(site: Site, pod: Pod) -> None:
    """eth0 is the way to everywhere; what is sent from the address of net1 or net2 goes by it, by its own table."""
    delegates = [{**OURS, "name": name} for name in ("eni", "storage", "backup")]
    tool = site.tool("current", {"type": "meta", "delegates": delegates, "state": str(site.state)}, version="1.1.0")
    assert tool.call("add", pod.path, network="meta-network").exit_code == 0
    results = {name: json.loads((site.state / name).read_text()) for name in ("eth0", "net1", "net2")}
    addresses = {name: result["ips"][0]["address"].removesuffix("/32") for name, result in results.items()}
    assert [result["ips"][0]["gateway"] for result in results.values()] == ["169.254.1.1", "169.254.1.2", "169.254.1.3"]
    assert [len(result["routes"]) for result in results.values()] == [1, 0, 0]
    for name, result in results.items():
        assert faults(result, "1.1.0", pod.path) == []
        assert result["interfaces"][1]["name"] == name
        assert site.machine.host.reaches(addresses[name])
        assert pod.reaches("10.0.250.10", source=addresses[name])
    assert "default via 169.254.1.1 dev eth0" in pod.run(["ip", "route"]).stdout
    assert tool.call("check", pod.path, network="meta-network") == SUCCESS
    pod.run(["ip", "route", "flush", "table", "2"])
    broken = tool.call("check", pod.path, network="meta-network").stderr
    assert "the pod lacks" in broken
    assert tool.call("del", pod.path, network="meta-network") == SUCCESS
    assert not [address for address in addresses.values() if f"{address} " in site.routes()]


def test_one_attachment_of_several_comes_and_goes_and_the_others_stay(
    machine: AgentNode, make_runtime: Callable[[AgentNode], Client], pod: Pod
) -> None:
    runtime = make_runtime(machine)

    def call(verb: str, ifname: str, **fields: Any) -> Any:
        return runtime.call(verb, container_id="several", netns=pod.path, ifname=ifname, name=f"of-{ifname}", **fields)

    first = call("ADD", "eth0").json
    for _ in range(3):  # the rule of the last one is still in the pod
        second = call("ADD", "net1")
        assert second.exit_code == 0, second
        assert call("ADD", "net1") == second, "again, the same"
        assert call("CHECK", "net1", prevResult=second.json) == DONE
        assert call("CHECK", "eth0", prevResult=first) == DONE
        assert call("DEL", "net1") == DONE
        assert pod.reaches("10.0.250.10")
        assert call("CHECK", "eth0", prevResult=first) == DONE
    assert call("DEL", "eth0") == DONE


def test_beside_another_networks_default_route_ours_keeps_to_its_own_addresses(site: Site, pod: Pod) -> None:
    for plugin in ("ptp", "host-local"):
        shutil.copy(require_plugin(plugin), site.machine.folder / "bin" / plugin)
    ipam: dict[str, Any] = {"type": "host-local", "subnet": "192.168.78.0/24", "dataDir": str(site.state / "ipam")}
    ipam["routes"] = [{"dst": "0.0.0.0/0"}]
    delegates = [{"type": "ptp", "name": "other", "ipam": ipam}, {**OURS, "name": "eni"}]
    tool = site.tool("current", {"type": "meta", "delegates": delegates, "state": str(site.state)})
    assert tool.call("add", pod.path, network="meta-network").exit_code == 0
    before = pod.run(["ip", "route"]).stdout
    assert "default via 192.168.78.1 dev eth0" in before
    result = json.loads((site.state / "net1").read_text())
    address = result["ips"][0]["address"].removesuffix("/32")
    assert pod.reaches("10.0.250.10", source=address)
    assert result["routes"] == []
    assert tool.call("check", pod.path, network="meta-network") == SUCCESS
    assert tool.call("del", pod.path, network="meta-network") == SUCCESS


def test_the_network_of_an_attachment_is_the_configurations_name(
    machine: AgentNode, static_forwarder: list[str], pod: Pod
) -> None:
    """GC of one network leaves the attachments of another, whichever ones a meta-plugin makes."""
    runtime = Client(static_forwarder, machine.socket_path)
    result = runtime.call("ADD", container_id="shared", netns=pod.path, name="storage").json
    nobody: dict[str, Any] = {"cni.dev/valid-attachments": []}
    assert runtime.call("GC", name="eni", **nobody) == DONE
    assert runtime.call("CHECK", container_id="shared", netns=pod.path, name="eni", prevResult=result).code == 3
    check = runtime.call("CHECK", container_id="shared", netns=pod.path, name="storage", prevResult=result)
    assert check == DONE
    assert runtime.call("GC", name="storage", **nobody) == DONE
    assert runtime.call("CHECK", container_id="shared", netns=pod.path, name="storage", prevResult=result).code == 3


def test_any_interface_name_will_do(machine: AgentNode, make_runtime: Callable[[AgentNode], Client], pod: Pod) -> None:
    runtime = make_runtime(machine)
    result = runtime.call("ADD", container_id="named", netns=pod.path, ifname="net1").json
    assert result["interfaces"][1]["name"] == "net1"
    assert pod.reaches("10.0.250.10")
    assert runtime.call("DEL", container_id="named", ifname="eth0") == DONE, "another attachment, which is not there"
    assert pod.reaches("10.0.250.10")
    assert runtime.call("DEL", container_id="named", ifname="net1") == DONE


@pytest.fixture
def make_runtime(static_forwarder: list[str]) -> Callable[[AgentNode], Client]:
    return lambda node: Client(static_forwarder, node.socket_path)
