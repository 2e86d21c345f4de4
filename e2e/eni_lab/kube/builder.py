"""Builds images by buildah(1), with a storage of its own in the cache, so that the machine's is not touched.

The base image that the project's Dockerfile names, ``python:3.11-slim``, is a debootstrap(8) tree under that name.
"""

import configparser
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.kube import oci
from eni_lab.layout import Layout
from eni_lab.waiting import Report

BASE_IMAGE = "localhost/python:3.11-slim"
SUITE, PACKAGES = "bookworm", "ca-certificates,python3,python3-venv"
"""The Debian whose python3 is 3.11."""
_UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
_LARGEST_MEBIBYTES = 4096  # of the storage; a build of everything takes 1100
_OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_CERTIFICATES = "/etc/ssl/certs"
_PIP_CONFIGURATION = Path("/etc/pip.conf")
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "cert")  # how a machine reaches its package index


def pip_configuration(machines: str, environ: Mapping[str, str]) -> str:
    """The text of a pip.conf that says what the machine's says, and above that what its environment says.

    An option such as ``index-url`` is the variable PIP_INDEX_URL; pip's documentation, "Configuration".
    """
    configuration = configparser.RawConfigParser()
    configuration.read_string(machines)
    given = {option: environ.get("PIP_" + option.upper().replace("-", "_")) for option in _PIP_OPTIONS}
    configuration.read_dict({"global": {option: value for option, value in given.items() if value}})
    text = io.StringIO()
    configuration.write(text)
    return text.getvalue()


class Builder:
    """One storage of layers and images."""

    def __init__(self, layout: Layout, report: Report) -> None:
        self._images = layout.images
        self._storage = layout.cache / "buildah"
        self._report = report

    def ensure_base(self) -> None:
        """Makes the base image unless the storage has it. A storage grown large with old layers is begun anew."""
        if self._storage.exists() and int(_run("du", "-sm", str(self._storage)).split()[0]) > _LARGEST_MEBIBYTES:
            shutil.rmtree(self._storage)
        if self._buildah("images", "--quiet", "--filter", f"reference={BASE_IMAGE}").strip():
            return
        archive = self._images / f"base-{SUITE}.tar"
        if not archive.exists():
            self._report(f"making {BASE_IMAGE} of Debian {SUITE}, about a minute")
            self._write_base(archive)
        self._buildah("pull", "--quiet", f"oci-archive:{archive}")

    def build(self, name: str, context: Path) -> None:
        """Builds a Dockerfile; layers that did not change are taken from the storage.

        The build sees the machine's certificates and package index, and its proxies, which buildah passes on by itself;
        nothing of them gets into the image.

        Raises:
            LabError: buildah failed; the end of its output is in the message.
        """
        flags = ["--quiet", "--layers", "--isolation", "chroot", "--network", "host", "--pull-never"]
        seen = {path for path in (_CERTIFICATES, os.environ.get("PIP_CERT")) if path and Path(path).exists()}
        flags += [f"--volume={path}:{path}:ro" for path in sorted(seen)]
        machines = _PIP_CONFIGURATION.read_text() if _PIP_CONFIGURATION.exists() else ""
        with tempfile.NamedTemporaryFile("w") as ours:  # for our eyes: the address of an index may hold a password
            ours.write(pip_configuration(machines, os.environ))
            ours.flush()
            flags += [f"--volume={ours.name}:{_PIP_CONFIGURATION}:ro"]
            self._buildah("bud", *flags, "--tag", name, str(context))

    def save(self, name: str, target: Path) -> None:
        """Writes an image to an archive."""
        target.unlink(missing_ok=True)  # buildah writes over none
        self._buildah("push", "--quiet", name, f"docker-archive:{target}:{name}")

    def _buildah(self, *arguments: str) -> str:
        self._storage.mkdir(parents=True, exist_ok=True)
        configuration = self._storage / "storage.conf"
        root = f'runroot = "{self._storage}/run"\ngraphroot = "{self._storage}/root"\n'
        configuration.write_text(f'[storage]\ndriver = "overlay"\n{root}')
        environ = ("env", f"CONTAINERS_STORAGE_CONF={configuration}")  # its mounts go with the namespace
        return _run(*_OWN_NAMESPACES, *environ, "buildah", *arguments)

    def _write_base(self, archive: Path) -> None:
        tree = self._images / f"{archive.stem}.tree"
        shutil.rmtree(tree, ignore_errors=True)
        _run(*_OWN_NAMESPACES, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree))
        for folder in _UNNEEDED:
            shutil.rmtree(tree / folder, ignore_errors=True)
            (tree / folder).mkdir()
        oci.write_archive(archive, BASE_IMAGE, oci.root_file_system(tree), {"Cmd": ["python3"]})
        shutil.rmtree(tree)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise LabError(f"{' '.join(command[:12])} ended with status {done.returncode}:\n" + "\n".join(words))
    return done.stdout
