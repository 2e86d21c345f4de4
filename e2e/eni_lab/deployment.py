"""The product in a laboratory's cluster: one of the kustomizations of ``e2e/deploy``, and its environment.

Counterpart: ``eni_lab.lab`` gives the ``kubectl`` that all of it is done with.
"""

import re
from pathlib import Path
from typing import Protocol

from eni_lab.kube.images import REPOSITORY

MANIFESTS = REPOSITORY / "e2e" / "deploy"
"""The product as users apply it, with what the laboratory needs; folders in it are other ways to deploy it."""
NAMESPACE = "kube-system"
OPERATOR = "eni-operator"
_OPERATOR_KINDS = {"DaemonSet", "Deployment"}
"""One operator a node, or one for the cluster: never both."""


class Kubectl(Protocol):
    """Runs kubectl as the cluster's administrator; what it printed. LabError when it failed."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """``kubectl ARGUMENTS``."""
        ...


def apply(kubectl: Kubectl, folder: Path) -> None:
    """Applies a kustomization, and takes the operator of another kind away."""
    rendered = kubectl("kustomize", str(folder))
    for kind in sorted(_OPERATOR_KINDS - operator_kinds(rendered)):
        kubectl("delete", kind, OPERATOR, "-n", NAMESPACE, "--ignore-not-found")
    kubectl("apply", "-f", "-", stdin=rendered)


def operator_kinds(rendered: str) -> set[str]:
    """The kinds of workload that manifests have under the operator's name."""
    documents = re.split(r"^---$", rendered, flags=re.MULTILINE)
    named = (text for text in documents if re.search(rf"^  name: {OPERATOR}$", text, flags=re.MULTILINE))
    found = (re.search(r"^kind: (\w+)$", text, flags=re.MULTILINE) for text in named)
    return {match[1] for match in found if match} & _OPERATOR_KINDS


def set_env(kubectl: Kubectl, workload: str, variables: dict[str, str | None], seconds: float) -> None:
    """Sets environment variables of a workload (None takes one away) and waits until every pod has them.

    Args:
        kubectl: of the cluster.
        workload: ``eni-agent``, a DaemonSet, or another kind as ``deployment/eni-operator``.
        variables: by name.
        seconds: how long the rollout may take.
    """
    target = workload if "/" in workload else f"daemonset/{workload}"
    changes = [f"{name}-" if value is None else f"{name}={value}" for name, value in variables.items()]
    kubectl("set", "env", target, "-n", NAMESPACE, *changes)
    kubectl("rollout", "status", target, "-n", NAMESPACE, f"--timeout={seconds:g}s")
