"""Network namespaces by path: enter one for a while, or hold a new one open with a process.

A namespace is named by the path of its file, ``/proc/<pid>/ns/net``, and recognised by that file's inode,
because a process id is used again and an inode of a living namespace is not.
Every function acts on the calling thread alone (setns(2), network_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNET = 0x40000000
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace as it was when it was looked up."""

    path: str
    inode: int

    @classmethod
    def at(cls, path: str) -> Self:
        """The namespace ``path`` leads to now; OSError when there is none."""
        return cls(path, Path(path).stat().st_ino)

    def lives(self) -> bool:
        """Whether the path still leads to the same namespace."""
        try:
            return Path(self.path).stat().st_ino == self.inode
        except OSError:
            return False


def enter(path: str) -> None:
    """Moves the calling thread into the namespace at ``path``, for good; OSError when the kernel refuses."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(descriptor, path)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def entered(path: str) -> Iterator[None]:
    """The calling thread is in the namespace at ``path`` until the block ends."""
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(path)
        try:
            yield
        finally:
            _setns(home, OWN)
    finally:
        os.close(home)


def _setns(descriptor: int, path: str) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


class Holder:
    """A process in a new network namespace of its own, which lives until ``close`` or our own death.

    The process must write one line on stdout when it is ready and end when its stdin ends.
    That pipe, not a signal, carries our death to it, so it outlives no kill -9.
    """

    def __init__(self, argv: Sequence[str] = ("sh", "-c", "echo ready; exec cat")) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.close()
            raise RuntimeError(f"the process {argv[0]} ended before it was ready in its network namespace")

    @property
    def pid(self) -> int:
        """The process id of the holder."""
        return self._process.pid

    @property
    def path(self) -> str:
        """The path of the namespace's file."""
        return f"/proc/{self.pid}/ns/net"

    def close(self) -> None:
        """Ends the process; its namespace goes when nobody else is in it."""
        self._process.kill()
        self._process.communicate()
