"""Image archives of one layer: complete, consistent, and equal for equal content."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from eni_lab.kube import oci


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pause"
    path.write_bytes(b"\x7fELF and so on")
    return path


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name: file.read() for name, file in files.items() if file}


def blob(content: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    data = content["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
    return data


def test_every_part_is_reached_by_its_digest(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "image.tar"
    oci.write_archive(archive, "localhost/pause:1", oci.one_program(program), {"Entrypoint": ["/pause"]})
    content = members(archive)

    listed = json.loads(content["index.json"])["manifests"][0]
    manifest = json.loads(blob(content, listed))
    config = json.loads(blob(content, manifest["config"]))
    layer = blob(content, manifest["layers"][0])

    assert listed["annotations"]["io.containerd.image.name"] == "localhost/pause:1"
    assert config["config"] == {"Entrypoint": ["/pause"]}
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert len(config["history"]) == len(manifest["layers"])
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as opened:
        assert [(member.name, member.mode, member.uid) for member in opened] == [("pause", 0o755, 0)]


def test_equal_programs_give_equal_images(tmp_path: Path, program: Path) -> None:
    for name in ("one.tar", "two.tar"):
        program.touch()
        oci.write_archive(tmp_path / name, "localhost/pause:1", oci.one_program(program), {})
    assert members(tmp_path / "one.tar").keys() == members(tmp_path / "two.tar").keys()


def test_a_file_system_keeps_its_modes_and_links(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/tool").touch(mode=0o750)
    (tree / "bin").symlink_to("usr/bin")
    with tarfile.open(tmp_path / "layer.tar", "w") as layer:
        oci.root_file_system(tree)(layer)
    with tarfile.open(tmp_path / "layer.tar") as layer:
        assert layer.getmember("bin").linkname == "usr/bin"
        assert layer.getmember("usr/bin/tool").mode == 0o750
