"""The cluster's certificates: whom they name, and that they hold."""

import json
import subprocess
from pathlib import Path

import pytest

from eni_lab.kube import certificates
from eni_lab.kube.certificates import Identity
from eni_lab.layout import Layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("pki")
    layout = Layout(root / "cache", root)
    certificates.create_authority(layout)
    certificates.issue(layout, certificates.node_identity("node-a1", "10.0.1.4"))
    return layout


def described(layout: Layout, name: str, *what: str) -> str:
    command = ["openssl", "x509", "-in", str(layout.pki / f"{name}.crt"), "-noout", *what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", [identity.name for identity in certificates.CONTROL_PLANE] + ["apiserver", "node-a1"])
def test_every_certificate_is_the_authoritys(layout: Layout, name: str) -> None:
    command = ["openssl", "verify", "-CAfile", str(layout.pki / "ca.crt"), str(layout.pki / f"{name}.crt")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_node_is_held_to_its_own_objects_and_serves_under_its_address(layout: Layout) -> None:
    assert described(layout, "node-a1", "-subject").strip() == "subject=O = system:nodes, CN = system:node:node-a1"
    names = described(layout, "node-a1", "-ext", "subjectAltName,extendedKeyUsage")
    assert "DNS:node-a1, IP Address:10.0.1.4" in names
    assert "TLS Web Client Authentication, TLS Web Server Authentication" in names


def test_the_api_server_serves_under_the_address_of_the_service_in_pods(layout: Layout) -> None:
    assert "IP Address:172.20.0.1," in described(layout, "apiserver", "-ext", "subjectAltName")


def test_a_client_cannot_serve(layout: Layout) -> None:
    assert "Server" not in described(layout, "scheduler", "-ext", "extendedKeyUsage")


def test_an_identity_without_a_group_has_none() -> None:
    command = certificates.request(Path("pki"), Identity("proxy", "system:kube-proxy"))
    assert command[command.index("-subj") + 1] == "/CN=system:kube-proxy"


def test_a_kubeconfig_uses_its_own_key(layout: Layout) -> None:
    config = json.loads(layout.kubeconfig("node-a1").read_text())
    assert config["users"][0]["user"]["client-key"] == str(layout.pki / "node-a1.key")
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.255.10:6443"
