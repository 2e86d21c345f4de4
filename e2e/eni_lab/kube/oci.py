"""Writes an OCI image archive of one layer, without a container engine, for ``ctr images import`` and ``buildah pull``.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names, which the specification uses, by the kernel's."""
Fill = Callable[[tarfile.TarFile], None]
"""Adds the layer's content."""
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def one_program(executable: Path) -> Fill:
    """A layer with nothing but an executable at ``/``. Equal executables give equal layers."""

    def fill(layer: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(executable.name)
        member.size, member.mode = executable.stat().st_size, 0o755
        with executable.open("rb") as stream:
            layer.addfile(member, stream)

    return fill


def root_file_system(tree: Path) -> Fill:
    """A layer with a whole file system, owners and modes kept."""

    def fill(layer: tarfile.TarFile) -> None:
        for entry in sorted(tree.iterdir()):
            layer.add(entry, entry.name)

    return fill


def write_archive(target: Path, name: str, fill: Fill, config: dict[str, object]) -> None:
    """Writes the image ``name`` (with its tag) to ``target``; ``config`` is the image's, such as its Entrypoint."""
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        layer = Path(work) / "layer"
        with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as archive:
            fill(archive)
        with layer.open("rb") as stream:
            digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        rootfs = {"type": "layers", "diff_ids": [digest]}
        history = [{"created_by": f"eni-lab {name}"}]  # one entry a layer, or buildah refuses to build on it
        image = _Blob(
            {
                "architecture": ARCHITECTURES[platform.machine()],
                "os": "linux",
                "config": config,
                "rootfs": rootfs,
                "history": history,
            }
        )
        layers = [_descriptor("application/vnd.oci.image.layer.v1.tar", digest, layer.stat().st_size)]
        configured = image.descriptor("application/vnd.oci.image.config.v1+json")
        manifest = _Blob({"schemaVersion": 2, "mediaType": _MANIFEST, "config": configured, "layers": layers})
        named = {**manifest.descriptor(_MANIFEST), "annotations": {"io.containerd.image.name": name}}
        unfinished = Path(work) / "archive"
        with tarfile.open(unfinished, "w") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
            for blob in (image, manifest):
                _add(archive, _path(blob.digest), blob.data)
            archive.add(layer, _path(digest))
        unfinished.rename(target)


class _Blob:
    """A JSON document, known by the digest of its bytes."""

    def __init__(self, value: object) -> None:
        self.data = json.dumps(value).encode()
        self.digest = "sha256:" + hashlib.sha256(self.data).hexdigest()

    def descriptor(self, media_type: str) -> dict[str, object]:
        return _descriptor(media_type, self.digest, len(self.data))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
