"""What is asked of kubectl to deploy the product and to change its environment."""

import pytest

from eni_lab import deployment
from eni_lab.deployment import MANIFESTS, apply, operator_kinds, set_env

AGENT = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: eni-agent\n"
ACCOUNT = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: eni-operator\n"


def operator(kind: str) -> str:
    return f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  labels:\n    a: b\n  name: eni-operator\nspec: {{}}\n"


class Recorded:
    """Answers every command with the same text and keeps what was asked."""

    def __init__(self, answer: str = "") -> None:
        self.asked: list[tuple[str, ...]] = []
        self.given: list[str] = []
        self._answer = answer

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        self.asked.append(arguments)
        self.given += [stdin] if stdin is not None else []
        return self._answer


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_the_kind_of_the_operator_is_read_from_the_manifests(kind: str) -> None:
    assert operator_kinds("---\n".join([AGENT, ACCOUNT, operator(kind)])) == {kind}


@pytest.mark.parametrize(("kind", "other"), [("DaemonSet", "Deployment"), ("Deployment", "DaemonSet")])
def test_applying_takes_the_operator_of_the_other_kind_away_first(kind: str, other: str) -> None:
    rendered = "---\n".join([AGENT, ACCOUNT, operator(kind)])
    kubectl = Recorded(rendered)
    apply(kubectl, MANIFESTS)
    assert kubectl.asked == [
        ("kustomize", str(MANIFESTS)),
        ("delete", other, "eni-operator", "-n", "kube-system", "--ignore-not-found"),
        ("apply", "-f", "-"),
    ]
    assert kubectl.given == [rendered]


@pytest.mark.parametrize(
    ("workload", "target"),
    [("eni-agent", "daemonset/eni-agent"), ("deployment/eni-operator", "deployment/eni-operator")],
)
def test_a_variable_is_set_or_taken_away_and_the_rollout_waited_for(workload: str, target: str) -> None:
    kubectl = Recorded()
    set_env(kubectl, workload, {"WARM_IP_TARGET": "5", "WARM_ENI_TARGET": None}, seconds=90)
    assert kubectl.asked == [
        ("set", "env", target, "-n", deployment.NAMESPACE, "WARM_IP_TARGET=5", "WARM_ENI_TARGET-"),
        ("rollout", "status", target, "-n", deployment.NAMESPACE, "--timeout=90s"),
    ]
