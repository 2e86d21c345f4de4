"""The matrix and the command line: which runs are made, what the suite is started with."""

from pathlib import Path

import pytest
import yaml

from eni_lab.aws.instance_types import load_instance_types
from eni_lab.kube.binaries import kubernetes_version
from eni_lab.kube.conformance import binaries, command, dns, images, runs, suite


@pytest.mark.parametrize(
    ("mode", "proxy", "expected"),
    [
        (None, None, ["secondary-nftables", "secondary-iptables", "prefix-nftables", "prefix-iptables"]),
        ("prefix", None, ["prefix-nftables", "prefix-iptables"]),
        (None, "iptables", ["secondary-iptables", "prefix-iptables"]),
        ("secondary", "nftables", ["secondary-nftables"]),
    ],
)
def test_a_choice_narrows_the_matrix(mode: str | None, proxy: str | None, expected: list[str]) -> None:
    assert [run.name for run in command.chosen(mode, proxy)] == expected


@pytest.mark.parametrize("mode", list(runs.MODES))
def test_every_mode_has_manifests_that_set_it(mode: str) -> None:
    kustomization = yaml.safe_load((runs.MANIFESTS / mode / "kustomization.yaml").read_text())
    [patch] = yaml.safe_load(kustomization["patches"][0]["patch"])
    assert patch["value"] == {"name": "ENABLE_PREFIX_DELEGATION", "value": str(mode == "prefix").lower()}
    for resource in kustomization["resources"]:
        assert (runs.MANIFESTS / mode / resource / "kustomization.yaml").exists()


@pytest.mark.parametrize(("mode", "each"), [("secondary", 1), ("prefix", 16)])
def test_what_is_filled_is_all_that_a_primary_eni_has(mode: str, each: int) -> None:
    nodes = runs.MODES[mode]
    slots = load_instance_types()[nodes.instance_type].ipv4_per_eni - 1
    assert nodes.primary_addresses == slots * each


def test_the_suite_is_of_the_version_of_the_cluster() -> None:
    assert kubernetes_version(binaries.SUITE_MODULE) == kubernetes_version()


def test_the_suite_runs_what_conformance_is_and_reports_it(tmp_path: Path) -> None:
    built = {name: tmp_path / name for name in binaries.NAMES}
    line = suite.ginkgo_command(built, tmp_path / "admin.json", tmp_path / "kubectl", tmp_path)
    ours, theirs = line[: line.index("--")], line[line.index("--") + 1 :]
    assert {r"--focus=sig-network.*\[Conformance\]", r"--skip=\[Serial\]", "--json-report=report.json"} <= set(ours)
    assert ours[-1] == str(tmp_path / "e2e.test")
    assert f"--kubeconfig={tmp_path / 'admin.json'}" in theirs


def test_an_image_of_another_version_is_told() -> None:
    assert images.absent_from([*images.SUITE_IMAGES, "registry.k8s.io/e2e-test-images/nginx:1.14-4"]) == []
    newer = [name.replace(":2.56", ":2.57") for name in images.SUITE_IMAGES]
    assert images.absent_from(newer) == [images.AGNHOST]


def test_names_are_served_where_kubelets_send_pods_for_them() -> None:
    kinds = {str(manifest["kind"]): manifest for manifest in dns.manifests()}
    service = kinds["Service"]["spec"]
    assert isinstance(service, dict)
    assert service["clusterIP"] == "172.20.0.10"
    assert {(port["protocol"], port["port"]) for port in service["ports"]} == {("UDP", 53), ("TCP", 53)}
