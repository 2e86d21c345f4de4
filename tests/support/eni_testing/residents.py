"""Two nodes whose pods are on their primary and on a secondary ENI, and what these see of each other and of the world.

The node ``secondary`` has single addresses and a kube-proxy in nftables mode, the node ``prefix`` has prefixes and one
in iptables mode; pods of both have IPv4 and IPv6, for their pools say so. The pool of a third node, ``six``, says
nothing: its pods have IPv6 alone, as the operators' environment has it. A ``Town`` is the pods under one configuration
of the agent; the next ``Phase`` begins with new pods.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

from eni_lab.cloud_client import ZONES
from eni_lab.demo import observed
from eni_lab.demo.workload import PATIENCE_MILLISECONDS as PATIENCE
from eni_lab.errors import LabError
from eni_lab.fabric import outside
from eni_lab.kube import programs
from eni_lab.kube.conformance import fill
from eni_lab.kube.images import POD_IMAGE
from eni_lab.lab import Lab, Options
from eni_lab.podcheck.cluster import Mtu, NodeSight
from eni_lab.waiting import wait_for

OPEN, CLOSED = 8080, 8081
LATER_BLOCK = "192.0.2.128/25"
"""Comes to the VPC while it runs; the second of the fabric's peers is in it."""
PRIMARY, SECONDARY = "primary", "secondary"
PLACES = (PRIMARY, SECONDARY)
"""ENIs a pod may be on."""
NODE_TYPE = "t3.small"
"""Three ENIs of four addresses: a primary ENI that few pods fill."""
MODES = {"secondary": "nftables", "prefix": "iptables"}
"""The pool's mode and kube-proxy's, by the name of the node."""
MEMBERS = "town=yes"
PATIENCE_SECONDS = 120
VARIABLES = (
    "AWS_VPC_ENI_MTU",
    "POD_MTU",
    "AWS_VPC_K8S_CNI_EXTERNALSNAT",
    "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
)
"""Of the agent; not set in a phase that does not set them."""
SIX = "six"
FAMILIES = (4, 6)
BOTH = ["IPv4", "IPv6"]
PODS_A_NODE = 6
"""In mode secondary all that two ENIs have, three each; in mode prefix ``FILLERS`` see to that."""
FILLERS = 3 * 16 - PODS_A_NODE // 2
"""Sandboxes without containers that leave half the pods no room in the three prefixes of the primary ENI."""


