"""A VPC for tests: the stand-in's engine, the fabric, and nodes, all in namespaces of the test's own.

Counterpart of ``ec2``, which gives the stand-in over HTTP and no network. Here calls go straight to the engine and
``sync`` makes the fabric follow, so a test decides when an effect reaches the kernel::

    with vpc(nodes=2) as cloud:
        here, there = cloud.nodes
        eni = cloud.attach(here, device_index=1, addresses=1)
        assert not there.reaches(eni.addresses[0])  # nothing inside the node listens to it yet
"""

from __future__ import annotations

import contextlib
import functools
import random
from typing import TYPE_CHECKING

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.instance_types import load_instance_types
from eni_testing.hosts import Host, require_namespaces
from eni_testing.routed import RoutedLab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eni_lab.aws.engine.instance_type import InstanceType
    from eni_lab.aws.engine.ports import Port

VPC_CIDR = "10.0.0.0/16"
SUBNET_CIDRS = {"a": "10.0.1.0/24", "b": "10.0.2.0/24"}
"""By the letter of the zone."""


class VirtualClock:
    """Seconds since the epoch, which pass only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Reads the clock."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds


class Node(Host):
    """An instance with a network namespace of its own; ``eth0`` is its primary ENI."""

    def __init__(self, instance_id: str, primary_ip: str) -> None:
        super().__init__()
        self.instance_id = instance_id
        self.primary_ip = primary_ip


class Vpc:
    """The engine and the fabric of one VPC, and its nodes in the order they were added."""

    def __init__(self, knobs: Knobs, lab: RoutedLab, stack: contextlib.ExitStack) -> None:
        self.clock = VirtualClock()
        self.engine = Engine(self.clock, random.Random(1), _instance_types(), knobs)
        self.lab = lab
        self.nodes: list[Node] = []
        self._stack = stack
        self.vpc_id: str = self.engine.call("CreateVpc", {"CidrBlock": VPC_CIDR})["Vpc"]["VpcId"]
        self.subnets = {zone: self.add_subnet(zone, cidr) for zone, cidr in SUBNET_CIDRS.items()}

    def sync(self) -> None:
        """Makes the fabric follow the engine as of now; fails when a link cannot be made."""
        self.lab.apply(self.engine.ports())

    def add_node(
        self, zone: str = "a", instance_type: str = "m5.large", interfaces: Sequence[Mapping[str, object]] = ()
    ) -> Node:
        """Runs an instance; its ``eth0`` is up and configured when this returns.

        With ``interfaces`` (RunInstances' NetworkInterfaces) it has those ENIs from the start.
        """
        request = {"ImageId": self._image(), "InstanceType": instance_type, "MinCount": 1, "MaxCount": 1}
        subnet = {"SubnetId": self.subnets[zone]}
        network = {"NetworkInterfaces": [{**subnet, **one} for one in interfaces]} if interfaces else subnet
        reply = self.engine.call("RunInstances", request | network)
        [instance] = reply["Instances"]
        node = self._stack.enter_context(Node(instance["InstanceId"], instance["PrivateIpAddress"]))
        self.lab.plug(node.instance_id, node)
        self.nodes.append(node)
        self.sync()
        return node

    def ports(self, node: Node) -> list[Port]:
        """The node's ENIs whose link exists now, by device index."""
        return [port for port in self.engine.ports() if port.instance_id == node.instance_id]

    def attach(
        self, node: Node, device_index: int, *, subnet_id: str = "", addresses: int = 0, prefixes: int = 0
    ) -> Port:
        """Creates an ENI with so many secondary addresses or prefixes, by default in the node's subnet; attaches it."""
        subnet_id = subnet_id or self.ports(node)[0].subnet_id
        eni_id = self.create_eni(subnet_id, addresses=addresses, prefixes=prefixes)
        request = {"NetworkInterfaceId": eni_id, "InstanceId": node.instance_id, "DeviceIndex": device_index}
        self.engine.call("AttachNetworkInterface", request)
        self.sync()
        return self.port(eni_id)

    def create_eni(self, subnet_id: str, *, addresses: int = 0, prefixes: int = 0) -> str:
        """Creates an ENI and returns its id."""
        counts = {"SecondaryPrivateIpAddressCount": addresses or None, "Ipv4PrefixCount": prefixes or None}
        reply = self.engine.call("CreateNetworkInterface", {"SubnetId": subnet_id, **counts})
        eni_id: str = reply["NetworkInterface"]["NetworkInterfaceId"]
        return eni_id

    def port(self, eni_id: str) -> Port:
        """The ENI as it is now; fails while its link does not exist."""
        [port] = [port for port in self.engine.ports() if port.eni_id == eni_id]
        return port

    def assign(self, eni_id: str, *, addresses: int = 0, prefixes: int = 0) -> Port:
        """Gives the ENI so many more addresses or prefixes; the ENI as it is then."""
        counts = {"SecondaryPrivateIpAddressCount": addresses or None, "Ipv4PrefixCount": prefixes or None}
        self.engine.call("AssignPrivateIpAddresses", {"NetworkInterfaceId": eni_id, **counts})
        self.sync()
        return self.port(eni_id)

    def unassign(self, eni_id: str, *cidrs: str) -> None:
        """Takes addresses, or prefixes such as ``10.0.1.32/28``, from the ENI."""
        prefixes = [cidr for cidr in cidrs if "/" in cidr]
        addresses = [cidr for cidr in cidrs if "/" not in cidr]
        request = {"PrivateIpAddresses": addresses or None, "Ipv4Prefixes": prefixes or None}
        self.engine.call("UnassignPrivateIpAddresses", {"NetworkInterfaceId": eni_id, **request})
        self.sync()

    def detach(self, eni_id: str) -> None:
        """Detaches the ENI; with a detach time among the knobs its link is there until the clock has passed it."""
        reply = self.engine.call("DescribeNetworkInterfaces", {"NetworkInterfaceIds": [eni_id]})
        attachment_id = reply["NetworkInterfaces"][0]["Attachment"]["AttachmentId"]
        self.engine.call("DetachNetworkInterface", {"AttachmentId": attachment_id})
        self.sync()

    def dropped(self) -> set[tuple[str, str]]:
        """(link of the router, source address) of what the fabric dropped so far."""
        return {(drop.link, drop.source) for drop in self.lab.drops()}

    def _image(self) -> str:
        wanted = [{"Name": "architecture", "Values": ["x86_64"]}]
        image_id: str = self.engine.call("DescribeImages", {"Filters": wanted})["Images"][0]["ImageId"]
        return image_id

    def add_subnet(self, zone: str, cidr: str, ipv6: str = "") -> str:
        """Makes one more subnet, with an IPv6 block if one is given; its id."""
        request = {"VpcId": self.vpc_id, "CidrBlock": cidr, "AvailabilityZone": f"us-east-1{zone}"}
        request |= {"Ipv6CidrBlock": ipv6} if ipv6 else {}
        subnet_id: str = self.engine.call("CreateSubnet", request)["Subnet"]["SubnetId"]
        return subnet_id


@contextlib.contextmanager
def vpc(*, nodes: int = 1, knobs: Mapping[str, object] | None = None) -> Iterator[Vpc]:
    """A VPC with so many m5.large nodes, the first in zone a, the second in b, and so on in turn.

    Attaching and detaching take no time unless ``knobs`` say so (``eni_lab.aws.engine.knobs``).
    """
    require_namespaces()
    chosen = Knobs(throttling=False).without_delays().changed(**(knobs or {}))
    with contextlib.ExitStack() as stack:
        cloud = Vpc(chosen, stack.enter_context(RoutedLab()), stack)
        for number in range(nodes):
            cloud.add_node(zone="ab"[number % 2])
        yield cloud


@functools.cache
def _instance_types() -> Mapping[str, InstanceType]:
    return load_instance_types()
