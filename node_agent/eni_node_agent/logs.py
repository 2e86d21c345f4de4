"""Where the agent's log goes and what a line looks like: one JSON object each, with a constant message.

Decides the format, the files' rotation and what a support bundle may have of the recent past; levels and places are
settings. The log is standard error unless a file is named, as a container's log should be: VPC CNI writes files into
the host. The CNI plugin runs inside the agent, so its log is the part of this one that tells of requests.
"""

import collections
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

PLUGIN_LOGGERS: Final = ("eni_cni_shim", "eni_node_agent.measured")
"""What VPC CNI's plugin would log: requests, and what goes wrong with them."""
LARGEST_FILE: Final = 100 << 20
BACKUPS: Final = 5
"""VPC CNI's: files of 100 MB, five old ones."""
RECENT_LINES: Final = 400
STANDARD: Final = {"": "stderr", "stderr": "stderr", "stdout": "stdout"}
_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A log's level and where it goes."""

    level: str
    """DEBUG, INFO, WARNING, ERROR or CRITICAL."""
    file: str
    """``stderr``, ``stdout`` or a path."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message and whatever came in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line; it is made once, whoever wants it again."""
        line: str | None = getattr(record, "json_line", None)
        if line is None:
            line = record.json_line = self._line(record)
        return line

    def _line(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class Recent(logging.Handler):
    """Keeps the last lines in memory, so that a support bundle has them wherever the log goes."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: collections.deque[str] = collections.deque(maxlen=RECENT_LINES)
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        self._lines.append(self.format(record))

    def text(self) -> bytes:
        """Returns the lines, the oldest first."""
        return "".join(f"{line}\n" for line in self._lines).encode()


RECENT: Final = Recent()


def set_up(agent: Place, plugin: Place, warnings: Iterable[str] = ()) -> None:
    """Sends the log where it belongs, and tells of settings that could not be read.

    A file that cannot be written is as if none were named, and a line says so: an agent without a log still serves.
    """
    failures: list[str] = []
    handlers = [_handler(agent.file, failures), RECENT]
    logging.basicConfig(level=agent.level, handlers=handlers, force=True)
    for name in PLUGIN_LOGGERS:
        logging.getLogger(name).setLevel(plugin.level)
    if plugin.file != agent.file:
        handler = _handler(plugin.file, failures)
        for name in PLUGIN_LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers = [handler, RECENT]
            logger.propagate = False
    for sentence in (*warnings, *failures):
        log.warning("a setting is not in force", extra={"detail": sentence})


def _handler(file: str, failures: list[str]) -> logging.Handler:
    handler: logging.Handler
    if file in STANDARD:
        handler = logging.StreamHandler(getattr(sys, STANDARD[file]))
    else:
        handler = _rotating(Path(file), failures)
    handler.setFormatter(JsonFormatter())
    return handler


def _rotating(path: Path, failures: list[str]) -> logging.Handler:
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415  brings sockets and queues; few write files

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(path, maxBytes=LARGEST_FILE, backupCount=BACKUPS)
    except OSError as error:
        failures.append(f"the log cannot be written to {path} and goes to stderr: {error.strerror}")
        return logging.StreamHandler()