@dataclass(frozen=True)
class Phase:
    """One configuration of the agent."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    mtu: Mtu = field(default_factory=Mtu)


@dataclass(frozen=True)
class Resident:
    """A running pod."""

    name: str
    node: str
    addresses: tuple[str, ...]
    place: str
    """Which ENI its first address is on."""

    @property
    def address(self) -> str:
        """The first of its addresses."""
        return self.addresses[0]

    def of(self, family: int) -> str:
        """Its address of a family, 4 or 6."""
        [found] = [one for one in self.addresses if ip_address(one).version == family]
        return found


def build(lab: Lab) -> None:
    """Brings the nodes up, with the product on them, and the primary ENI of one of them nearly full."""
    lab.up(Options(nodes=0, dual_stack=True, tied=True, service_times=False))
    for zone, (mode, proxy) in zip(ZONES, MODES.items(), strict=True):
        lab.add_node(NODE_TYPE, zone, mode, max_pods=110, proxy_mode=proxy)
    lab.add_node(NODE_TYPE, ZONES[0], SIX, max_pods=110)
    lab.deploy("traffic")
    for mode in MODES:
        lab.wait_until(f"pool of {mode}", "get", "nodeippool", mode)
        policy = {"mode": mode, "cooldownSeconds": 1, "releaseAfterSeconds": 1, "maximumENIs": 2}
        spec = {"policy": policy, "families": BOTH}
        lab.kubectl("patch", "nodeippool", mode, "--type=merge", "-p", json.dumps({"spec": spec}))
    _extend_vpc(lab)
    both = dict.fromkeys(MODES, BOTH)
    wait_for("two nodes have both families", lambda: {mode: families(lab, mode) for mode in MODES} == both, seconds=60)
    fill.primary(lab.node("prefix"), FILLERS)
    lab.report("the primary ENI of node prefix is nearly full")
    wait_for("no prefix in mode secondary", lambda: not observed.pool(lab, "secondary").prefixes, seconds=60)


def families(lab: Lab, node: str) -> list[str]:
    """What the operator says that pods of a node have."""
    found: list[str] = observed.pool(lab, node).supply.get("families", [])
    return found


def _extend_vpc(lab: Lab) -> None:
    """Gives the VPC one more block while product and pods are there; it takes them up to a minute to hear of it."""
    before = [cidr for mode in MODES for cidr in observed.pool(lab, mode).supply.get("vpcCIDRs", [])]
    if not before or LATER_BLOCK in before:
        raise LabError(f"the pools say of the VPC's blocks {before}, {LATER_BLOCK} must not be among them yet")
    [vpc] = lab.cloud.ec2("describe_vpcs")["Vpcs"]
    lab.cloud.ec2("associate_vpc_cidr_block", VpcId=vpc["VpcId"], CidrBlock=LATER_BLOCK)


class Town:
    """The pods of one phase; what is asked of them is asked once."""

    def __init__(self, lab: Lab, phase: Phase) -> None:
        self.lab = lab
        self.phase = phase
        lab.kubectl("delete", "pods,services", "-l", MEMBERS, "--now", f"--timeout={PATIENCE_SECONDS}s")
        lab.set_env("eni-agent", **{**dict.fromkeys(VARIABLES), **phase.variables})
        for mode in MODES:
            wait_for(f"pool {mode} at rest", lambda mode=mode: self._rests(mode), seconds=60, interval=0.2)  # type: ignore[misc]
        lab.report("the pods of before are gone, and their addresses have cooled")
        everybody = [(f"{mode}-{number}", mode) for mode in MODES for number in range(PODS_A_NODE)]
        everybody += [(f"{SIX}-{number}", SIX) for number in range(2)]
        _apply(lab, [_pod(name, node) for name, node in everybody])
        lab.kubectl("wait", "--for=condition=Ready", "pods", "-l", MEMBERS, f"--timeout={PATIENCE_SECONDS}s")
        lab.report(f"{len(everybody)} pods are Ready: {phase.name}")
        self.sights = {mode: NodeSight(lab, lab.node(mode), phase.mtu) for mode in (*MODES, SIX)}
        self.residents = [self._resident(item) for item in _pods(lab)]
        self.of_ipv6_alone = [pod for pod in self.residents if pod.node == SIX]
        self.leavers = {key: self._all_at(*key)[-1] for key in self._keys()}

    def at(self, node: str, place: str) -> list[Resident]:
        """The two pods of that node on that ENI that stay."""
        return self._all_at(node, place)[:-1]

    @property
    def stayers(self) -> list[Resident]:
        """Those that stay."""
        return [pod for node, place in self._keys() for pod in self.at(node, place)]

    @cached_property
    def answers(self) -> dict[str, dict[str, str]]:
        """What each pod is answered by each other, in TCP and UDP, at an open and a closed port; by name and target."""
        targets = {
            pod.name: [target for other in self.stayers if other != pod for target in targets_of(other)]
            for pod in self.stayers
        }
        with ThreadPoolExecutor(4) as threads:
            asked = threads.map(lambda pod: ask(self.lab, pod, targets[pod.name]), self.stayers)
            return dict(zip(targets, asked, strict=True))

    def ask_from_everywhere(self, *targets: str, milliseconds: int = PATIENCE) -> dict[Resident, dict[str, str]]:
        """What one pod of each ENI of each node gets from targets."""
        askers = [self.at(*key)[0] for key in self._keys()]
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda pod: ask(self.lab, pod, targets, milliseconds), askers)
            return dict(zip(askers, answers, strict=True))

    @cached_property
    def outside(self) -> dict[Resident, dict[str, str]]:
        """What the hosts outside of the VPC see, by who asks and host."""
        hosts = {at(host, outside.PORT): host for host in (outside.ADDRESS, outside.IPV6_ADDRESS, *outside.PEERS)}
        answers = self.ask_from_everywhere(*hosts, milliseconds=2000)
        return {pod: {hosts[target]: seen for target, seen in got.items()} for pod, got in answers.items()}

    @cached_property
    def departed(self) -> dict[tuple[str, str], list[str]]:
        """What is left of the pod that leaves, by its node and ENI."""
        before = {key: self.sights[pod.node].veth(pod.address) for key, pod in self.leavers.items()}
        names = [pod.name for pod in self.leavers.values()]
        self.lab.kubectl("delete", "pods", "--now", "--wait=true", *names)
        return {key: self._left(pod, before[key]) for key, pod in self.leavers.items()}

    def _rests(self, node: str) -> bool:
        """Whether the agent has told that nothing is assigned but to fillers, and that nothing cools."""
        usage = observed.pool(self.lab, node).usage
        return (usage["assigned"], usage["cooling"]) == (FILLERS if node == "prefix" else 0, 0)

    def _left(self, pod: Resident, veth: str) -> list[str]:
        """Waits for the veth, which is deleted a moment after its removal."""
        last: list[str] = []

        def nothing() -> bool:
            sight = NodeSight(self.lab, self.lab.node(pod.node), self.phase.mtu)
            last[:] = [
                each
                for one in pod.addresses  # a single address goes back to EC2 soon, a prefix has other pods
                for each in sight.left(one, veth, owned=pod.node == "prefix" or ":" in one)
            ]
            return not last

        try:
            wait_for(f"nothing of {pod.name}", nothing, seconds=20, interval=0.3)
        except TimeoutError:
            return last
        return []

    def _resident(self, item: Mapping[str, Any]) -> Resident:
        node, addresses = item["spec"]["nodeName"], tuple(ip["ip"] for ip in item["status"]["podIPs"])
        is_primary = self.sights[node].due(addresses[0]).eni.is_primary
        return Resident(item["metadata"]["name"], node, addresses, PRIMARY if is_primary else SECONDARY)

    def _all_at(self, node: str, place: str) -> list[Resident]:
        found = [pod for pod in self.residents if (pod.node, pod.place) == (node, place)]
        if len(found) != PODS_A_NODE // len(PLACES):
            raise LabError(f"{len(found)} pods are on the {place} ENI of {node}: {self.residents}")
        return found

    @staticmethod
    def _keys() -> list[tuple[str, str]]:
        return [(node, place) for node in MODES for place in PLACES]


def at(address: str, port: int, protocol: str = "") -> str:
    """A target as ``labpod`` reads it; ``protocol`` is empty for TCP or ``udp:``."""
    return f"{protocol}[{address}]:{port}" if ":" in address else f"{protocol}{address}:{port}"


def targets_of(pod: Resident) -> list[str]:
    """All that is asked of a pod."""
    ends = [(address, port) for address in pod.addresses for port in (OPEN, CLOSED)]
    return [at(*end, protocol) for end in ends for protocol in ("", "udp:")]


def by(source: str, target: str) -> str:
    """The same target, asked by one of several addresses of the pod that asks."""
    return f"{source}->{target}"


def ask(lab: Lab, pod: Resident, targets: Sequence[str], milliseconds: int = PATIENCE) -> dict[str, str]:
    """What a pod gets from each target."""
    return answers(lab, pod.name, targets, milliseconds)


def answers(lab: Lab, name: str, targets: Sequence[str], milliseconds: int = PATIENCE) -> dict[str, str]:
    """What the pod of that name gets from each target."""
    command = ("/labpod", "fetch", str(milliseconds), *targets)
    return _parsed(lab.kubectl("exec", name, "--", *command, check=False), targets)


def ask_from_outside(lab: Lab, target: str) -> str:
    """What the host outside the VPC gets from a target."""
    program = programs.ensure("labpod", lab.layout.cache)
    done = subprocess.run(
        lab.outside_command(program, "fetch", "2000", target), capture_output=True, text=True, check=False
    )
    return _parsed(done.stdout, [target])[target]


def expose(lab: Lab, pod: Resident, traffic_policy: str) -> tuple[tuple[str, ...], int]:
    """A Service of both families for one pod alone; its cluster IPs, IPv4 first, and its node port."""
    name = f"{pod.name}-{traffic_policy.lower()}"
    spec = {
        "type": "NodePort",
        "ipFamilyPolicy": "RequireDualStack",
        "externalTrafficPolicy": traffic_policy,
        "selector": {"name": pod.name},
        "ports": [{"port": 80, "targetPort": OPEN}],
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"town": "yes"}}}
    _apply(lab, [{**service, "spec": spec}])
    made = json.loads(lab.kubectl("get", "service", name, "-o", "json"))["spec"]
    return tuple(made["clusterIPs"]), made["ports"][0]["nodePort"]


def _parsed(text: str, targets: Sequence[str]) -> dict[str, str]:
    lines = dict(line.partition(" ")[::2] for line in text.splitlines())
    return {target: lines.get(target, f"no answer in {text!r}") for target in targets}


def _pod(name: str, node: str) -> dict[str, object]:
    container = {
        "name": "c",
        "image": POD_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve", str(OPEN)],
        "readinessProbe": {"tcpSocket": {"port": OPEN}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"town": "yes", "name": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def _pods(lab: Lab) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(lab.kubectl("get", "pods", "-l", "town=yes", "-o", "json"))["items"]
    return items


def _apply(lab: Lab, manifests: list[dict[str, Any]]) -> None:
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
