"""The laboratory's own two programs, C linked statically: compiled once into the cache, named by their source."""

import hashlib
import subprocess
from pathlib import Path

from eni_lab.errors import LabError

SOURCES = Path(__file__).parent


def ensure(name: str, cache: Path) -> Path:
    """The executable ``name``, compiled from ``name.c`` unless the cache has it.

    Raises:
        LabError: the compiler is missing or refuses.
    """
    source = SOURCES / f"{name}.c"
    target = cache / "programs" / hashlib.sha256(source.read_bytes()).hexdigest()[:12] / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        command = ["gcc", "-Os", "-static", "-Wall", "-Wextra", "-o", str(unfinished), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{source.name} does not compile: {done.stderr.strip()}")
        unfinished.rename(target)
    return target
