"""CHECK compares: whatever is broken in the kernel, in the result or in the ledger is named."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from eni_testing.cni_client import DONE

if TYPE_CHECKING:
    from eni_testing.agents import AgentNode
    from eni_testing.cni import Pod
    from eni_testing.cni_client import Client

pytestmark = pytest.mark.netns

IN_POD = {
    "link gone": ("ip link delete eth0", ["eth0", "does not exist"]),
    "link down": ("ip link set eth0 down", ["eth0 is down"]),
    "link renamed": ("ip link set eth0 down; ip link set eth0 name eth9", ["eth0 does not exist"]),
    "MAC changed": ("ip link set eth0 address 02:00:00:00:00:09", ["eth0", "02:00:00:00:00:09"]),
    "MTU changed": ("ip link set eth0 mtu 1400", ["eth0", "MTU 1400"]),
    "address gone": ("ip address delete {address}/32 dev eth0", ["the address {address}/32"]),
    "address of another length": (
        "ip address delete {address}/32 dev eth0; ip address add {address}/24 dev eth0",
        ["the address {address}/32"],
    ),
    "default route gone": ("ip route delete default", ["default route"]),
    "default route elsewhere": ("ip route replace default dev lo", ["default route"]),
    "route to the gateway gone": ("ip route delete 169.254.1.1", ["the route 169.254.1.1/32"]),
    "gateway's neighbour gone": ("ip neigh delete 169.254.1.1 dev eth0", ["the neighbour 169.254.1.1"]),
    "gateway's neighbour wrong": (
        "ip neigh replace 169.254.1.1 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        ["the neighbour 169.254.1.1"],
    ),
    "gateway's neighbour not permanent": (
        "ip neigh replace 169.254.1.1 lladdr {mac} dev eth0 nud reachable",
        ["the neighbour 169.254.1.1"],
    ),
}
ON_HOST = {
    "link gone": ("ip link delete {host}", ["{host} does not exist"]),
    "link down": ("ip link set {host} down", ["{host} is down"]),
    "MAC changed": ("ip link set {host} address 02:00:00:00:00:09", ["{host}", "02:00:00:00:00:09"]),
    "MTU changed": ("ip link set {host} mtu 1400", ["{host}", "MTU 1400"]),
    "route gone": ("ip route delete {address} table 512", ["table 512", "{address}/32"]),
    "route elsewhere": ("ip route replace {address} dev lo table 512", ["table 512", "{address}/32"]),
    "neighbour gone": ("ip neigh delete {address} dev {host}", ["neighbour {address}"]),
    "neighbour wrong": (
        "ip neigh replace {address} lladdr 02:00:00:00:00:09 dev {host} nud permanent",
        ["neighbour {address}"],
    ),
}


class Attached:
    """A pod on the network, and how its runtime knows it."""

    def __init__(self, runtime: Client, pod: Pod) -> None:
        self._runtime = runtime
        self._names: dict[str, Any] = {"container_id": uuid.uuid4().hex, "netns": pod.path}
        self.result = runtime.call("ADD", **self._names).json
        host, _ = self.result["interfaces"]
        address = self.result["ips"][0]["address"].removesuffix("/32")
        self.values = {"address": address, "host": host["name"], "mac": host["mac"]}

    def check(self, **fields: Any) -> Any:
        return self._runtime.call("CHECK", **self._names, **{"prevResult": self.result, **fields})


@pytest.fixture
def attached(runtime: Client, pod: Pod) -> Attached:
    return Attached(runtime, pod)


@pytest.mark.parametrize(("command", "words"), IN_POD.values(), ids=IN_POD)
def test_what_is_broken_in_the_pod_is_named(attached: Attached, pod: Pod, command: str, words: list[str]) -> None:
    assert attached.check() == DONE
    pod.run(["sh", "-e", "-c", command.format(**attached.values)])
    answer = attached.check()
    assert answer.code == 102
    assert all(word.format(**attached.values) in answer.json["msg"] for word in words), answer


@pytest.mark.parametrize(("command", "words"), ON_HOST.values(), ids=ON_HOST)
def test_what_is_broken_on_the_host_is_named(
    attached: Attached, node: AgentNode, command: str, words: list[str]
) -> None:
    assert attached.check() == DONE
    node.host.run(["sh", "-e", "-c", command.format(**attached.values)])
    answer = attached.check()
    assert answer.code == 102
    assert all(word.format(**attached.values) in answer.json["msg"] for word in words), answer


def test_a_link_that_leads_elsewhere_is_named(attached: Attached, node: AgentNode, pod: Pod) -> None:
    host, inside = attached.result["interfaces"]
    node.host.run(["ip", "link", "delete", host["name"]])
    settings = ["mtu", "9001", "address"]
    node.host.run(["ip", "link", "add", host["name"], *settings, host["mac"], "type", "veth", "peer", "strange"])
    pod.run(["ip", "link", "add", "eth0", *settings, inside["mac"], "type", "veth", "peer", "other"])
    assert f"{host['name']} does not lead to eth0" in attached.check().json["msg"]


def test_all_that_is_broken_is_named_at_once(attached: Attached, pod: Pod) -> None:
    pod.run(
        ["sh", "-e", "-c", "ip route delete default; ip neigh delete 169.254.1.1 dev eth0; ip link set eth0 mtu 1400"]
    )
    message = attached.check().json["msg"]
    assert all(word in message for word in ("default route", "neighbour", "MTU 1400"))


def test_a_result_of_another_address_differs_from_the_ledger(attached: Attached) -> None:
    other = {**attached.result, "ips": [{"address": "10.0.9.9/32", "interface": 1}]}
    answer = attached.check(prevResult=other)
    assert answer.code == 102
    assert "10.0.9.9/32" in answer.json["msg"]


def test_what_later_plugins_added_to_the_result_is_no_difference(attached: Attached) -> None:
    result = attached.result
    richer = {**result, "interfaces": [*result["interfaces"], {"name": "ifb0"}], "dns": {"domain": "example.org"}}
    assert attached.check(prevResult=richer) == DONE


def test_another_container_in_the_same_namespace_is_unknown(runtime: Client, attached: Attached, pod: Pod) -> None:
    answer = runtime.call("CHECK", container_id="another", netns=pod.path, prevResult=attached.result)
    assert answer.code == 3


def test_a_mtu_the_configuration_has_otherwise_is_named(attached: Attached) -> None:
    answer = attached.check(mtu=1500)
    assert answer.code == 102
    assert "MTU 9001, not 1500" in answer.json["msg"]
