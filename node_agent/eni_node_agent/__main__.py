"""The command ``eni-agent``: ``run`` serves this node, ``install`` puts the CNI executable and sysctls in place."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eni_node_agent.settings import InstallSettings, Settings, SettingsError

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
    parser.add_argument("command", choices=("run", "install"))
    command = parser.parse_args(arguments).command
    try:
        if command == "install":
            _install()
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

    settings = InstallSettings.from_env(os.environ)
    # Beside this very interpreter: the image puts both into one folder.
    target = executable.install_executable(Path(sys.executable).with_name(executable.EXECUTABLE), settings.cni_bin_dir)
    try:
        preparation.prepare(
            Path("/proc"), early_demux=not settings.disable_tcp_early_demux, ipv6_egress=settings.enable_v6_egress
        )
    except SysctlError as error:
        raise OSError(str(error)) from error
    sys.stdout.write(f"installed {target}; the node forwards packets\n")


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
