"""A node of Amazon's VPC CNI becomes ours with its pods running; containerd, kubelet and API server take part."""

import json
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from eni_lab.cloud_client import ZONES
from eni_lab.demo import observed, workload
from eni_lab.lab import Lab
from eni_lab.node import vpc_cni
from eni_lab.node.config import PAUSE_IMAGE
from eni_lab.node.machine import Machine
from eni_lab.vpc_layout import VPC_BLOCKS
from eni_lab.waiting import wait_for
from eni_testing.disturbances import another_node, applied, passing_deployments

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NODE = "node-m1"
PYTHON = "/usr/bin/python3"
CONFLIST = "etc/cni/net.d/10-aws.conflist"
TWO_ENIS = (
    {"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 1},
    {"DeviceIndex": 1, "SecondaryPrivateIpAddressCount": 4, "DeleteOnTermination": True},
)
AWS_NODE = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "aws-node", "namespace": "kube-system"},
    "spec": {
        "selector": {"matchLabels": {"k8s-app": "aws-node"}},
        "template": {
            "metadata": {"labels": {"k8s-app": "aws-node"}},
            "spec": {
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 0,
                "nodeSelector": {"kubernetes.io/hostname": NODE},
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "aws-node", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}],
            },
        },
    },
}
"""Stands for VPC CNI's: what counts for the agent is that it is bound to the node."""


def on_node(machine: Machine, *command: str) -> str:
    return subprocess.run(machine.command(*command), capture_output=True, text=True, check=True).stdout


def leave(lab: Lab, machine: Machine) -> None:
    """Does on the node what VPC CNI does for it."""
    enis = lab.cloud.enis(machine.instance.instance_id)
    primary, secondary = sorted(enis, key=lambda eni: int(eni["Attachment"]["DeviceIndex"]))
    [subnet] = lab.cloud.ec2("describe_subnets", SubnetIds=[secondary["SubnetId"]])["Subnets"]
    network = ip_network(subnet["CidrBlock"])
    config = {
        "vpc": list(VPC_BLOCKS),
        "primary": {"ifname": "eth0", "address": primary["PrivateIpAddress"]},
        "enis": [
            {
                "ifname": "eth1",
                "address": f"{secondary['PrivateIpAddress']}/{network.prefixlen}",
                "subnet": str(network),
                "gateway": str(network[1]),
                "table": 2,
            }
        ],
        "free": [*free(primary, 254, 0), *free(secondary, 2, 1)],
        "mtu": 9001,
        "connmark": "nftables",
        "iptables": "iptables-nft",
        "conf_dir": "/etc/cni/net.d",
        "bin_dir": "/opt/cni/bin",
    }
    script = f"cat > /run/vpc-cni.json && exec {PYTHON} {vpc_cni.__file__} node /run/vpc-cni.json"
    subprocess.run(machine.command("sh", "-ec", script), input=json.dumps(config), text=True, check=True)


def free(eni: dict[str, Any], table: int, device: int) -> Iterator[dict[str, object]]:
    for address in eni["PrivateIpAddresses"]:
        if not address["Primary"]:
            yield {"address": address["PrivateIpAddress"], "table": table, "device": device}


def run_pods(lab: Lab, name: str, replicas: int) -> list[observed.Pod]:
    manifest: dict[str, Any] = workload.deployment(name)
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": NODE}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return workload.scale(lab, replicas, seconds=60, name=name)


def traces(machine: Machine) -> list[str]:
    rules = on_node(machine, "ip", "-d", "rule").splitlines()
    theirs = [line for line in rules if line.partition(":")[0] in {"512", "1024", "1536", "32765"}]
    saved = on_node(machine, "iptables-nft-save").splitlines() + on_node(machine, "nft", "list", "tables").splitlines()
    folder = on_node(machine, "ls", "/var/run/aws-node").split()
    return [
        *(line for line in theirs if "proto 169" not in line),
        *(line for line in saved if "AWS" in line or "aws-cni" in line),
        *(line for line in on_node(machine, "ip", "route").splitlines() if " eni" in line),
        *(name for name in folder if name.endswith("ipam.json")),
    ]


@pytest.fixture
def machine(deployed: Lab) -> Iterator[Machine]:
    """A node on which VPC CNI serves and our agent waits for it to go."""
    brought = {CONFLIST: json.dumps(vpc_cni.conflist(9001))}
    with (
        applied(deployed, json.dumps(AWS_NODE)),
        another_node(deployed, "m5.large", ZONES[0], name=NODE, interfaces=TWO_ENIS, files=brought) as made,
        passing_deployments(deployed, "old", "new"),
    ):
        leave(deployed, made)
        yield made


def test_a_node_changes_hands_with_its_pods_running(deployed: Lab, machine: Machine) -> None:
    def reason() -> str:
        found = [pool for pool in observed.pools(deployed) if pool.name == NODE]
        return found[0].reason("AgentConnected") if found else ""

    wait_for("the agent waits for VPC CNI to go", lambda: reason() == "VPCCNIRunning", seconds=60, interval=0.3)
    old = run_pods(deployed, "old", 3)
    assert on_node(machine, "ls", "/etc/cni/net.d").split() == ["10-aws.conflist"]
    assert len([line for line in traces(machine) if line.startswith("512:")]) == 3

    deployed.kubectl("delete", "daemonset", "aws-node", "-n", "kube-system")
    wait_for("the agent serves", lambda: reason() == "AgentServing", seconds=30, interval=0.3)
    wait_for(
        "our conflist alone counts",
        lambda: "10-aws.conflist" not in on_node(machine, "ls", "/etc/cni/net.d").split(),
        seconds=15,
        interval=0.3,
    )
    new = run_pods(deployed, "new", 3)
    assert {pod.address for pod in new}.isdisjoint({pod.address for pod in old})
    assert observed.misplaced(deployed, old + new) == []
    assert workload.unreachable(deployed, old + new) == []
    assert {workload.seen_outside(deployed, pod) for pod in old + new} == {machine.instance.address}

    workload.scale(deployed, 0, seconds=60, name="old")
    wait_for("nothing of VPC CNI is left", lambda: traces(machine) == [], seconds=30, interval=0.3)
    wait_for(
        "the pool counts the new pods alone",
        lambda: observed.pool(deployed, NODE).usage["assigned"] == len(new),
        seconds=15,
        interval=0.3,
    )
    assert workload.unreachable(deployed, new) == []
