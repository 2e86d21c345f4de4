"""When a process of the laboratory has ended, and when it only looks so."""

import subprocess
import sys
from pathlib import Path

import pytest

from eni_lab.errors import LabError
from eni_lab.processes import is_running, only_child, spawn
from eni_lab.waiting import wait_for

FIRST_THREAD_ENDS = """\
import ctypes, platform, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # exit(2): of this thread alone
"""


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_process_runs_until_its_last_thread_ended() -> None:
    command = [sys.executable, "-c", FIRST_THREAD_ENDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        wait_for("its first thread ended", lambda: is_zombie(process.pid), seconds=10)
        assert is_running(process.pid)
        process.kill()
        wait_for("all of it ended", lambda: not is_running(process.pid), seconds=10)
        assert is_zombie(process.pid)  # nobody has asked for its status yet
    assert not is_running(process.pid)


def test_a_process_that_never_was_is_not_running() -> None:
    assert not is_running(2**22 + 1)


def test_a_command_that_ended_at_once_is_told_of_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="ended before its command was seen"):
        only_child(spawn(["true"], tmp_path / "log", []), seconds=600)
