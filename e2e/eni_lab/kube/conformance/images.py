"""The images that the tests start, under one registry name, and CoreDNS: archives in the cache, then one store a run.

Upstream's images are not fetched: agnhost is built from the suite's own module on the base of the project's image,
busybox is Debian's static one, and ``jessie-dnsutils`` is agnhost again, which has ``dig`` too. A test that starts
another image fails with ImagePullBackOff. ``REPOSITORIES`` is what the suite is told.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.kube import oci, programs, seed
from eni_lab.kube.builder import Builder
from eni_lab.kube.conformance.binaries import SuiteBinaries
from eni_lab.kube.images import REPOSITORY, digest_of
from eni_lab.layout import Layout
from eni_lab.waiting import Report

REGISTRY = "localhost/e2e"
REPOSITORIES = f"promoterE2eRegistry: {REGISTRY}\ngcRegistry: {REGISTRY}\n"
"""The file that KUBE_TEST_REPO_LIST names: where the suite's images are (RegistryList of test/utils/image)."""
AGNHOST = f"{REGISTRY}/agnhost:2.56"
DNSUTILS = f"{REGISTRY}/jessie-dnsutils:1.7"
BUSYBOX = f"{REGISTRY}/busybox:1.37.0-1"
PAUSE = f"{REGISTRY}/pause:3.10.1"
SUITE_IMAGES = (AGNHOST, DNSUTILS, BUSYBOX, PAUSE)
DNS_IMAGE = "localhost/coredns:1"
_DOCKERFILE = REPOSITORY / "e2e" / "conformance" / "agnhost" / "Dockerfile"


def ensure(layout: Layout, built: SuiteBinaries, report: Report) -> list[Path]:
    """The archives, made where the cache lacks them.

    Raises:
        LabError: a tool is missing or failed, or the suite asks for other versions than SUITE_IMAGES.
    """
    _demand_versions(built["e2e.test"])
    layout.images.mkdir(parents=True, exist_ok=True)
    with layout.cache_lock():
        pause = programs.ensure("pause", layout.cache)
        return [
            *_agnhost(layout, built, report),
            _busybox(layout),
            _one_program(layout, pause, PAUSE, "suite-pause"),
            _one_program(layout, built["coredns"], DNS_IMAGE, "coredns"),
        ]


def add_to_store(layout: Layout, archives: list[Path]) -> None:
    """Gives a laboratory that has no nodes yet a store of its own: the laboratory's images and these."""
    target = layout.state / "suite-images"
    seed.build(target, archives, layout.image_store.resolve())
    layout.image_store.unlink()
    layout.image_store.symlink_to(target)


def _demand_versions(suite: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(REPOSITORIES)
        file.flush()
        environ = {"KUBE_TEST_REPO_LIST": file.name}
        answer = subprocess.run([suite, "--list-images"], env=environ, capture_output=True, text=True, check=True)
    if absent := absent_from(answer.stdout.split()):
        raise LabError(f"the suite asks for other versions than {', '.join(absent)}; see SUITE_IMAGES")


def absent_from(listed: Iterable[str]) -> list[str]:
    """Which of SUITE_IMAGES the suite does not name."""
    return sorted(set(SUITE_IMAGES) - set(listed))


def _agnhost(layout: Layout, built: SuiteBinaries, report: Report) -> list[Path]:
    digest = digest_of([_DOCKERFILE], _DOCKERFILE.parent) + built["agnhost"].parent.name
    targets = {name: layout.images / f"suite-{short}-{digest}.tar" for name, short in _agnhost_names().items()}
    if all(target.exists() for target in targets.values()):
        return list(targets.values())
    builder = Builder(layout, report)
    builder.ensure_base()
    report(f"building {AGNHOST}")
    with tempfile.TemporaryDirectory(dir=layout.images) as context:
        for source in (_DOCKERFILE, *(built[name] for name in ("agnhost", "localhost.crt", "localhost.key"))):
            shutil.copy(source, context)
        for name, target in targets.items():  # the second is the first's layers under another name
            unfinished = Path(context) / target.name
            builder.build(name, Path(context))
            builder.save(name, unfinished)
            unfinished.rename(target)
    return list(targets.values())


def _agnhost_names() -> dict[str, str]:
    return {AGNHOST: "agnhost", DNSUTILS: "dnsutils"}


def _busybox(layout: Layout) -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise LabError("busybox is not installed; `make deps` installs it")
    program = Path(found).resolve()
    target = layout.images / f"suite-busybox-{digest_of([program], program.parent)}.tar"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=layout.images) as tree:
            _fill_busybox(Path(tree), program)
            oci.write_archive(target, BUSYBOX, oci.root_file_system(Path(tree)), {"Cmd": ["sh"]})
    return target


def _fill_busybox(tree: Path, program: Path) -> None:
    for folder in ("bin", "etc", "tmp"):
        (tree / folder).mkdir()
    shutil.copy(program, tree / "bin/busybox")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in set(listed.split()) - {"busybox"}:
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")


def _one_program(layout: Layout, executable: Path, name: str, short: str) -> Path:
    target = layout.images / f"{short}-{executable.parent.name}.tar"
    if not target.exists():
        oci.write_archive(target, name, oci.one_program(executable), {"Entrypoint": [f"/{executable.name}"]})
    return target
