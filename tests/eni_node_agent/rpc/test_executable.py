import stat
from pathlib import Path

import pytest

from eni_node_agent.rpc.executable import install_executable


def test_puts_the_executable_in_place_of_the_old_one(tmp_path: Path) -> None:
    source, bin_dir = tmp_path / "eni-cni", tmp_path / "host" / "bin"
    source.write_bytes(b"new")
    bin_dir.mkdir(parents=True)
    (bin_dir / "eni-cni").write_bytes(b"old")
    with (bin_dir / "eni-cni").open("rb") as running:  # the runtime is executing it: it must not be written into
        target = install_executable(source, bin_dir)
        assert running.read() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert [path.name for path in bin_dir.iterdir()] == ["eni-cni"]


def test_a_missing_source_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "eni-cni").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        install_executable(tmp_path / "eni-cni", tmp_path / "bin")
    assert (tmp_path / "bin" / "eni-cni").read_bytes() == b"old"
