"""What ``eni-agent`` says on a node of a laboratory, asked as a person asks it: by ``kubectl exec``."""

import json
import subprocess
from typing import Any

from eni_lab.lab import Lab


def agent_of(lab: Lab, node: str) -> str:
    """The agent's pod on a node, as ``pod/NAME``."""
    selection = ("-l", "app.kubernetes.io/name=eni-agent", f"--field-selector=spec.nodeName={node}", "-o", "name")
    return lab.kubectl("-n", "kube-system", "get", "pods", *selection).strip()


def execute(lab: Lab, node: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command of the agent in its container."""
    command = lab.kubectl_command("-n", "kube-system", "exec", agent_of(lab, node), "-c", "agent", "--", "eni-agent")
    return subprocess.run([*command, *arguments], capture_output=True, timeout=90, check=False)


def inspect(lab: Lab, node: str) -> dict[str, Any]:
    """What ``eni-agent inspect --json`` finds."""
    result = execute(lab, node, "inspect", "--json")
    assert result.stdout, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert (result.returncode == 0) == (document["differences"] == [] and document["couldNotLook"] == [])
    return document
