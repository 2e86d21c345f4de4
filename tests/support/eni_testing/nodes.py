"""Nodes for tests of the agent's host network: a namespace with a thread inside, pods, a supply made of ports."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from eni_cni_shim.plugin import netlink, pod_network
from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_crds.nodeippool import EniRole, EniState, Supply, SupplyEni, SupplyInstance, SupplyLimits, Totals
from eni_lab.aws.engine.ports import Port
from eni_lab.fabric.namespaces import enter
from eni_testing.hosts import Host
from eni_testing.ports import eni_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

POD_TABLE = 512
VPC = "10.0.0.0/16"

PRIMARY = eni_port("a", addresses=("10.0.1.11",))
SECONDARY = eni_port("a", 1, addresses=("10.0.1.21", "10.0.1.24"), prefixes=("10.0.1.48/28",))
NEIGHBOUR = eni_port("b", addresses=("10.0.2.11",))


def supply_eni(port: Port, state: EniState = EniState.ATTACHED) -> SupplyEni:
    """Returns the ENI of a port as the operator describes it."""
    return SupplyEni(
        id=port.eni_id,
        mac=port.mac,
        device_index=port.device_index,
        network_card=port.network_card,
        role=EniRole.SECONDARY if port.device_index else EniRole.PRIMARY,
        subnet_id=port.subnet_id,
        subnet_cidr=port.subnet_cidr,
        gateway=port.subnet_cidr.replace(".0/24", ".1"),
        primary_ip=port.primary_ip,
        state=state,
        addresses=list(port.addresses),
        prefixes=list(port.prefixes),
    )


def supply_of(*ports: Port | SupplyEni, vpc_cidrs: tuple[str, ...] = (VPC,)) -> Supply:
    """Returns a supply of these ENIs."""
    return Supply(
        instance=SupplyInstance(id="i-0000000000000000a", type="m5.large", zone="eu-west-1a", vpc_id="vpc-1"),
        limits=SupplyLimits(enis=3, addresses_per_eni=10, maximum_pods=29),
        vpc_cidrs=list(vpc_cidrs),
        wanted=0,
        totals=Totals(),
        enis=[supply_eni(port) if isinstance(port, Port) else port for port in ports],
    )


class Node(Host):
    """An instance: its namespace, and a thread in it for code that acts where its thread is."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(1, "node", initializer=enter, initargs=(self.path,))

    def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function in the node's thread, always the same one."""
        return self._thread.submit(lambda: function(*args, **kwargs)).result()

    def add_link(self, name: str, mac: str) -> None:
        """Plugs in an interface that leads nowhere, as an ENI without a VPC."""
        self.run(["ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", f"x{name}"])
        self.run(["ip", "link", "set", f"x{name}", "up"])

    def ip(self, *words: str) -> list[dict[str, Any]]:
        """Returns what ``ip -N -j`` prints; numbers stay numbers."""
        found: list[dict[str, Any]] = json.loads(self.run(["ip", "-N", "-j", *words]).stdout or "[]")
        return found

    def add_pod(self, *addresses: str, egress: str = "") -> Host:
        """Returns a pod with these addresses, set up by the plugin as for the runtime."""
        pod = Host()
        key = SandboxKey("eni", f"container-{addresses[0]}", "eth0")
        ifname = f"eni{int(ip_address(addresses[0])) & 0xFF:08x}"
        assignment = Assignment(Sandbox(key), (PodLink("eth0", ifname, "", addresses, egress),), POD_TABLE)
        netns = os.open(pod.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.do(_add_pod, netns, assignment)
        finally:
            os.close(netns)
        return pod

    def close(self) -> None:
        """Ends the thread and the namespace."""
        self._thread.shutdown()
        super().close()

    def __enter__(self) -> Self:
        return self


@contextmanager
def unplugged_node() -> Iterator[Node]:
    """Yields a node without a VPC: its ENIs eth0 and eth1 are there and lead nowhere."""
    with Node() as made:
        made.add_link("eth0", PRIMARY.mac)
        made.run(["ip", "address", "add", "10.0.1.10/24", "dev", "eth0"])
        made.run(["ip", "link", "set", "eth0", "up"])
        made.run(["ip", "route", "add", "default", "via", "10.0.1.1"])
        made.add_link("eth1", SECONDARY.mac)
        yield made


def _add_pod(netns: int, assignment: Assignment) -> None:
    with netlink.Home() as home:
        pod_network.add(home, netns, assignment, 9001)
