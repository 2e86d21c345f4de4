import json
from pathlib import Path

import pytest

from eni_node_agent.cluster import conflist


def folders(base: Path) -> tuple[Path, Path]:
    conf_dir, bin_dir = base / "net.d", base / "bin"
    conf_dir.mkdir()
    bin_dir.mkdir()
    return conf_dir, bin_dir


def test_names_our_executable_and_the_pods_mtu(tmp_path: Path) -> None:
    conf_dir, bin_dir = folders(tmp_path)
    assert conflist.ensure(conf_dir, bin_dir, 1500)
    found = json.loads((conf_dir / "10-eni.conflist").read_text())
    assert (found["name"], found["cniVersion"]) == ("eni", "1.0.0")
    assert [plugin["type"] for plugin in found["plugins"]] == ["eni-cni"]
    assert found["plugins"][0]["mtu"] == 1500


def test_chains_portmap_where_it_is_installed(tmp_path: Path) -> None:
    conf_dir, bin_dir = folders(tmp_path)
    (bin_dir / "portmap").touch()
    conflist.ensure(conf_dir, bin_dir, 9001)
    found = json.loads((conf_dir / "10-eni.conflist").read_text())
    assert [plugin["type"] for plugin in found["plugins"]] == ["eni-cni", "portmap"]


def test_writes_only_what_differs_and_leaves_no_draft(tmp_path: Path) -> None:
    conf_dir, bin_dir = folders(tmp_path)
    assert conflist.ensure(conf_dir, bin_dir, 9001)
    assert not conflist.ensure(conf_dir, bin_dir, 9001)
    (conf_dir / "10-eni.conflist").write_bytes(b"\xff torn")
    assert conflist.ensure(conf_dir, bin_dir, 9001)
    assert [path.name for path in conf_dir.iterdir()] == ["10-eni.conflist"]


def test_a_missing_folder_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"net\.d"):
        conflist.ensure(tmp_path / "net.d", tmp_path, 9001)
