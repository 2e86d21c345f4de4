"""The checker of a pod's network agrees with what agent and plugin set up, and notices each thing taken from it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from eni_crds.nodeippool import Family
from eni_lab.podcheck import faults
from eni_lab.podcheck.expected import Eni, PodAddress
from eni_lab.podcheck.kernel import Kernel, read
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import NetworkSettings
from eni_testing.hosts import Host
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node, supply_eni, supply_of

pytestmark = pytest.mark.netns

SUBNET = PRIMARY.subnet_cidr
ON_PRIMARY = PodAddress(address="10.0.1.11", eni=Eni(mac=PRIMARY.mac, device_index=0, subnet=SUBNET))
ON_SECONDARY = PodAddress(address="10.0.1.50", eni=Eni(mac=SECONDARY.mac, device_index=1, subnet=SUBNET))
PODS = {"primary": ON_PRIMARY, "secondary": ON_SECONDARY}
PREFIXES = {"primary": "2600:1f18:0:1:a::/80", "secondary": "2600:1f18:0:1:b::/80"}
PODS_IPV6 = {
    "primary": replace(ON_PRIMARY, address="2600:1f18:0:1:a::7"),
    "secondary": replace(ON_SECONDARY, address="2600:1f18:0:1:b::7"),
}

ON_THE_NODE = {
    "ip route del {address} table 512": "routes to {address} are .* due is one, in table 512",
    "ip route add {address} dev eth0": "routes to {address} are .* due is one, in table 512",
    "ip route replace {address} dev eth0 table 512": "routes to {address} are .* due is one, in table 512 to eni",
    "ip rule add priority 512 to {address} lookup 512": "rules of priority 512",
    "ip rule del priority 512": "rules of priority 512",
    "ip rule add priority 1536 from {address} lookup 7": "rules from",
    "ip link set {veth} down": "the host veth of {address} is down",
    "ip link set {veth} mtu 1400": "the host veth of {address} has MTU 1400",
    "ip link del {veth}": "the pod's eth0 of {address} is not there",
    "ip neigh del {address} dev {veth}": "the node has no permanent neighbour {address}",
    "ip neigh replace {address} dev {veth} lladdr 02:00:00:00:00:99 nud permanent": "the node has no permanent",
    "ip link set {eni} mtu 1500": "{eni}, the address's ENI, has MTU 1500",
    "ip link set {eni} down": "{eni}, the address's ENI, is down",
    "ip link set {eni} address 02:00:00:00:00:98": "the node has no link with the MAC",
}
IN_THE_POD = {
    "ip address del {address}/32 dev eth0": "has the addresses",
    "ip address add 10.9.9.9/32 dev eth0": "has the addresses",
    "ip route del default": "lacks",
    "ip route del 169.254.1.1": "lacks",
    "ip neigh del 169.254.1.1 dev eth0": "the pod has no permanent neighbour 169.254.1.1",
    "ip link set eth0 mtu 1400": "the pod's eth0 of {address} has MTU 1400",
    "ip link set eth0 down": "the pod's eth0 of {address} is down",
    "ip rule add priority 1 from {address} lookup 1": "the pod has the rules .* due are \\[\\]",
    "ip link set eth0 name eth9": "the pod's eth0 of {address} is not there",
}
OF_A_SECONDARY_ENI = {
    "ip rule del priority 1536 from 10.0.1.48/28": "rules from {address} are \\[\\]",
    "ip route del default table 2": "table 2 of eth1 has",
    "ip route del 10.0.1.1 table 2": "table 2 of eth1 has",
    "ip route add 10.9.0.0/16 dev eth1 table 2": "table 2 of eth1 has",
    "ip route add 10.9.0.0/16 dev eth1": "the main table leads to eth1",
    "ip rule del priority 32765": "no rule of priority 32765",
}
IN_IPV6 = {
    "ip -6 route del {address} table 512": "routes to {address} are \\[\\]",
    "ip -6 rule del priority 512": "rules of priority 512",
    "ip -6 rule del priority 1536": "rules from {address} are \\[\\]",
    "ip -6 route del default table 2": "table 2 of eth1 has",
    "ip -6 route add 2600:1f18:0:9::/64 dev eth1 table 2": "table 2 of eth1 has",
    "ip -6 neigh del {address} dev {veth}": "the node has no permanent neighbour {address}",
}
IN_IPV6_IN_THE_POD = {
    "ip -6 address del {address}/128 dev eth0": "has the addresses",
    "ip -6 route del default": "lacks",
    "ip -6 neigh del fe80::1 dev eth0": "the pod has no permanent neighbour fe80::1",
}


@dataclass
class World:
    """A node with a pod on each of its two ENIs."""

    node: Node
    pods: dict[PodAddress, Host]

    @property
    def host(self) -> Kernel:
        return sight(self.node)

    def faults(self, due: PodAddress) -> list[str]:
        return faults.while_running(self.host, sight(self.pods[due]), due)


def sight(host: Host) -> Kernel:
    return read(lambda command: host.run(command).stdout)


@pytest.fixture
def world(node: Node) -> Iterator[World]:
    enis = [
        supply_eni(port).replace(ipv6_prefixes=[PREFIXES[place]])
        for port, place in ((PRIMARY, "primary"), (SECONDARY, "secondary"))
    ]
    supply = supply_of(*enis).replace(families=[Family.IPV4, Family.IPV6])
    converger = node.do(Converger, NetworkSettings(), Path("/proc/sys"))
    state = node.do(converger.converge, supply).state
    node.do(converger.host.close)
    assert state.problems == ()
    with ExitStack() as stack:
        pods = {}
        for due, due_ipv6 in zip(PODS.values(), PODS_IPV6.values(), strict=True):
            pods[due] = pods[due_ipv6] = stack.enter_context(node.add_pod(due.address, due_ipv6.address))
        yield World(node, pods)


def broken(world: World, where: Host, due: PodAddress, command: str, sentence: str) -> None:
    words = {
        "address": due.address,
        "veth": faults.veth_of(world.host, due.address),
        "eni": f"eth{due.eni.device_index}",
    }
    where.run(command.format(**words).split())
    told = world.faults(due)
    assert re.search(sentence.format(**words), "\n".join(told)), told


@pytest.mark.parametrize("due", [*PODS.values(), *PODS_IPV6.values()], ids=lambda due: due.address)
def test_what_is_set_up_has_no_fault(world: World, due: PodAddress) -> None:
    assert world.faults(due) == []


@pytest.mark.parametrize("due", PODS.values(), ids=PODS)
@pytest.mark.parametrize(("command", "sentence"), ON_THE_NODE.items())
def test_a_break_on_the_node_is_named(world: World, due: PodAddress, command: str, sentence: str) -> None:
    broken(world, world.node, due, command, sentence)


@pytest.mark.parametrize(("command", "sentence"), IN_THE_POD.items())
def test_a_break_in_the_pod_is_named(world: World, command: str, sentence: str) -> None:
    broken(world, world.pods[ON_PRIMARY], ON_PRIMARY, command, sentence)


@pytest.mark.parametrize(("command", "sentence"), OF_A_SECONDARY_ENI.items())
def test_a_break_of_a_secondary_eni_is_named(world: World, command: str, sentence: str) -> None:
    broken(world, world.node, ON_SECONDARY, command, sentence)


@pytest.mark.parametrize(("command", "sentence"), IN_IPV6.items())
def test_a_break_in_ipv6_is_named(world: World, command: str, sentence: str) -> None:
    broken(world, world.node, PODS_IPV6["secondary"], command, sentence)


@pytest.mark.parametrize(("command", "sentence"), IN_IPV6_IN_THE_POD.items())
def test_a_break_in_a_pods_ipv6_is_named(world: World, command: str, sentence: str) -> None:
    broken(world, world.pods[PODS_IPV6["primary"]], PODS_IPV6["primary"], command, sentence)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        pytest.param({"address": "10.0.1.51"}, "routes to 10.0.1.51 are \\[\\]", id="address"),
        pytest.param({"mtu": 1500}, "has MTU 9001, due is 1500", id="MTU"),
        pytest.param({"eni": ON_PRIMARY.eni}, "is of the primary ENI and there are rules", id="ENI"),
        pytest.param({"eni": replace(ON_SECONDARY.eni, device_index=2)}, "due is one into table 3", id="table"),
        pytest.param({"eni": replace(ON_SECONDARY.eni, mtu=1500)}, "has MTU 9001, due is 1500", id="MTU of the ENI"),
        pytest.param({"eni": replace(ON_SECONDARY.eni, subnet="10.0.2.0/24")}, "10.0.2.1", id="gateway"),
        pytest.param({"ifname": "eth1"}, "the pod's eth1 of 10.0.1.50 is not there", id="interface"),
        pytest.param({"number": 1}, r"the pod has the rules \[\] from 10.0.1.50, due are .*table=1", id="number"),
        pytest.param({"veth_prefix": "veth"}, "is called eni00000032, due is veth", id="name"),
    ],
)
def test_a_wrong_expectation_is_not_met(world: World, wrong: dict[str, Any], sentence: str) -> None:
    due = replace(ON_SECONDARY, **wrong)
    told = faults.while_running(world.host, sight(world.pods[ON_SECONDARY]), due)
    assert re.search(sentence, "\n".join(told)), told


def test_another_pods_namespace_does_not_pass_for_ones_own(world: World) -> None:
    told = faults.while_running(world.host, sight(world.pods[ON_PRIMARY]), ON_SECONDARY)
    other = faults.veth_of(world.host, ON_PRIMARY.address)
    assert any(sentence.endswith(f"due is one, in table 512 to {other}") for sentence in told)


def test_a_live_pod_does_not_pass_for_one_that_has_gone(world: World) -> None:
    host, address = world.host, ON_SECONDARY.address
    told = faults.after_removal(host, address, faults.veth_of(host, address), owned=False)
    assert [sentence.split(":")[0].replace(":", "") for sentence in told] == [
        f"the link {faults.veth_of(host, address)} is still there",
        *(f"there is still a {kind}" for kind in ("route", "neighbour", "rule")),
    ]


def test_nothing_is_left_of_a_pod_that_has_gone_but_the_rule_of_its_eni(world: World) -> None:
    address = ON_SECONDARY.address
    veth = faults.veth_of(world.host, address)
    world.node.run(["ip", "link", "del", veth])
    assert faults.after_removal(world.host, address, veth) == []
    assert len(faults.after_removal(world.host, address, veth, owned=False)) == 1


@pytest.mark.parametrize("command", ["route add {} dev eth1 table 77", "rule add to {} lookup 77"])
def test_a_remainder_is_named(world: World, command: str) -> None:
    address = NEIGHBOUR.addresses[0]
    assert faults.after_removal(world.host, address, "eni77") == []
    world.node.run(["ip", *command.format(address).split()])
    assert len(faults.after_removal(world.host, address, "eni77")) == 1
