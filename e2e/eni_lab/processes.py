"""Processes of the laboratory: started in its cgroup and namespaces, known by name, stopped and started alone.

A part is a long-running process with a name (``etcd``, ``node-a1.kubelet``). How it was started is kept in the state
folder, so a later command of another process can stop or start it.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from eni_lab.cgroups import Cgroup
from eni_lab.errors import LabError
from eni_lab.layout import Layout
from eni_lab.waiting import wait_for

NODE_NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C")
"""All that a node has of its own."""
LAB_NAMESPACES = ("-m", "-n", "-p")
"""All that the laboratory has of its own."""

_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
_children: list[subprocess.Popen[bytes]] = []  # an object forgotten while its process lives is a ResourceWarning


def inside(pid: int, namespaces: Sequence[str], *command: str | Path) -> list[str]:
    """The command, run in the namespaces of a process. nsenter(1)."""
    return ["nsenter", "-t", str(pid), *namespaces, "--", *map(str, command)]


def spawn(command: Sequence[str], log: Path, groups: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Starts a command in its own session and in cgroups, output to a file; its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    joining = ["sh", "-c", _JOIN, "sh", *groups, "--", *command]
    with log.open("ab") as output:
        child = subprocess.Popen(
            joining, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=environ
        )
    _children.append(child)
    return child.pid


def reap() -> None:
    """Takes note of children that have ended, so that none stays as a zombie while this process lives."""
    _children[:] = [child for child in _children if child.poll() is None]


def only_child(pid: int, seconds: float = 10) -> int:
    """The process that a waiting ``nsenter`` or ``unshare`` started.

    Raises:
        LabError: it has ended, and its command with it.
        TimeoutError: it starts nothing.
    """

    def first() -> int | None:
        with suppress(FileNotFoundError):
            numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if numbers:
                return int(numbers[0])
        reap()
        if not is_running(pid):
            raise LabError(f"process {pid} ended before its command was seen")
        return None

    return wait_for(f"process {pid} started its command", first, seconds=seconds)


def has_become(pid: int, executable: str) -> bool:
    """Whether the first process of a namespace ended its preparations and is now what it shall be."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name == executable
    return False


def is_running(pid: int) -> bool:
    """Whether a thread of the process is left; its files and sockets are closed when none is.

    The first thread of a killed process may be a zombie before the others have ended: a server seen as gone by that
    alone still listens. proc_pid_stat(5), state and num_threads.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, threads = fields[0], int(fields[17])
    return state not in {"Z", "X"} or threads > 1


def number_in(pid: int, depth: int) -> int:
    """The number of a process in the pid namespace ``depth`` levels below this one's. proc(5), NSpid."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(line.split()[1 + depth])


class _Record(TypedDict):
    """How a part is started: its command, and the group it belongs to below the laboratory's."""

    command: list[str]
    group: str


class Parts:
    """The long-running processes of one laboratory, by name."""

    def __init__(self, layout: Layout, cgroup: Cgroup) -> None:
        self._layout = layout
        self._cgroup = cgroup

    def names(self) -> list[str]:
        """Every part that was ever started here."""
        return sorted(file.stem for file in self._layout.parts.glob("*.json"))

    def start(self, name: str, command: Sequence[str], group: str) -> None:
        """Starts a part and remembers how: ``command`` is an ``nsenter`` of the part's own program."""
        self._layout.parts.mkdir(parents=True, exist_ok=True)
        self._file(name).write_text(json.dumps(_Record(command=list(command), group=group)))
        self.start_again(name)

    def start_again(self, name: str) -> None:
        """Starts a stopped part as it was started before; one that ends at once is a part that does not run.

        Raises:
            LabError: no part of that name, or it is running.
        """
        record = self._record(name)
        if self.pid(name) is not None:
            raise LabError(f"part {name!r} is running already")
        groups = self._cgroup.create(record["group"])
        outer = spawn(record["command"], self._layout.logs / f"{name}.log", groups)
        pid = outer
        with suppress(LabError):  # gone already, as a kubelet whose runtime is not quite up
            pid = only_child(outer)
        self.remember(name, pid)

    def stop(self, name: str) -> None:
        """SIGKILL, as a crash: asked politely, an API server waits a minute for its watchers.

        Raises:
            LabError: no part of that name.
        """
        self._record(name)
        pid = self.pid(name)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for(f"part {name} ended", lambda: self.pid(name) is None, seconds=10)
        reap()

    def forget(self, prefix: str) -> None:
        """Removes the records of parts whose names begin so."""
        for file in self._layout.parts.glob(f"{prefix}*"):
            file.unlink()

    def memory(self, name: str) -> int:
        """Resident bytes of a running part, 0 of one that is not. proc(5), VmRSS."""
        try:
            status = Path(f"/proc/{self.pid(name)}/status").read_text()
        except FileNotFoundError:
            return 0
        kibibytes = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes[1]) * 1024 if kibibytes else 0

    def remember(self, name: str, pid: int) -> None:
        """Notes the process id of a part or of a namespace's first process."""
        self._layout.parts.mkdir(parents=True, exist_ok=True)
        (self._layout.parts / f"{name}.pid").write_text(str(pid))

    def pid(self, name: str) -> int | None:
        """Its process id while it runs. A number the kernel gave to somebody else since is told by its cgroup."""
        try:
            pid = int((self._layout.parts / f"{name}.pid").read_text())
            groups = Path(f"/proc/{pid}/cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if is_running(pid) and f"/{self._cgroup.name}/" in groups else None

    def _file(self, name: str) -> Path:
        return self._layout.parts / f"{name}.json"

    def _record(self, name: str) -> _Record:
        if not self._file(name).exists():
            raise LabError(f"no part is called {name!r}; there are {', '.join(self.names())}")
        record: _Record = json.loads(self._file(name).read_text())
        return record
