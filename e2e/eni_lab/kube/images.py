"""The images of the laboratory's nodes, made without registry or container engine, cached by what they are made of.

Two of one static program each (``pause``, ``lab-pod``), and the project's, from the repository's Dockerfile.
They are kept as a containerd store that nodes share (``kube.seed``), in two steps: what changes with the requirements,
and on top of a copy of that what changes with the sources.
"""

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from eni_lab.cgroups import Cgroup
from eni_lab.kube import oci, programs, seed
from eni_lab.kube.builder import Builder
from eni_lab.layout import Layout
from eni_lab.node.config import PAUSE_IMAGE
from eni_lab.waiting import Report

REPOSITORY = Path(__file__).parents[3]
PROJECT_IMAGE = "localhost/eni-operator:dev"
POD_IMAGE = "localhost/lab-pod:1"
_PROGRAMS = {"pause": PAUSE_IMAGE, "labpod": POD_IMAGE}
_STORES = "[0-9a-f]" * 12
_BASE = "base"  # in a store: the one it links to
_USERS = "users"  # in a store: the cgroups of laboratories whose nodes link to it
_KEPT = 3  # stores, the newest of those that no laboratory uses


def digest_of(files: Iterable[Path], root: Path) -> str:
    """Names the content of files, and where below ``root`` they are."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_mode:o}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def build_inputs(repository: Path) -> list[Path]:
    """The files that the project's image is made of: the Dockerfile, and all that it copies from the repository."""
    dockerfile = repository / "Dockerfile"
    files = [dockerfile, repository / ".dockerignore"]
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            path = repository / source
            files += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [file for file in files if file.exists() and "__pycache__" not in file.parts]


def store(layout: Layout, report: Report) -> Path:
    """A containerd store that has all images; made where the cache lacks it.

    Raises:
        LabError: a tool is missing or failed; its words are in the message.
    """
    with layout.cache_lock():
        ours = [_program_archive(layout, program, name) for program, name in _PROGRAMS.items()]
        kind = "-".join(archive.stem for archive in ours)
        target = layout.stores / _name(digest_of(build_inputs(REPOSITORY), REPOSITORY), kind)
        if not target.exists():
            project = layout.images / "project.tar"
            _build_project(layout, project, report)
            report("importing it for the nodes")
            base = layout.stores / ("base-" + _name(*_stable_layers(project), kind))
            if not base.exists():
                seed.build(base, [*ours, project])
            seed.build(target, [project], base)
            (target / _BASE).symlink_to(base)
            (target / _USERS).mkdir()
            project.unlink()
            _prune(layout.stores)
        target.touch()
        return target


def take(layout: Layout, store_taken: Path) -> None:
    """Makes a store the one that this laboratory's nodes link to: it is kept while the laboratory is up."""
    with layout.cache_lock():
        for earlier in layout.stores.glob(f"*/{_USERS}/{layout.cgroup}"):
            earlier.unlink()
        (store_taken / _USERS / layout.cgroup).touch()
        layout.image_store.symlink_to(store_taken)


def _name(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _stable_layers(archive: Path) -> list[str]:
    """All layers but the last, which holds the project's own files."""
    with tarfile.open(archive) as opened:
        manifest = opened.extractfile("manifest.json")
        assert manifest is not None
        layers: list[str] = json.load(manifest)[0]["Layers"]
    return layers[:-1]


def _program_archive(layout: Layout, program: str, name: str) -> Path:
    executable = programs.ensure(program, layout.cache)
    target = layout.images / f"{program}-{executable.parent.name}.tar"
    if not target.exists():
        layout.images.mkdir(parents=True, exist_ok=True)
        oci.write_archive(target, name, oci.one_program(executable), {"Entrypoint": [f"/{program}"]})
    return target


def _build_project(layout: Layout, target: Path, report: Report) -> None:
    builder = Builder(layout, report)
    builder.ensure_base()
    report(f"building {PROJECT_IMAGE} from the Dockerfile")
    builder.build(PROJECT_IMAGE, REPOSITORY)
    builder.save(PROJECT_IMAGE, target)


def _prune(folder: Path) -> None:
    """Removes stores but the newest, those of laboratories that are up, and what these link to."""
    newest_first = sorted(folder.glob(_STORES), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT:]:
        if not any(Cgroup(user.name).exists() for user in path.glob(f"{_USERS}/*")):
            shutil.rmtree(path)
    linked = {(path / _BASE).resolve() for path in folder.glob(_STORES)}
    for base in set(folder.glob("base-*")) - linked:
        shutil.rmtree(base)
