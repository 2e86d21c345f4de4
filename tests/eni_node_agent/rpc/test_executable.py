import os
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eni_cni_shim import protocol
from eni_cni_shim.protocol import Reply
from eni_node_agent.cluster import conflist
from eni_node_agent.rpc import executable
from eni_node_agent.rpc.executable import ExecutableError, install_executable, remove_executable
from eni_testing import cni


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
    assert [path.read_bytes() for path in (tmp_path / "bin").iterdir()] == [b"old"]


def test_what_a_killed_installer_left_is_swept_and_what_one_at_work_has_is_not(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    for name in (".eni-cni.draft", ".eni-cni.abc.draft", ".eni-cni.young.draft"):
        (tmp_path / name).touch()
        if "young" not in name:
            os.utime(tmp_path / name, (0, 0))
    install_executable(tmp_path / "source", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".eni-cni.young.draft", "eni-cni", "source"]


INSTALLER = """
import sys
from pathlib import Path
from eni_node_agent.rpc.executable import install_executable
source, bin_dir, end = map(Path, sys.argv[1:])
while not end.exists():
    install_executable(source, bin_dir)
"""
"""A process of its own, as an init container is: a draft open for writing must not leak into somebody else's child."""


def test_a_runtime_always_finds_a_whole_executable_while_it_is_replaced(tmp_path: Path) -> None:
    """Two of different content, installed again and again by several at once, executed all the while."""
    bin_dir, end = tmp_path / "bin", tmp_path / "end"
    sources = [tmp_path / "0", tmp_path / "1"]
    for source in sources:
        source.write_text(f"#!/bin/sh\n{'# a long file' * 2000}\necho {source.name}\n")
    install_executable(sources[0], bin_dir)
    installers = [subprocess.Popen([sys.executable, "-c", INSTALLER, each, bin_dir, end]) for each in sources]

    def execute(_: int) -> tuple[int, bytes, bytes]:
        done = subprocess.run([bin_dir / "eni-cni"], capture_output=True, check=False, timeout=10)
        return done.returncode, done.stdout, done.stderr

    answers: set[tuple[int, bytes, bytes]] = set()
    deadline = time.monotonic() + 20
    with ThreadPoolExecutor(8) as threads:
        while len(answers) < 2 and time.monotonic() < deadline:
            answers |= set(threads.map(execute, range(100)))
    end.touch()
    assert [installer.wait(10) for installer in installers] == [0, 0]
    assert answers == {(0, b"0\n", b""), (0, b"1\n", b"")}
    assert [path.name for path in bin_dir.iterdir()] == ["eni-cni"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    [path] = cni.build_forwarder(tmp_path_factory.mktemp("forwarder"))
    return Path(path)


def test_the_real_executable_is_replaced_while_a_request_is_under_way(tmp_path: Path, built: Path) -> None:
    installed = install_executable(built, tmp_path)
    answer, release = b'{"cniVersion":"1.0.0"}', threading.Event()

    def answer_late(connection: socket.socket) -> None:
        release.wait(10)
        cni.answering(protocol.dump_reply(Reply(0, answer)))(connection)

    with cni.agent(answer_late) as path, ThreadPoolExecutor(1) as threads:
        environ = {**cni.environ("ADD"), "ENI_AGENT_SOCKET": str(path)}
        asking = threads.submit(cni.run, [str(installed)], environ, b"{}")
        try:
            for _ in range(20):
                install_executable(built, tmp_path)
        finally:
            release.set()
        assert asking.result(10) == (0, answer)


def test_removes_ours_in_either_language_and_the_drafts(tmp_path: Path, built: Path) -> None:
    for source in (built, Path(cni.PYTHON_FORWARDER[-1])):
        install_executable(source, tmp_path)
        (tmp_path / ".eni-cni.x.draft").touch()
        assert remove_executable(tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert not remove_executable(tmp_path)


def test_somebody_elses_file_of_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / executable.EXECUTABLE).write_text("of somebody else")
    with pytest.raises(ExecutableError, match="stays"):
        remove_executable(tmp_path)
    assert (tmp_path / executable.EXECUTABLE).exists()


class Node:
    """A node's folders, and the command as its init container or a person runs it."""

    def __init__(self, base: Path, built: Path) -> None:
        self.bin, self.conf, self.socket = base / "bin", base / "net.d", base / "agent.sock"
        self.conf.mkdir()
        install_executable(built, self.bin)
        (self.bin / "portmap").touch()
        conflist.replace(self.conf, conflist.compose(conflist.Wish(9001), {}).text)
        (self.conf / "99-loopback.conf").touch()

    def uninstall(self) -> subprocess.CompletedProcess[str]:
        folders = {"HOST_CNI_BIN_PATH": str(self.bin), "HOST_CNI_CONFDIR_PATH": str(self.conf)}
        command = [sys.executable, "-m", "eni_node_agent", "uninstall"]
        environ = {**folders, "ENI_SOCKET_PATH": str(self.socket)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20, check=False)

    def files(self) -> list[str]:
        return sorted(path.name for folder in (self.bin, self.conf) for path in folder.iterdir())


@pytest.fixture
def node(tmp_path: Path, built: Path) -> Node:
    return Node(tmp_path, built)


def test_uninstall_takes_away_what_is_ours_and_nothing_else(node: Node) -> None:
    done = node.uninstall()
    assert (done.returncode, done.stderr) == (0, "")
    assert node.files() == ["99-loopback.conf", "portmap"]
    again = node.uninstall()
    assert (again.returncode, "nothing of ours" in again.stdout) == (0, True)


def test_uninstall_puts_back_the_conflist_that_was_set_aside(node: Node) -> None:
    (node.conf / "10-aws.conflist.before-eni").write_text("theirs")
    done = node.uninstall()
    assert (done.returncode, "put back 10-aws.conflist" in done.stdout) == (0, True)
    assert node.files() == ["10-aws.conflist", "99-loopback.conf", "portmap"]


def test_uninstall_refuses_while_an_agent_serves(node: Node) -> None:
    before = node.files()
    with cni.agent(lambda _: None) as path:
        node.socket = path
        done = node.uninstall()
    assert done.returncode == 1
    assert "end it first" in done.stderr
    assert node.files() == before


def test_uninstall_leaves_all_where_the_conflist_is_not_ours(node: Node) -> None:
    (node.conf / conflist.NAME).write_text('{"plugins": [{"type": "bridge"}]}')
    before = node.files()
    done = node.uninstall()
    assert (done.returncode, "not ours" in done.stderr) == (1, True)
    assert node.files() == before
