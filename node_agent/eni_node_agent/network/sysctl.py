"""Reads and writes values under /proc/sys, in the network namespace of the calling thread.

A container without privilege sees /proc/sys read-only, so the folder is an argument: the node's /proc/sys/net mounted
elsewhere can be written with NET_ADMIN. Without such a mount ``preparation`` has set the values in the init container,
and the agent only tells when somebody changed them.
"""

from pathlib import Path


class SysctlError(Exception):
    """A value cannot be written; the message says which, where and why."""


def read(folder: Path, name: str) -> str:
    """Returns the value, empty when there is no such file (its link has gone)."""
    try:
        return (folder / name).read_text().strip()
    except FileNotFoundError:
        return ""


def write(folder: Path, name: str, value: str) -> None:
    """Writes the value; raises SysctlError."""
    try:
        (folder / name).write_text(value)
    except OSError as error:
        message = f"sysctl {name.replace('/', '.')} must be {value} and cannot be written at {folder}: {error.strerror}"
        raise SysctlError(message) from error
