"""What is built for the suite is built once: found in the cache by what it is made of."""

import tarfile
from pathlib import Path

import pytest

from eni_lab.kube import oci
from eni_lab.kube.conformance import binaries, images
from eni_lab.kube.images import digest_of
from eni_lab.layout import Layout


def test_nothing_is_built_when_all_is_in_the_cache(tmp_path: Path) -> None:
    files = [file for file in binaries.MODULES.rglob("*") if file.is_file()]
    folder = tmp_path / "conformance" / digest_of(files, binaries.MODULES)
    folder.mkdir(parents=True)
    for name in binaries.NAMES:
        (folder / name).touch()
    said: list[str] = []
    assert binaries.ensure(tmp_path, said.append) == {name: folder / name for name in binaries.NAMES}
    assert said == []


def test_an_image_of_one_program_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path, tmp_path / "run")
    layout.images.mkdir()
    program = tmp_path / "0123456789ab" / "coredns"
    program.parent.mkdir()
    program.write_text("a server")
    first = images._one_program(layout, program, images.DNS_IMAGE, "coredns")
    assert tarfile.is_tarfile(first)
    monkeypatch.setattr(oci, "write_archive", lambda *_: pytest.fail("made twice"))
    assert images._one_program(layout, program, images.DNS_IMAGE, "coredns") == first


def test_busybox_has_its_applets_beside_it(tmp_path: Path) -> None:
    program = tmp_path / "static"
    program.write_text("#!/bin/sh\nprintf 'busybox\\nsh\\nwget\\n'\n")
    program.chmod(0o755)
    tree = tmp_path / "tree"
    tree.mkdir()
    images._fill_busybox(tree, program)
    assert sorted(path.name for path in (tree / "bin").iterdir()) == ["busybox", "sh", "wget"]
    assert (tree / "bin/sh").readlink() == Path("busybox")
