"""Puts the CNI executable on the host and takes it away; the work of ``eni-agent install`` and ``uninstall``.

Decides nothing about when: the executable may be there before the agent, the conflist, which the running agent writes,
only with it.
"""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from eni_crds.names import AGENT_SOCKET

EXECUTABLE: Final = "eni-cni"
LONGEST_INSTALL_SECONDS: Final = 600.0
"""An older draft is nobody's: copying a megabyte takes milliseconds."""
_DRAFT: Final = f".{EXECUTABLE}."


class ExecutableError(Exception):
    """The file there is not ours to take away."""


def install_executable(source: Path, bin_dir: Path) -> Path:
    """Puts the executable in place so that a runtime sees the old or the new one, never half of it; returns where.

    The old one may be running: it is replaced by name and never written into. Installers do not meet either, each has
    a draft of its own; what a killed one left is swept by the next.

    Raises:
        OSError: the source is missing or the folder cannot be written.
    """
    bin_dir.mkdir(parents=True, exist_ok=True)
    target = bin_dir / EXECUTABLE
    descriptor, name = tempfile.mkstemp(prefix=_DRAFT, suffix=".draft", dir=bin_dir)
    draft = Path(name)
    try:
        with source.open("rb") as original, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(original, copy)
            copy.flush()
            os.fchmod(copy.fileno(), 0o755)
            os.fsync(copy.fileno())  # or a node that loses power has a name with nothing behind it
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sweep(bin_dir, older_than=LONGEST_INSTALL_SECONDS)
    return target


def remove_executable(bin_dir: Path) -> bool:
    """Removes our executable; False when there was none.

    Raises:
        ExecutableError: a file of that name is not of ours, which all know where the agent listens.
        OSError: the folder cannot be written.
    """
    target = bin_dir / EXECUTABLE
    _sweep(bin_dir, older_than=0)
    if not target.exists():
        return False
    if AGENT_SOCKET.encode() not in target.read_bytes():
        raise ExecutableError(f"{target} is not the CNI executable of this project; it stays")
    target.unlink()
    return True


def _sweep(bin_dir: Path, *, older_than: float) -> None:
    """Removes the drafts of installers that were killed."""
    for draft in bin_dir.glob(f"{_DRAFT}*draft"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > older_than:
                draft.unlink()
