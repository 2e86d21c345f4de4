"""The command ``eni-agent``: ``run`` serves this node, ``install`` puts the CNI executable and sysctls in place.

``uninstall`` takes conflist and executable away again, once no agent runs.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eni_crds.names import AGENT_SOCKET
from eni_node_agent.settings import Settings, SettingsError

log = logging.getLogger("eni_node_agent")

_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message and whatever came in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, or 1 when it could not begin, with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="eni-agent", description="Pod networking on AWS: the agent of one node.")
    parser.add_argument("command", choices=("run", "install", "uninstall"))
    command = parser.parse_args(arguments).command
    try:
        if command == "install":
            _install()
        elif command == "uninstall":
            _uninstall()
        else:
            settings = Settings.from_env(os.environ)
            _log_to_stderr(settings.log_level)
            asyncio.run(_run(settings))
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"eni-agent {command}: {error}\n")
        return 1
    return 0


def _install() -> None:
    from eni_node_agent.network import preparation  # noqa: PLC0415  the other command need not wait for these
    from eni_node_agent.network.sysctl import SysctlError  # noqa: PLC0415
    from eni_node_agent.rpc import executable  # noqa: PLC0415

    bin_dir = _host_folder("HOST_CNI_BIN_PATH", "/host/opt/cni/bin")
    # Beside this very interpreter: the image puts both into one folder.
    target = executable.install_executable(Path(sys.executable).with_name(executable.EXECUTABLE), bin_dir)
    try:
        preparation.prepare(Path("/proc"))
    except SysctlError as error:
        raise OSError(str(error)) from error
    sys.stdout.write(f"installed {target}; the node forwards packets\n")


def _uninstall() -> None:
    """The conflist goes first: from then on the runtime sends no new pod to an executable that is about to go."""
    from eni_node_agent.cluster import conflist  # noqa: PLC0415
    from eni_node_agent.rpc import executable  # noqa: PLC0415

    socket_path = Path(os.environ.get("ENI_SOCKET_PATH") or AGENT_SOCKET)
    if _listens(socket_path):
        raise OSError(f"an agent serves at {socket_path} and would write the conflist again; end it first")
    conf_dir = _host_folder("HOST_CNI_CONFDIR_PATH", "/host/etc/cni/net.d")
    bin_dir = _host_folder("HOST_CNI_BIN_PATH", "/host/opt/cni/bin")
    try:
        gone = [conf_dir / conflist.NAME] if conflist.remove(conf_dir) else []
        gone += [bin_dir / executable.EXECUTABLE] if executable.remove_executable(bin_dir) else []
    except (conflist.ConflistError, executable.ExecutableError) as error:
        raise OSError(str(error)) from error
    removed = " and ".join(map(str, gone)) or "nothing, there was nothing of ours"
    sys.stdout.write(f"removed {removed}; pods that run keep their network\n")


def _host_folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


async def _run(settings: Settings) -> None:
    from eni_node_agent.ledger.journal import Journal  # noqa: PLC0415
    from eni_node_agent.wiring import Agent  # noqa: PLC0415

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Journal(settings.journal_path)) as journal:
        async with Agent(settings, journal).serve():
            await stop.wait()
            log.info("ending: pods keep their network")


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
