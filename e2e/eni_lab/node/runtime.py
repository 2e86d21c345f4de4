"""A container runtime played on a node: ADD and DEL for network namespaces of its own, without pods or kubelet.

Starts ``runtime_driver`` as a process of the node and collects its reports. For measurements and for faults where the
API server is away and no pod can be had.
"""

import json
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eni_lab.node.machine import Machine
from eni_lab.waiting import wait_for

DRIVER = Path(__file__).parent / "runtime_driver.py"
PYTHON = "/usr/bin/python3"
"""The node's, which is the machine's."""


class Runtime:
    """Commands begin at once and run side by side; reports come as they end."""

    def __init__(self, machine: Machine, retry_seconds: float = 1.0) -> None:
        """Starts the driver; a failed ADD is tried again after a second, as VPC CNI's figures were taken."""
        command = machine.command(PYTHON, "-u", DRIVER, str(retry_seconds))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reports: list[dict[str, Any]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, verb: str, name: str) -> None:
        """Begins NEW, ADD or DEL of the namespace of that name."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{verb} {name}\n")
        self._process.stdin.flush()

    def reports(self, verb: str) -> list[dict[str, Any]]:
        """What has ended so far: name, failures, seconds, address and the last error."""
        return [report for report in list(self._reports) if report["verb"] == verb]

    def add(self, names: list[str], *, seconds: float) -> list[dict[str, Any]]:
        """Gives new namespaces their network, all at once; the reports once all have it."""
        self.finish("NEW", names, seconds=30)
        return self.finish("ADD", names, seconds=seconds)

    def finish(self, verb: str, names: list[str], *, seconds: float) -> list[dict[str, Any]]:
        """Begins a command for each name and returns the reports once all have ended."""
        for name in names:
            self.begin(verb, name)

        def ended() -> list[dict[str, Any]] | None:
            mine = [report for report in self.reports(verb) if report["name"] in names]
            return mine if len(mine) == len(names) else None

        return wait_for(f"{verb} of {len(names)} sandboxes", ended, seconds=seconds)

    def close(self) -> None:
        """Ends the driver once its commands have ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self._reports.extend(json.loads(line) for line in self._process.stdout)
