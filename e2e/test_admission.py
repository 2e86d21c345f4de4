"""A stolen token writes its own part of its own node's pool and nothing else, tried as an attacker would."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from eni_lab.errors import LabError
from eni_lab.kube.images import REPOSITORY
from eni_lab.lab import Lab
from eni_testing.disturbances import applied
from eni_testing.thieves import Thief

pytestmark = pytest.mark.e2e

KIND = {"apiVersion": "eni-operator.io/v1alpha1", "kind": "NodeIPPool"}
ENICONFIG = {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": "of-nobody"}}
LATER = "2030-01-01T00:00:00Z"
OVERLAY = REPOSITORY / "deploy" / "cluster-scope"
SYSTEM = ("-n", "kube-system")


@dataclass
class PoolThief(Thief):
    """One who writes NodeIPPools."""

    def write(self, node: str, body: dict[str, object], *arguments: str) -> str:
        manifest = json.dumps({**KIND, "metadata": {"name": node}, **body})
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=thief", "-f", "-")
        done = self.run(*apply, *arguments, stdin=manifest)
        assert done.returncode != 0, f"{self.account} of {self.node} wrote {body} of {node}"
        return done.stderr

    def write_status(self, node: str, status: dict[str, object]) -> str:
        return self.write(node, {"status": status}, "--subresource=status")


@pytest.fixture(scope="module")
def nodes(deployed: Lab) -> Iterator[tuple[str, str]]:
    """Two nodes; should a thief have paused a pool of theirs after all, it goes on afterwards."""
    first, second, *_ = (machine.name for machine in deployed.nodes())
    yield first, second
    for node in (first, second):
        deployed.kubectl("patch", "nodeippool", node, "--type=merge", "-p", '{"spec":{"paused":null}}')


@pytest.fixture(scope="module")
def agent(deployed: Lab, nodes: tuple[str, str]) -> PoolThief:
    return PoolThief(deployed, "eni-agent", nodes[0])


@pytest.fixture(scope="module")
def operator(deployed: Lab, nodes: tuple[str, str]) -> PoolThief:
    return PoolThief(deployed, "eni-operator", nodes[0])


def labelled(node: str) -> dict[str, object]:
    return {"metadata": {"name": node, "labels": {"stolen": "true"}}}


def supply_of(lab: Lab, node: str) -> dict[str, object]:
    supply: dict[str, object] = json.loads(lab.kubectl("get", "nip", node, "-o", "json"))["status"]["supply"]
    return supply


def test_the_agent_may_not_write_supply(deployed: Lab, agent: PoolThief, nodes: tuple[str, str]) -> None:
    changed = {**supply_of(deployed, nodes[0]), "wanted": 99}
    assert "status.supply, which is the operator's" in agent.write_status(nodes[0], {"supply": changed})


def test_the_agent_may_not_write_the_operators_conditions(agent: PoolThief, nodes: tuple[str, str]) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "Stolen", "lastTransitionTime": LATER}
    assert "AgentConnected and DriftDetected only" in agent.write_status(nodes[0], {"conditions": [condition]})


def test_the_agent_may_not_write_another_nodes_usage(agent: PoolThief, nodes: tuple[str, str]) -> None:
    assert f'may not write the pool of "{nodes[1]}"' in agent.write_status(nodes[1], {"usage": {"assigned": 1}})


def test_the_agent_may_not_write_the_spec(agent: PoolThief, nodes: tuple[str, str]) -> None:
    assert "forbidden" in agent.write(nodes[0], {"spec": {"paused": True}}).lower()


def test_the_operator_may_not_write_the_spec(operator: PoolThief, nodes: tuple[str, str]) -> None:
    assert "may create a pool but not change its spec" in operator.write(nodes[0], {"spec": {"paused": True}})


def test_the_operator_may_not_write_usage(operator: PoolThief, nodes: tuple[str, str]) -> None:
    assert "status.usage, which is the agent's" in operator.write_status(nodes[0], {"usage": {"assigned": 99}})


def test_the_operator_may_not_write_another_nodes_pool(operator: PoolThief, nodes: tuple[str, str]) -> None:
    assert f'may not write the pool of "{nodes[1]}"' in operator.write(nodes[1], labelled(nodes[1]))


def test_the_operator_may_not_delete_another_nodes_pool(
    deployed: Lab, operator: PoolThief, nodes: tuple[str, str]
) -> None:
    done = operator.run("delete", "nodeippool", nodes[1])
    assert f'may not write the pool of "{nodes[1]}"' in done.stderr
    assert supply_of(deployed, nodes[1])


@pytest.mark.parametrize(
    ("account", "verb"),
    [("agent", "delete"), ("agent", "update"), ("operator", "update"), ("operator", "deletecollection")],
)
def test_nobody_replaces_pools_and_no_agent_deletes_them(
    account: str, verb: str, agent: PoolThief, operator: PoolThief
) -> None:
    thief = {"agent": agent, "operator": operator}[account]
    assert thief.run("auth", "can-i", verb, "nodeippools.eni-operator.io").stdout.strip() == "no"


def test_the_operator_has_one_lease_and_no_other(operator: PoolThief) -> None:
    def can(verb: str, name: str) -> str:
        return operator.run("auth", "can-i", verb, f"leases.coordination.k8s.io/{name}", *SYSTEM).stdout.strip()

    assert (can("update", "eni-operator"), can("update", "kube-scheduler")) == ("yes", "no")
    assert (can("delete", "eni-operator"), can("list", "")) == ("no", "no")


@pytest.fixture
def _eniconfig(deployed: Lab) -> Iterator[None]:
    with applied(deployed, json.dumps(ENICONFIG)):
        yield


@pytest.mark.usefixtures("_eniconfig")
def test_only_the_operator_writes_the_status_of_an_eniconfig(deployed: Lab, operator: PoolThief) -> None:
    status = json.dumps({**ENICONFIG, "status": {"nodes": 7}})
    write = ("apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-")
    with pytest.raises(LabError, match="written by the operator only"):
        deployed.kubectl(*write, "--field-manager=person", stdin=status)
    assert operator.run(*write, "--field-manager=eni-operator-leader", stdin=status).returncode == 0
    assert operator.run("auth", "can-i", "patch", "eniconfigs.crd.k8s.amazonaws.com").stdout.strip() == "no"


@pytest.fixture(scope="module")
def cluster_operator(deployed: Lab, operator: PoolThief) -> Iterator[PoolThief]:
    """The account of the one operator of a cluster, with a token that no pod and no node bears."""
    with applied(deployed, (OVERLAY / "rbac.yaml").read_text(), *SYSTEM):
        token = deployed.kubectl("create", "token", "eni-cluster-operator", *SYSTEM).strip()
        yield replace(operator, account="eni-cluster-operator", token=token)


def test_the_clusters_operator_writes_every_nodes_supply(
    deployed: Lab, cluster_operator: PoolThief, nodes: tuple[str, str]
) -> None:
    for node in nodes:
        body = json.dumps({**KIND, "metadata": {"name": node}, "status": {"supply": supply_of(deployed, node)}})
        apply = ("apply", "--server-side", "--field-manager=eni-operator", "--dry-run=server", "--subresource=status")
        done = cluster_operator.run(*apply, "-f", "-", stdin=body)
        assert done.returncode == 0, done.stderr


def test_the_clusters_operator_may_not_write_what_is_others(
    cluster_operator: PoolThief, nodes: tuple[str, str]
) -> None:
    assert "status.usage, which is the agent's" in cluster_operator.write_status(nodes[0], {"usage": {"assigned": 99}})
    assert "may create a pool but not change its spec" in cluster_operator.write(nodes[0], {"spec": {"paused": True}})


def test_the_agents_account_sees_no_secret_and_no_node(agent: PoolThief) -> None:
    for what in ("secrets", "nodes", "configmaps"):
        assert agent.run("auth", "can-i", "list", what, "-A").stdout.strip() == "no", what
