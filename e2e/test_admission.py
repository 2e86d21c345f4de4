"""A stolen token writes its own part of its own node's pool and nothing else, tried as an attacker would."""

import json
import subprocess
from dataclasses import dataclass

import pytest

from eni_lab.kube.addresses import API_URL
from eni_lab.lab import Lab

pytestmark = pytest.mark.e2e

KIND = {"apiVersion": "eni-operator.io/v1alpha1", "kind": "NodeIPPool"}
LATER = "2030-01-01T00:00:00Z"


@dataclass
class Thief:
    """Someone with the token of a service account's pod on one node."""

    lab: Lab
    account: str
    node: str

    def __post_init__(self) -> None:
        self.token = self._steal()

    def _steal(self) -> str:
        pods = json.loads(
            self.lab.kubectl(
                "get", "pod", "-n", "kube-system", "--field-selector", f"spec.nodeName={self.node}", "-o", "json"
            )
        )
        pod = next(p for p in pods["items"] if p["spec"]["serviceAccountName"] == self.account)["metadata"]["name"]
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
        return self.lab.kubectl("create", "token", self.account, "-n", "kube-system", *bound).strip()

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = self.lab.kubectl_command("--kubeconfig=/dev/null", f"--server={API_URL}")
        command += [f"--certificate-authority={self.lab.layout.pki / 'ca.crt'}", f"--token={self.token}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)

    def write(self, node: str, body: dict[str, object], *arguments: str) -> str:
        manifest = json.dumps({**KIND, "metadata": {"name": node}, **body})
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=thief", "-f", "-")
        done = self.run(*apply, *arguments, stdin=manifest)
        assert done.returncode != 0, f"{self.account} of {self.node} wrote {body} of {node}"
        return done.stderr

    def write_status(self, node: str, status: dict[str, object]) -> str:
        return self.write(node, {"status": status}, "--subresource=status")


@pytest.fixture(scope="module")
def nodes(deployed: Lab) -> tuple[str, str]:
    first, second, *_ = (machine.name for machine in deployed.nodes())
    return first, second


@pytest.fixture(scope="module")
def agent(deployed: Lab, nodes: tuple[str, str]) -> Thief:
    return Thief(deployed, "eni-agent", nodes[0])


@pytest.fixture(scope="module")
def operator(deployed: Lab, nodes: tuple[str, str]) -> Thief:
    return Thief(deployed, "eni-operator", nodes[0])


def labelled(node: str) -> dict[str, object]:
    return {"metadata": {"name": node, "labels": {"stolen": "true"}}}


def supply_of(lab: Lab, node: str) -> dict[str, object]:
    supply: dict[str, object] = json.loads(lab.kubectl("get", "nip", node, "-o", "json"))["status"]["supply"]
    return supply


def test_the_agent_may_not_write_supply(deployed: Lab, agent: Thief, nodes: tuple[str, str]) -> None:
    changed = {**supply_of(deployed, nodes[0]), "wanted": 99}
    assert "status.supply, which is the operator's" in agent.write_status(nodes[0], {"supply": changed})


def test_the_agent_may_not_write_the_operators_conditions(agent: Thief, nodes: tuple[str, str]) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "Stolen", "lastTransitionTime": LATER}
    assert "AgentConnected and DriftDetected only" in agent.write_status(nodes[0], {"conditions": [condition]})


def test_the_agent_may_not_write_another_nodes_usage(agent: Thief, nodes: tuple[str, str]) -> None:
    assert f'may not write the pool of "{nodes[1]}"' in agent.write_status(nodes[1], {"usage": {"assigned": 1}})


def test_the_agent_may_not_write_the_spec(agent: Thief, nodes: tuple[str, str]) -> None:
    assert "forbidden" in agent.write(nodes[0], {"spec": {"paused": True}}).lower()


def test_the_operator_may_not_write_the_spec(operator: Thief, nodes: tuple[str, str]) -> None:
    assert "may create a pool but not change its spec" in operator.write(nodes[0], {"spec": {"paused": True}})


def test_the_operator_may_not_write_usage(operator: Thief, nodes: tuple[str, str]) -> None:
    assert "status.usage, which is the agent's" in operator.write_status(nodes[0], {"usage": {"assigned": 99}})


def test_the_operator_may_not_write_another_nodes_pool(operator: Thief, nodes: tuple[str, str]) -> None:
    assert f'may not write the pool of "{nodes[1]}"' in operator.write(nodes[1], labelled(nodes[1]))


@pytest.mark.parametrize("verb", ["delete", "update"])
@pytest.mark.parametrize("account", ["agent", "operator"])
def test_nobody_deletes_or_replaces_pools(verb: str, account: str, agent: Thief, operator: Thief) -> None:
    thief = {"agent": agent, "operator": operator}[account]
    assert thief.run("auth", "can-i", verb, "nodeippools.eni-operator.io").stdout.strip() == "no"


def test_the_agents_account_sees_no_secret_and_no_node(agent: Thief) -> None:
    for what in ("secrets", "nodes", "configmaps"):
        assert agent.run("auth", "can-i", "list", what, "-A").stdout.strip() == "no", what
