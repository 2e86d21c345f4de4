"""The laboratory's cgroup: made for its nodes, used to find and to end every process of it. cgroups(7), both versions.

Version 1 has a directory of the same name in each hierarchy; version 2 has one tree, whose inner groups hold no
process, so there a node's own processes sit in ``NODE/init`` (``node/boot.sh`` is the counterpart).
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eni_lab.waiting import wait_for

MOUNT = Path("/sys/fs/cgroup")


class Cgroup:
    """A cgroup at the top of every hierarchy, and the groups below it."""

    def __init__(self, name: str, mount: Path = MOUNT) -> None:
        self.name = name
        self._mount = mount
        self._unified = (mount / "cgroup.controllers").exists()

    def create(self, child: str) -> list[str]:
        """Makes ``NAME/child`` in every hierarchy; gives the ``cgroup.procs`` files that a process joins it by."""
        leaf = f"{child}/init" if self._unified else child
        for hierarchy in self._hierarchies():
            place = hierarchy
            for piece in (self.name, *leaf.split("/")):
                parent, place = place, place / piece
                place.mkdir(exist_ok=True)
                self._prepare(parent, place)
        return [str(hierarchy / self.name / leaf / "cgroup.procs") for hierarchy in self._hierarchies()]

    def processes(self, child: str = "") -> set[int]:
        """Every process in the group and below, by its number here."""
        found: set[int] = set()
        for place in self._places(child):
            with suppress(OSError):  # removed while it was read
                found.update(int(line) for line in (place / "cgroup.procs").read_text().split())
        return found

    def kill(self, child: str = "", seconds: float = 20) -> None:
        """SIGKILL to all of them, until none is left.

        Raises:
            TimeoutError: some process does not end.
        """

        def none_left() -> bool:
            remaining = self.processes(child)
            for pid in remaining:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not remaining

        wait_for(f"processes of cgroup {self.name}/{child} ended", none_left, seconds=seconds)

    def remove(self, child: str = "", seconds: float = 10) -> None:
        """Removes the group and those below it, waiting for the kernel to let go of killed processes."""

        def removed() -> bool:
            for place in self._places(child):
                with suppress(OSError):
                    place.rmdir()
            return not any(self._places(child))

        wait_for(f"cgroup {self.name}/{child} removed", removed, seconds=seconds)

    def exists(self) -> bool:
        """Whether any hierarchy still has it."""
        return any(self._places(""))

    def _hierarchies(self) -> list[Path]:
        if self._unified:
            return [self._mount]
        return sorted(place for place in self._mount.iterdir() if (place / "cgroup.procs").exists())

    def _places(self, child: str) -> Iterator[Path]:
        """The directories of the group, the deepest first."""
        for hierarchy in self._hierarchies():
            for place, _, _ in os.walk(hierarchy / self.name / child, topdown=False):
                yield Path(place)

    def _prepare(self, parent: Path, place: Path) -> None:
        if self._unified:
            controllers = (parent / "cgroup.controllers").read_text().split()
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        for file in ("cpuset.cpus", "cpuset.mems"):  # an empty cpuset of version 1 takes no process
            if not self._unified and (place / file).exists():
                (place / file).write_text((parent / file).read_text())
