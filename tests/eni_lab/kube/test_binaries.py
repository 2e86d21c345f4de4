"""Where the Kubernetes binaries are taken from, in which order, and what a build of them is named after."""

import shutil
from pathlib import Path

import pytest

from eni_lab.errors import LabError
from eni_lab.kube import binaries


def place(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_assets_come_before_the_path_and_the_path_before_the_cache(tmp_path: Path) -> None:
    assets = place(tmp_path / "assets", "etcd")
    path = place(tmp_path / "path", "etcd", "kubectl")
    built = place(tmp_path / "built", *binaries.NAMES)
    environ = {"KUBEBUILDER_ASSETS": str(assets), "PATH": str(path)}

    found = binaries.find(environ, built, lambda _name, _path: True)

    assert found["etcd"] == assets / "etcd"
    assert found["kubectl"] == path / "kubectl"
    assert found["kubelet"] == built / "kubelet"


def test_a_binary_of_another_version_on_the_path_is_passed_over(tmp_path: Path) -> None:
    path = place(tmp_path / "path", "kubelet")
    found = binaries.find({"PATH": str(path)}, tmp_path / "built", lambda _name, _path: False)
    assert found["kubelet"] is None


def test_the_version_of_a_binary_is_asked_of_it(tmp_path: Path) -> None:
    minor = binaries.kubernetes_version().rpartition(".")[0]
    for text, expected in ((f"Kubernetes {minor}.9", True), ("Kubernetes v1.99.1", False)):
        executable = tmp_path / "kubelet"
        executable.write_text(f"#!/bin/sh\necho {text}\n")
        executable.chmod(0o755)
        assert binaries.is_of_pinned_version("kubelet", executable) is expected


def test_nothing_is_built_when_all_is_found(tmp_path: Path) -> None:
    place(tmp_path / "bin" / binaries.build_digest(), *binaries.NAMES)
    said: list[str] = []
    found = binaries.ensure({"PATH": ""}, tmp_path, said.append)
    assert sorted(found) == sorted(binaries.NAMES)
    assert said == []


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "tools.go", "etcd/main.go"])
def test_a_build_is_named_after_all_that_it_is_made_of(tmp_path: Path, changed: str) -> None:
    module = tmp_path / "gomod"
    shutil.copytree(binaries.MODULE, module)
    before = binaries.build_digest(module)
    assert before == binaries.build_digest(binaries.MODULE)
    with (module / changed).open("a") as file:
        file.write("\n// another\n")
    assert binaries.build_digest(module) != before


def test_nodes_report_the_pinned_version(tmp_path: Path) -> None:
    flags = binaries.link_flags("v1.34.2")
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.2" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=34" in flags
    (tmp_path / "go.mod").write_text("module other\n")
    with pytest.raises(LabError, match=r"names no version of k8s\.io/kubernetes"):
        binaries.kubernetes_version(tmp_path)
