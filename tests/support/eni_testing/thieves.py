"""Somebody with the token of one of our service accounts, who tries what it should not be good for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eni_lab.kube.addresses import API_URL

if TYPE_CHECKING:
    from eni_lab.lab import Lab


@dataclass
class Thief:
    """Has the token of a service account's pod on one node, or the one it is given."""

    lab: Lab
    account: str
    node: str
    token: str = ""

    def __post_init__(self) -> None:
        self.token = self.token or self._steal()

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
        """Runs kubectl with nothing but that token."""
        command = self.lab.kubectl_command("--kubeconfig=/dev/null", f"--server={API_URL}")
        command += [f"--certificate-authority={self.lab.layout.pki / 'ca.crt'}", f"--token={self.token}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
