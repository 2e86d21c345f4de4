"""Stores that link to what another has unpacked."""

import shutil
from pathlib import Path

import pytest

from eni_lab.kube import seed

SNAPSHOTS, BLOBS = seed._LINKED


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    (path / SNAPSHOTS / "1" / "fs").mkdir(parents=True)
    (path / SNAPSHOTS / "1" / "fs" / "file").write_text("layer")
    (path / BLOBS).mkdir(parents=True)
    (path / BLOBS / "abc").write_text("blob")
    for database in seed._DATABASES:
        (path / database).parent.mkdir(exist_ok=True)
        (path / database).write_text("rows")
    return path


def test_a_store_that_shares_has_all_that_the_other_has(store: Path, tmp_path: Path) -> None:
    seed.share(store, tmp_path / "node")
    assert (tmp_path / "node" / SNAPSHOTS / "1" / "fs" / "file").read_text() == "layer"
    assert (tmp_path / "node" / BLOBS / "abc").read_text() == "blob"


def test_its_databases_are_its_own(store: Path, tmp_path: Path) -> None:
    seed.share(store, tmp_path / "node")
    for database in seed._DATABASES:
        (tmp_path / "node" / database).write_text("other rows")
        assert (store / database).read_text() == "rows"


def test_what_it_removes_stays_in_the_other(store: Path, tmp_path: Path) -> None:
    seed.share(store, tmp_path / "node")
    (tmp_path / "node" / SNAPSHOTS / "1").unlink()  # as containerd's os.RemoveAll does with a link
    shutil.rmtree(tmp_path / "node")
    assert (store / SNAPSHOTS / "1" / "fs" / "file").read_text() == "layer"


def test_a_store_that_shares_of_one_that_shares_links_to_the_first(store: Path, tmp_path: Path) -> None:
    seed.share(store, tmp_path / "second")
    seed.share(tmp_path / "second", tmp_path / "third")
    shutil.rmtree(tmp_path / "second")
    assert (tmp_path / "third" / SNAPSHOTS / "1" / "fs" / "file").read_text() == "layer"
