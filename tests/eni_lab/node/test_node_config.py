"""What a node says of itself: its instance, its labels, how many pods it takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from eni_lab.node import config
from eni_lab.node.config import Instance

INSTANCE = Instance("node-a1", "i-0123", "m5.large", "us-east-1a", "10.0.1.4", 29)


@pytest.mark.parametrize(
    ("instance_type", "interfaces", "addresses", "pods"),
    [
        pytest.param("t3.micro", 2, 2, 4, id="t3.micro"),
        pytest.param("m5.large", 3, 10, 29, id="m5.large"),
        pytest.param("c5.xlarge", 4, 15, 58, id="c5.xlarge"),
        pytest.param("m5.24xlarge", 15, 50, 737, id="m5.24xlarge"),
    ],
)
def test_the_number_of_pods_is_the_one_that_eks_publishes(
    instance_type: str, interfaces: int, addresses: int, pods: int
) -> None:
    assert config.max_pods(interfaces, addresses) == pods, instance_type


def test_a_node_names_its_instance_as_the_aws_cloud_provider_does() -> None:
    assert config.kubelet(INSTANCE, Path("pki"))["providerID"] == "aws:///us-east-1a/i-0123"


def test_a_node_has_the_addresses_of_its_instance_ipv4_first() -> None:
    assert INSTANCE.node_ips == "10.0.1.4"
    assert replace(INSTANCE, ipv6_address="2600:1f18::5").node_ips == "10.0.1.4,2600:1f18::5"


def test_a_node_is_labelled_with_its_place_and_type() -> None:
    assert INSTANCE.labels.split(",") == [
        "node.kubernetes.io/instance-type=m5.large",
        "topology.kubernetes.io/region=us-east-1",
        "topology.kubernetes.io/zone=us-east-1a",
    ]


def test_a_node_asks_the_api_server_who_may_use_its_kubelet() -> None:
    kubelet = config.kubelet(INSTANCE, Path("pki"))
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}


def test_the_proxy_leaves_the_machines_conntrack_alone() -> None:
    assert config.kube_proxy(INSTANCE, Path("kubeconfig"))["conntrack"]["maxPerCore"] == 0
