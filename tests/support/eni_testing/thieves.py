"""Somebody with the token of one of our service accounts, who tries what it should not be good for."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eni_lab.kube.addresses import API_URL
from eni_lab.processes import inside

if TYPE_CHECKING:
    from eni_lab.lab import Lab

_PATCH = """
import json, ssl, sys, urllib.error, urllib.request
url, authority, token, content_type, body = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
request = urllib.request.Request(url, body.encode(), headers, method="PATCH")
try:
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=authority)) as response:
        print(response.status, end=" ")
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["message"])
"""


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

    def patch(self, path: str, body: object, content_type: str = "application/merge-patch+json") -> tuple[int, str]:
        """Sends a patch as it is, which kubectl does not: it reads the object first. Returns status and message."""
        authority = str(self.lab.layout.pki / "ca.crt")
        words = [f"{API_URL}{path}", authority, self.token, content_type, json.dumps(body)]
        command = inside(self.lab.pid, ("-n",), sys.executable, "-c", _PATCH, *words)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        status, _, message = done.stdout.partition(" ")
        return int(status), message

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs kubectl with nothing but that token."""
        command = self.lab.kubectl_command("--kubeconfig=/dev/null", f"--server={API_URL}")
        command += [f"--certificate-authority={self.lab.layout.pki / 'ca.crt'}", f"--token={self.token}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
