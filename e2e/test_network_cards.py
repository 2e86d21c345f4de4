"""Several network cards on a real cluster: a pod that asks has an interface on each managed one, any other has one."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from eni_lab.cloud_client import ZONES
from eni_lab.demo import observed
from eni_lab.kube.images import POD_IMAGE
from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.podcheck.cluster import NodeSight, holds
from eni_lab.podcheck.expected import ifname_of
from eni_lab.waiting import wait_for
from eni_testing.disturbances import another_node, environment
from eni_testing.inspections import inspect
from eni_testing.residents import OPEN, answers, at, by

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NODE = "node-cards"
KIND = "p4d.24xlarge"
"""Four network cards of fifteen ENIs."""
FOR_EFA = {"NetworkCardIndex": 3, "DeviceIndex": 1, "InterfaceType": "efa-only", "DeleteOnTermination": True}
LAUNCHED_WITH = ({"DeviceIndex": 0}, FOR_EFA)
"""The last card is for EFA alone, so it is not managed."""
MANAGED = (0, 1, 2)
EVERY_CARD = {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}
LABEL = "app=cards"
ALL = 2 * len(MANAGED) + 1
"""Addresses of the node's pods."""


@dataclass(frozen=True)
class Pods:
    """The pods, and what was seen when the last one had come."""

    sight: NodeSight
    addresses: Mapping[str, tuple[str, ...]]
    """Of the node's pods by name, each pod's by the number of its interface."""
    neighbour: str
    """The address of a pod on another node."""
    pool: observed.Pool
    shown: str
    """By ``kubectl get nodeippool``."""


@pytest.fixture(scope="module")
def cluster(deployed: Lab) -> Iterator[Lab]:
    """The session's cluster, its operators managing every card."""
    with environment(deployed, "eni-operator", ENABLE_MULTI_NIC="true"):
        yield deployed


@pytest.fixture(scope="module")
def pods(cluster: Lab) -> Iterator[Pods]:
    """Bound to a node that is just starting, as an autoscaler's are, while EC2 gives no further ENI for a moment."""
    node = another_node(cluster, KIND, ZONES[0], name=NODE, max_pods=20, interfaces=LAUNCHED_WITH)
    with ExitStack() as stack:
        with cluster.cloud.fault(action="CreateNetworkInterface", code="InternalError", status=500):
            machine = stack.enter_context(node)
            stack.callback(cluster.kubectl, "delete", "pods", "-l", LABEL, "--now", "--wait=true")
            run(cluster)
            cluster.kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=60s")
            wait_for("both pods that ask wait", lambda: on_each_card(cluster, "pending") == {1: 2, 2: 2}, seconds=20)
            assert {pod.name for pod in observed.pods(cluster, LABEL)} <= {"plain", "neighbour"}
        yield see(cluster, machine)


def see(cluster: Lab, machine: Machine) -> Pods:
    """Returns the pods once all have come."""
    cluster.kubectl("wait", "--for=condition=Ready", "pods", "-l", LABEL, "--timeout=60s")
    wait_for("the pool counts all", lambda: observed.pool(cluster, NODE).usage["assigned"] == ALL, seconds=15)
    sight = NodeSight(cluster, machine)
    running = {pod.name: pod.address for pod in observed.pods(cluster, LABEL)}
    addresses = {name: interfaces(sight, running[name]) for name in ("asker", "leaver", "plain")}
    shown = cluster.kubectl("get", "nodeippool", NODE)
    return Pods(sight, addresses, running["neighbour"], observed.pool(cluster, NODE), shown)


def run(lab: Lab) -> None:
    """Creates two pods that ask for every card, one of which leaves, one that does not ask, and one elsewhere."""
    items = [
        pod("asker", NODE, EVERY_CARD),
        pod("leaver", NODE, EVERY_CARD),
        pod("plain", NODE, {}),
        pod("neighbour", lab.nodes()[0].name, {}),
    ]
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def pod(name: str, node: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": POD_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve", str(OPEN)],
        "readinessProbe": {"tcpSocket": {"port": OPEN}, "periodSeconds": 1},
    }
    key, value = LABEL.split("=")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {key: value}, "annotations": annotations},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def interfaces(sight: NodeSight, address: str) -> tuple[str, ...]:
    """The one address of each interface of the pod that has this one, by the number of the interface."""
    inside = sight.pod(address)
    assert inside is not None, f"no namespace has {address}"
    names = [ifname_of(number) for number in range(len(inside.links) - 1)]
    assert set(inside.links) == {"lo", *names}
    cidrs = [cidr for name in names for cidr in inside.links[name].addresses]
    assert len(cidrs) == len(names), inside.links
    return tuple(cidr.removesuffix("/32") for cidr in cidrs)


