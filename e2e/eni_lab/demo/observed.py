"""What the demonstration and the suite look at: pods, pools and EC2's own view, each read anew.

Reads only. Counterpart: ``workload`` changes the cluster, ``story`` waits for what is described here.
"""

import ipaddress
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from eni_lab.cloud_client import ADMINISTRATOR
from eni_lab.lab import Lab


@dataclass(frozen=True)
class Pod:
    """A running pod of the workload."""

    name: str
    node: str
    address: str


@dataclass(frozen=True)
class Pool:
    """A NodeIPPool, as the API server has it."""

    name: str
    spec: dict[str, Any]
    supply: dict[str, Any]
    usage: dict[str, Any]
    conditions: dict[str, dict[str, Any]]

    @property
    def addresses(self) -> int:
        """Pod addresses held."""
        return int(self.supply["totals"]["addresses"]) if self.supply else 0

    @property
    def wanted(self) -> int:
        """Pod addresses the pool grows or shrinks to."""
        return int(self.supply["wanted"]) if self.supply else 0

    @property
    def enis(self) -> int:
        """ENIs held, the primary included."""
        return int(self.supply["totals"]["enis"]) if self.supply else 0

    @property
    def prefixes(self) -> int:
        """Prefixes held."""
        return int(self.supply["totals"]["prefixes"]) if self.supply else 0

    def has_in_prefix(self, address: str) -> bool:
        """Whether the address is in one of the pool's prefixes."""
        prefixes = [prefix for eni in self.supply.get("enis", []) for prefix in eni.get("prefixes", [])]
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(prefix) for prefix in prefixes)

    @property
    def is_settled(self) -> bool:
        """Whether nothing cools and nothing is on its way, but CIDRs that wait for their last pod to leave."""
        enis = self.supply.get("enis", [])
        moving = any(eni["state"] != "attached" for eni in enis)
        held_up = {item["token"] for item in self.usage.get("leaving", [])}
        handed_over = any(item["token"] not in held_up for eni in enis for item in eni.get("releasing", []))
        return bool(self.usage) and not (self.usage["cooling"] or self.usage["pending"] or moving or handed_over)

    def reason(self, condition: str = "Ready") -> str:
        """The machine reason of a condition, or nothing."""
        return str(self.conditions.get(condition, {}).get("reason", ""))


def pods(lab: Lab, selector: str = "app=web") -> list[Pod]:
    """The workload's pods that are Ready and stay."""
    items = json.loads(lab.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return [
        Pod(item["metadata"]["name"], item["spec"]["nodeName"], item["status"]["podIP"])
        for item in items
        if _is_ready(item)
    ]


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = {entry["type"]: entry["status"] for entry in item["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in item["metadata"]


def pools(lab: Lab) -> list[Pool]:
    """Every pool, by name."""
    items = json.loads(lab.kubectl("get", "nodeippools", "-o", "json"))["items"]
    return [_pool(item) for item in items]


def pool(lab: Lab, name: str) -> Pool:
    """One pool."""
    return _pool(json.loads(lab.kubectl("get", "nodeippool", name, "-o", "json")))


def _pool(item: dict[str, Any]) -> Pool:
    status = item.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", [])}
    name = item["metadata"]["name"]
    return Pool(name, item.get("spec", {}), status.get("supply", {}), status.get("usage", {}), conditions)


def ready_nodes(lab: Lab) -> list[str]:
    """Names of the nodes that are Ready."""
    items = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    return [item["metadata"]["name"] for item in items if _is_ready(item)]


def interfaces(lab: Lab) -> list[dict[str, Any]]:
    """Every ENI as EC2 describes it to the laboratory's administrator."""
    reply = lab.cloud.ec2("describe_network_interfaces")
    return list(reply["NetworkInterfaces"])


def misplaced(lab: Lab, running: list[Pod]) -> list[str]:
    """Pods whose address EC2 has not given to an ENI of their own node, in a sentence each."""
    instance_of = {machine.name: machine.instance.instance_id for machine in lab.nodes()}
    held = {machine: held_in_ec2(lab, instance) for machine, instance in instance_of.items()}
    return [
        f"{pod.name} on {pod.node} has {pod.address}, which is on no ENI of its node"
        for pod in running
        if not any(ipaddress.ip_address(pod.address) in network for network in held[pod.node])
    ]


def held_in_ec2(lab: Lab, instance_id: str) -> list[ipaddress.IPv4Network]:
    """What EC2 has on an instance's ENIs for pods, whatever its pool says: a pool may not have heard of it yet."""
    cidrs = []
    for eni in attached(lab, instance_id):
        cidrs += [address["PrivateIpAddress"] for address in eni["PrivateIpAddresses"] if not address["Primary"]]
        cidrs += [prefix["Ipv4Prefix"] for prefix in eni.get("Ipv4Prefixes", [])]
    return [ipaddress.IPv4Network(cidr) for cidr in cidrs]


def attached(lab: Lab, instance_id: str) -> list[dict[str, Any]]:
    """The ENIs of an instance, as EC2 describes them."""
    return [eni for eni in interfaces(lab) if eni.get("Attachment", {}).get("InstanceId") == instance_id]


def unattached(lab: Lab) -> list[str]:
    """ENIs that belong to no instance: leaked, once everything has settled."""
    return [eni["NetworkInterfaceId"] for eni in interfaces(lab) if not eni.get("Attachment")]


def ec2_calls(lab: Lab) -> Counter[str]:
    """The EC2 calls of the product since the last reset, by kind; the laboratory's own are left out."""
    by_caller = lab.cloud.control("GET", "/_lab/calls")["byCaller"]
    return sum((Counter(calls) for caller, calls in by_caller.items() if caller != ADMINISTRATOR), Counter())
