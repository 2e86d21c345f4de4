"""Hosts for tests: network namespaces of their own, held open by a process that dies with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

import pytest

from eni_lab.fabric.namespaces import Holder, entered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

P = ParamSpec("P")
T = TypeVar("T")


def require_namespaces() -> None:
    """Skips the test, or fails it in CI, where network namespaces cannot be made."""
    missing = [tool for tool in ("unshare", "nsenter", "ip", "nft", "ping") if shutil.which(tool) is None]
    reason = "it is not run as root" if os.geteuid() != 0 else f"{', '.join(missing)} is missing" if missing else ""
    if reason and os.environ.get("CI"):
        pytest.fail(f"this test needs network namespaces, but {reason}; in CI that is a failure")
    if reason:
        pytest.skip(f"this test needs network namespaces, but {reason}")


class Host:
    """One network namespace, loopback up: an instance, the VPC's router, or a pod."""

    def __init__(self) -> None:
        require_namespaces()
        self._holder = Holder()
        self.run(["ip", "link", "set", "lo", "up"])

    @property
    def pid(self) -> int:
        """A process inside."""
        return self._holder.pid

    @property
    def path(self) -> str:
        """The namespace's file, ``/proc/<pid>/ns/net``."""
        return self._holder.path

    def run(self, argv: Sequence[str], *, check: bool = True, timeout: float = 10) -> subprocess.CompletedProcess[str]:
        """Runs a command inside; fails the test with its output unless it exits with 0 or ``check`` is off."""
        command = ["nsenter", f"--net={self.path}", *argv]
        result = subprocess.run(command, text=True, capture_output=True, check=False, timeout=timeout)
        if check and result.returncode != 0:
            pytest.fail(f"{' '.join(argv)} exits with {result.returncode}: {result.stdout}{result.stderr}")
        return result

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function while the calling thread is inside."""
        with entered(self.path):
            return function(*args, **kwargs)

    def reaches(self, address: str, *, source: str | None = None, timeout: float = 1.0) -> bool:
        """Whether one ping is answered within ``timeout`` seconds."""
        options = ["-I", source] if source else []
        ping = ["ping", "-n", "-c1", f"-W{timeout}", *options, address]
        return self.run(ping, check=False, timeout=timeout + 10).returncode == 0

    def close(self) -> None:
        """Ends the holder; the namespace goes with it."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
