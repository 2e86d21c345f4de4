"""One operator for the cluster: it serves every node, hands the lead on, and outlives a node's replacement."""

import json
from collections.abc import Iterator

import pytest

from eni_lab.lab import Lab, Options
from eni_lab.waiting import wait_for
from eni_testing.disturbances import applied
from eni_testing.laboratories import new_lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

SYSTEM = ("-n", "kube-system")
LEASE_SECONDS = 15


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """Two nodes and an operator in scope cluster, two of it."""
    laboratory = new_lab("cluster-scope")
    try:
        laboratory.up(Options(tied=True, service_times=False))
        laboratory.deploy("cluster-scope")
        yield laboratory
    finally:
        laboratory.down()


def supply(lab: Lab, node: str) -> dict[str, object]:
    text = lab.kubectl("get", "nip", node, "-o", "json", check=False)
    pool = json.loads(text) if text.startswith("{") else {}
    found: dict[str, object] = pool.get("status", {}).get("supply", {})
    return found


def holder(lab: Lab) -> str:
    return lab.kubectl(
        "get", "lease", "eni-operator", *SYSTEM, "-o", "jsonpath={.spec.holderIdentity}", check=False
    ).strip()


def test_every_node_has_its_supply_from_one_operator(cluster: Lab) -> None:
    names = [machine.name for machine in cluster.nodes()]
    for name in names:
        wait_for(f"supply of {name}", lambda node=name: supply(cluster, node), seconds=60, interval=0.5)  # type: ignore[misc]
    assert cluster.kubectl("get", "daemonset", *SYSTEM, "-o", "name").split() == ["daemonset.apps/eni-agent"]
    pods = json.loads(
        cluster.kubectl("get", "pods", *SYSTEM, "-l", "app.kubernetes.io/name=eni-operator", "-o", "json")
    )
    assert len({pod["spec"]["nodeName"] for pod in pods["items"]}) == 2


def test_the_lead_is_handed_on_within_a_lease_when_its_pod_is_deleted(cluster: Lab) -> None:
    before = wait_for("a leader", lambda: holder(cluster), seconds=60, interval=0.5)
    cluster.kubectl("delete", "pod", before.rpartition("_")[0], *SYSTEM, "--wait=false")
    wait_for("another leader", lambda: holder(cluster) not in ("", before), seconds=LEASE_SECONDS, interval=0.2)


def test_a_node_replaced_under_its_name_gets_a_pool_of_its_own(cluster: Lab) -> None:
    name = cluster.nodes()[-1].name
    uid = cluster.kubectl("get", "nip", name, "-o", "jsonpath={.metadata.uid}")
    successor = cluster.replace_node(name)

    def is_served() -> bool:
        instance = supply(cluster, name).get("instance")
        return isinstance(instance, dict) and instance.get("id") == successor.instance.instance_id

    wait_for("supply for the new instance", is_served, seconds=90, interval=0.5)
    assert cluster.kubectl("get", "nip", name, "-o", "jsonpath={.metadata.uid}") != uid
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=120s")


def test_an_eniconfig_tells_that_nobody_uses_it(cluster: Lab) -> None:
    config = {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": "unused"}}
    told = ("--for=jsonpath={.status.conditions[0].reason}=ENIConfigUnused", "--timeout=40s")
    with applied(cluster, json.dumps(config)):
        cluster.kubectl("wait", "eniconfig/unused", *told)
