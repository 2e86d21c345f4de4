"""The cluster's keys and certificates by openssl(1), and kubeconfigs that use them. Good for thirty days."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from eni_lab.kube.addresses import API_ADDRESS, API_URL, CLUSTER_DOMAIN, KUBERNETES_SERVICE
from eni_lab.layout import Layout

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


@dataclass(frozen=True)
class Identity:
    """Whom a certificate names. Kubernetes reads the user from CN and the groups from O."""

    name: str
    """Of the files."""
    user: str
    group: str = ""
    names: tuple[str, ...] = ()
    """Subject alternative names such as ``IP:10.0.1.4``; only of servers."""


CONTROL_PLANE = (
    Identity("admin", "admin", "system:masters"),
    Identity("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
    # in the group of masters: with its own name alone it may not patch nodes unless it waits for service accounts
    Identity("controller-manager", "kube-controller-manager", "system:masters"),
    Identity("scheduler", "system:kube-scheduler"),
    Identity("proxy", "system:kube-proxy"),
)
API_SERVER = Identity(
    "apiserver",
    "kube-apiserver",
    names=(
        *(f"IP:{address}" for address in (API_ADDRESS, "127.0.0.1", KUBERNETES_SERVICE)),
        *(f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", f".default.svc.{CLUSTER_DOMAIN}")),
    ),
)


def node_identity(node: str, address: str) -> Identity:
    """A node's: client of the API server under the Node authorizer, and server of its kubelet's port."""
    return Identity(node, f"system:node:{node}", "system:nodes", (f"DNS:{node}", f"IP:{address}"))


def request(pki: Path, identity: Identity) -> list[str]:
    """The openssl command that makes a key and a certificate signed by the cluster's authority."""
    group = f"/O={identity.group}" if identity.group else ""
    usage = "clientAuth,serverAuth" if identity.names else "clientAuth"
    command = ["openssl", "req", "-x509", "-CA", f"{pki}/ca.crt", "-CAkey", f"{pki}/ca.key", *_NEW_KEY]
    command += ["-keyout", f"{pki}/{identity.name}.key", "-out", f"{pki}/{identity.name}.crt"]
    command += ["-subj", f"{group}/CN={identity.user}", "-addext", f"extendedKeyUsage={usage}"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    return command + (["-addext", f"subjectAltName={','.join(identity.names)}"] if identity.names else [])


def kubeconfig(pki: Path, identity: Identity) -> str:
    """A kubeconfig of that identity, as JSON."""
    cluster = {"server": API_URL, "certificate-authority": f"{pki}/ca.crt"}
    user = {"client-certificate": f"{pki}/{identity.name}.crt", "client-key": f"{pki}/{identity.name}.key"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": identity.user, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": identity.user}}],
            "current-context": "lab",
        }
    )


def issue(layout: Layout, identity: Identity) -> None:
    """Makes key, certificate and kubeconfig of one identity."""
    _openssl(request(layout.pki, identity))
    target = layout.kubeconfig(identity.name)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    target.write_text(kubeconfig(layout.pki, identity))


def create_authority(layout: Layout) -> None:
    """Makes the authority, the key of service account tokens and the control plane's identities."""
    pki = layout.pki
    pki.mkdir(mode=0o700)
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    subject = ("-subj", "/CN=eni-lab", "-addext", usage)
    _openssl(["openssl", "req", "-x509", *_NEW_KEY, "-keyout", f"{pki}/ca.key", "-out", f"{pki}/ca.crt", *subject])
    _openssl(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{pki}/sa.key"])
    _openssl(["openssl", "ec", "-in", f"{pki}/sa.key", "-pubout", "-out", f"{pki}/sa.pub"])
    for identity in (*CONTROL_PLANE, API_SERVER):
        issue(layout, identity)


def _openssl(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
