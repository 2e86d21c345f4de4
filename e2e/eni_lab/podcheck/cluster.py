"""Checks the pods of a laboratory: where their addresses belong is EC2's word, what the kernels hold is read on nodes.

Counterpart: ``faults`` judges. A pod's namespace is found by the other end of the link its address is routed to.
"""

import ipaddress
import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

from eni_lab.errors import LabError
from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.podcheck import faults
from eni_lab.podcheck.expected import Eni, PodAddress, ifname_of
from eni_lab.podcheck.kernel import Kernel, Run, read


@dataclass(frozen=True)
class Mtu:
    """Bytes."""

    eni: int = 9001
    pod: int = 9001


@dataclass
class NodeSight:
    """One node's kernel as it was when this was made, and what EC2 says of its ENIs."""

    lab: Lab
    machine: Machine
    mtu: Mtu = Mtu()
    host: Kernel = field(init=False)
    described: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.host = read(_in(self.machine.command()))
        self.described = self.lab.cloud.enis(self.machine.instance.instance_id)

    def due(self, address: str, number: int = 0) -> PodAddress:
        """What is due to a pod's address, on the interface of that number: 0 is eth0, 1 is mNicIf1.

        Raises:
            LabError: no ENI of the node has it.
        """
        eni = next((eni for eni in self.described if holds(eni, address)), None)
        if eni is None:
            raise LabError(f"{address} is on no ENI of {self.machine.name}")
        attachment = eni["Attachment"]
        subnet = self.lab.cloud.ec2("describe_subnets", SubnetIds=[eni["SubnetId"]])["Subnets"][0]
        due = Eni(
            mac=eni["MacAddress"].lower(),
            device_index=attachment["DeviceIndex"],
            network_card=attachment.get("NetworkCardIndex", 0),
            mtu=self.mtu.eni,
            subnet=subnet["CidrBlock"],
        )
        return PodAddress(address=address, eni=due, mtu=self.mtu.pod, ifname=ifname_of(number), number=number)

    def faults(self, address: str, number: int = 0) -> list[str]:
        """What is wrong about a running pod's address on its interface of that number, a sentence each."""
        due = self.due(address, number)
        pod = self.pod(address)
        where = f"{self.machine.name}: "
        if pod is None:
            return [f"{where}no route leads to a pod's namespace for {address}"]
        return [where + fault for fault in faults.while_running(self.host, pod, due)]

    def veth(self, address: str) -> str:
        """The host veth of the pod that has the address."""
        return faults.veth_of(self.host, address)

    def left(self, address: str, veth: str, *, owned: bool) -> list[str]:
        """What is left of a pod that has gone, as ``faults.after_removal`` says it."""
        return [f"{self.machine.name}: {each}" for each in faults.after_removal(self.host, address, veth, owned=owned)]

    def pod(self, address: str) -> Kernel | None:
        """The namespace that the node's route to the address leads to; None where it leads to none."""
        veth = self.host.links.get(faults.veth_of(self.host, address))
        listed = json.loads(_in(self.machine.command())(["ip", "-j", "netns", "list"]) or "[]")
        names = {entry["id"]: entry["name"] for entry in listed if "id" in entry}
        if veth is None or veth.namespace_id not in names:
            return None
        namespace = f"--net=/run/netns/{names[veth.namespace_id]}"
        return read(_in(self.machine.command("nsenter", namespace, "--")))


def holds(eni: dict[str, Any], address: str) -> bool:
    """Whether EC2 has given the address to an ENI, for pods: alone or in a prefix."""
    cidrs = [one["PrivateIpAddress"] for one in eni["PrivateIpAddresses"] if not one["Primary"]]
    cidrs += [one["Ipv4Prefix"] for one in eni.get("Ipv4Prefixes") or []]
    cidrs += [one["Ipv6Prefix"] for one in eni.get("Ipv6Prefixes") or []]
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for cidr in cidrs)


def _in(prefix: list[str]) -> Run:
    def run(command: list[str]) -> str:
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    return run
