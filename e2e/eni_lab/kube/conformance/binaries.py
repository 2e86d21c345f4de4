"""Builds what the network conformance needs beside the laboratory's own Kubernetes: test suite, its runner, DNS server.

From two pinned Go modules in ``gomod-e2e``, once, into the cache; named by the modules. The suite's module asks for the
same versions as the laboratory's Kubernetes, so Go compiles again only what the tests add. CoreDNS has a module of its
own: its dependencies are others.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from eni_lab.kube.binaries import compile_module, ensure_go, kubernetes_version, link_flags
from eni_lab.kube.images import digest_of
from eni_lab.waiting import Report

MODULES = Path(__file__).parents[1] / "gomod-e2e"
SUITE_MODULE = MODULES / "kubernetes"
DNS_MODULE = MODULES / "coredns"
AGNHOST = "k8s.io/kubernetes/test/images/agnhost"
_PORTER_FILES = ("localhost.crt", "localhost.key")
"""The certificate that agnhost's TLS server shows; its image has it beside the program."""
NAMES = ("agnhost", *_PORTER_FILES, "ginkgo", "e2e.test", "coredns")

SuiteBinaries = Mapping[str, Path]
"""Where each of NAMES is."""


def ensure(cache: Path, report: Report) -> SuiteBinaries:
    """All of them, built if need be.

    Raises:
        LabError: there is no Go and none can be had, or a build failed.
    """
    files = [file for file in MODULES.rglob("*") if file.is_file()]
    built = cache / "conformance" / digest_of(files, MODULES)
    found = {name: built / name for name in NAMES}
    if missing := {name for name, path in found.items() if not path.exists()}:
        began = time.monotonic()
        report(f"building {', '.join(sorted(missing))} into {built}, about 10 minutes on two cores")
        built.mkdir(parents=True, exist_ok=True)
        _build(missing, built, ensure_go(cache, report), report)
        report(f"built them in {time.monotonic() - began:.0f} s")
    return found


def _build(missing: set[str], built: Path, go: str, report: Report) -> None:
    version = ("-v", "-ldflags", link_flags(kubernetes_version(SUITE_MODULE)))
    if missing & {"agnhost", "ginkgo", *_PORTER_FILES}:
        packages = (AGNHOST, "github.com/onsi/ginkgo/v2/ginkgo")
        compile_module(SUITE_MODULE, [go, "build", *version, "-o", f"{built}/", *packages], report)
        _copy_porter_files(go, built)
    if "e2e.test" in missing:
        suite = ["-o", str(built / "e2e.test"), "k8s.io/kubernetes/test/e2e"]
        compile_module(SUITE_MODULE, [go, "test", "-c", "-vet=off", *version, *suite], report)
    if "coredns" in missing:
        server = ["-ldflags", "-s -w", "-o", str(built / "coredns"), "."]
        compile_module(DNS_MODULE, [go, "build", "-v", *server], report)


def _copy_porter_files(go: str, built: Path) -> None:
    asking = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    answer = subprocess.run(asking, cwd=SUITE_MODULE, capture_output=True, text=True, check=True)
    for name in _PORTER_FILES:
        shutil.copyfile(Path(answer.stdout.strip()) / "test/images/agnhost/porter" / name, built / name)