def card_of(sight: NodeSight, address: str) -> int:
    """The network card that EC2 has the address on."""
    [eni] = [eni for eni in sight.described if holds(eni, address)]
    return int(eni["Attachment"]["NetworkCardIndex"])


def on_each_card(lab: Lab, what: str) -> dict[int, int]:
    """A figure of the pool's usage by further network card."""
    return {card["networkCard"]: card[what] for card in observed.pool(lab, NODE).usage.get("cards", [])}


def test_a_pod_that_asks_has_an_interface_on_every_managed_card(pods: Pods) -> None:
    for name in ("asker", "leaver"):
        assert tuple(card_of(pods.sight, address) for address in pods.addresses[name]) == MANAGED
    faults = [each for n, address in enumerate(pods.addresses["asker"]) for each in pods.sight.faults(address, n)]
    assert faults == []


def test_a_pod_that_does_not_ask_has_one(pods: Pods) -> None:
    [address] = pods.addresses["plain"]
    assert card_of(pods.sight, address) == 0
    assert pods.sight.faults(address) == []


def test_each_of_its_addresses_reaches_other_pods_and_is_seen(cluster: Lab, pods: Pods) -> None:
    for other in (pods.neighbour, *pods.addresses["plain"]):
        asked = {by(source, at(other, OPEN)): source for source in pods.addresses["asker"]}
        got = answers(cluster, "asker", list(asked))
        assert {target: said.split()[1] for target, said in got.items()} == asked


@pytest.mark.parametrize("other", ["neighbour", "plain"])
def test_each_of_its_addresses_answers_other_pods(cluster: Lab, pods: Pods, other: str) -> None:
    asked = {at(address, OPEN): address for address in pods.addresses["asker"]}
    got = answers(cluster, other, list(asked))
    assert {target: said.rpartition(" ")[2] for target, said in got.items()} == asked


def test_the_pool_tells_of_each_card(pods: Pods) -> None:
    assert pods.pool.supply["cards"] == list(MANAGED)
    assert {card["networkCard"]: card["assigned"] for card in pods.pool.usage["cards"]} == {1: 2, 2: 2}
    assert {eni["networkCard"]: eni["role"] for eni in pods.pool.supply["enis"]}[3] == "efa-only"
    row = dict(zip(*(line.split() for line in pods.shown.splitlines()), strict=True))
    assert (row["ENIS"], row["USED"], row["READY"]) == (str(len(MANAGED)), str(ALL), "True")


def test_supply_ledger_kernel_and_runtime_agree(cluster: Lab, pods: Pods) -> None:
    document = inspect(cluster, NODE)
    assert (document["differences"], document["couldNotLook"]) == ([], [])
    assert len(pods.addresses["asker"]) == len(MANAGED)


def test_nothing_is_left_of_a_pod_that_has_gone(cluster: Lab, pods: Pods) -> None:
    veths = {address: pods.sight.veth(address) for address in pods.addresses["leaver"]}
    assert len(set(veths.values())) == len(MANAGED)
    cluster.kubectl("delete", "pod", "leaver", "--now", "--wait=true")

    def left() -> list[str]:
        sight = NodeSight(cluster, cluster.node(NODE))
        return [each for address, veth in veths.items() for each in sight.left(address, veth, owned=True)]

    wait_for("nothing of the pod", lambda: left() == [], seconds=20, interval=0.3)
    wait_for("each card has one less", lambda: on_each_card(cluster, "assigned") == {1: 1, 2: 1}, seconds=15)
    document = inspect(cluster, NODE)
    assert (document["differences"], document["couldNotLook"]) == ([], [])
