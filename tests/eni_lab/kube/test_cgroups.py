"""Cgroups of both versions, on directories that look like them."""

from pathlib import Path

from eni_lab.cgroups import Cgroup


def hierarchies(mount: Path, *names: str) -> Path:
    for name in names:
        (mount / name).mkdir(parents=True)
        (mount / name / "cgroup.procs").touch()
    return mount


def test_version_one_has_the_group_in_every_hierarchy(tmp_path: Path) -> None:
    mount = hierarchies(tmp_path, "memory", "pids")
    joined = Cgroup("lab", mount).create("node-a1")
    assert joined == [str(mount / name / "lab/node-a1/cgroup.procs") for name in ("memory", "pids")]


def test_a_version_one_cpuset_is_given_its_parents_before_a_process_joins(tmp_path: Path) -> None:
    mount = hierarchies(tmp_path, "cpuset")
    for place in ("cpuset", "cpuset/lab", "cpuset/lab/node-a1"):
        (mount / place).mkdir(exist_ok=True)
        (mount / place / "cpuset.cpus").write_text("0-1" if place == "cpuset" else "")
    Cgroup("lab", mount).create("node-a1")
    assert (mount / "cpuset/lab/node-a1/cpuset.cpus").read_text() == "0-1"


def test_version_two_hands_controllers_down_and_keeps_inner_groups_empty(tmp_path: Path) -> None:
    for place in ("", "lab", "lab/node-a1", "lab/node-a1/init"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "cgroup.controllers").write_text("cpu memory\n")
    joined = Cgroup("lab", tmp_path).create("node-a1")
    assert joined == [str(tmp_path / "lab/node-a1/init/cgroup.procs")]
    assert (tmp_path / "lab" / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_processes_of_all_groups_below_are_found(tmp_path: Path) -> None:
    mount = hierarchies(tmp_path, "pids")
    for place, pids in (("lab", ""), ("lab/lab", "11\n12\n"), ("lab/node-a1", "13\n"), ("other", "99\n")):
        (mount / "pids" / place).mkdir(exist_ok=True)
        (mount / "pids" / place / "cgroup.procs").write_text(pids)
    assert Cgroup("lab", mount).processes() == {11, 12, 13}
    assert Cgroup("lab", mount).processes("node-a1") == {13}


def test_a_group_is_removed_with_all_below_it(tmp_path: Path) -> None:
    mount = hierarchies(tmp_path, "memory", "pids")
    for hierarchy in ("memory", "pids"):
        (mount / hierarchy / "lab/node-a1/kubepods").mkdir(parents=True)
    group = Cgroup("lab", mount)
    assert group.exists()
    group.remove("node-a1")
    assert group.exists()
    group.remove()
    assert not group.exists()
    assert (mount / "pids").exists()
