"""Installs the CNI executable on the host; the work of the agent's init container.

Decides nothing about when it is called: that is the conflist's part, which the running agent writes.
"""

import shutil
from pathlib import Path
from typing import Final

EXECUTABLE: Final = "eni-cni"


def install_executable(source: Path, bin_dir: Path) -> Path:
    """Copies the executable so that a runtime sees the old or the new one, never half of it; returns where it is.

    Raises:
        OSError: the source is missing or the folder cannot be written.
    """
    bin_dir.mkdir(parents=True, exist_ok=True)
    target = bin_dir / EXECUTABLE
    draft = bin_dir / f".{EXECUTABLE}.draft"
    shutil.copyfile(source, draft)
    draft.chmod(0o755)
    draft.replace(target)
    return target
