"""Builds ``cnitool``, the CNI project's own client, from two pinned modules: one for each generation of libcni in use.

``current`` is CNI 1.3.0 (containerd 2.1: knows ``cniVersions``, STATUS and GC), ``previous`` 1.1.2 (containerd 1.6 and
1.7, podman 4: knows neither). Both are small: seconds to build, once, into the cache.
"""

from collections.abc import Mapping
from pathlib import Path

from eni_lab.kube.binaries import compile_module, ensure_go
from eni_lab.kube.images import digest_of
from eni_lab.waiting import Report

MODULES = Path(__file__).parent / "gomod-cni"
GENERATIONS = ("current", "previous")
_PACKAGE = "github.com/containernetworking/cni/cnitool"


def ensure(cache: Path, report: Report) -> Mapping[str, Path]:
    """The program of each generation, built if need be.

    Raises:
        LabError: there is no Go and none can be had, or a build failed.
    """
    files = [file for file in MODULES.rglob("*") if file.is_file()]
    built = cache / "cnitool" / digest_of(files, MODULES)
    found = {generation: built / generation for generation in GENERATIONS}
    for generation, path in found.items():
        if not path.exists():
            report(f"building cnitool ({generation}) into {built}, some 10 seconds")
            built.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            flags = ["-v", "-ldflags", "-s -w", "-o", str(draft)]
            compile_module(MODULES / generation, [ensure_go(cache, report), "build", *flags, _PACKAGE], report)
            draft.replace(path)
    return found
