"""The CNI plugins of the node: which are there, and which versions of the specification they speak.

Decides nothing: ``conflist`` makes a chain of what is found here. Each plugin is asked by its own VERSION, as runtimes
ask, once for each version of its file; Debian's of 2023 speak 1.0.0, those of the plugins' release 1.6 speak 1.1.0.
"""

import json
import logging
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""A plugin answers within 10 ms; a node that has just begun is busy."""
SILENT: Final = ("0.3.1", "0.4.0", "1.0.0")
"""What a plugin that cannot be asked is taken to speak: one of another C library, say, than this container's."""
_QUESTION: Final = b'{"cniVersion":"1.1.0"}'

Stamp = tuple[int, int, int]


class Plugins:
    """The folder runtimes find plugins in. Blocks while it asks: not for the event loop's thread."""

    def __init__(self, bin_dir: Path) -> None:
        self._bin_dir = bin_dir
        self._known: dict[str, tuple[Stamp, tuple[str, ...]]] = {}

    def spoken(self, types: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Returns versions by plugin, of those of the given types that are there and can be executed."""
        found = {}
        for name in types:
            path = self._bin_dir / name
            if path.is_file() and os.access(path, os.X_OK):
                found[name] = self._versions(name, path)
        return found

    def _versions(self, name: str, path: Path) -> tuple[str, ...]:
        status = path.stat()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = self._known[name] = (stamp, ask(path))
        return known[1]


def ask(path: Path) -> tuple[str, ...]:
    """Returns the versions a plugin says it speaks."""
    environ = dict.fromkeys(("CNI_NETNS", "CNI_IFNAME", "CNI_PATH"), "dummy") | {"CNI_COMMAND": "VERSION"}
    try:
        done = subprocess.run(
            [path], env=environ, input=_QUESTION, capture_output=True, timeout=PATIENCE_SECONDS, check=True
        )
        return tuple(str(version) for version in json.loads(done.stdout)["supportedVersions"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        log.warning("plugin does not tell its versions", extra={"plugin": str(path), "error": str(error)})
        return SILENT
