"""This process: how old it is, and of which release."""

import functools
import os
import time
from pathlib import Path
from typing import Final

_STARTTIME: Final = 19
"""Index of starttime among the fields of /proc/PID/stat that follow the command's name (proc_pid_stat(5))."""


def age() -> float:
    """Returns the seconds since the kernel started this process, Python's own start included."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[_STARTTIME]) / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)


@functools.cache
def version() -> str:
    """Returns the release; looked up when first asked, because looking costs more than knowing."""
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("eni-operator")
    except metadata.PackageNotFoundError:
        return "unknown"
