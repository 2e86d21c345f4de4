"""The command ``eni-agent``: ``run`` serves this node, ``install`` puts the CNI executable and sysctls in place."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from eni_node_agent import logs
from eni_node_agent.settings import Settings, SettingsError

log = logging.getLogger("eni_node_agent")


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
            agent = logs.Place(settings.log_level, settings.log_file)
            plugin = logs.Place(settings.plugin_log_level, settings.plugin_log_file)
            logs.set_up(agent, plugin, settings.warnings)
            asyncio.run(_run(settings))
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"eni-agent {command}: {error}\n")
        return 1
    return 0


def _install() -> None:
    from eni_node_agent.network import preparation  # noqa: PLC0415  the other command need not wait for these
    from eni_node_agent.network.sysctl import SysctlError  # noqa: PLC0415
    from eni_node_agent.rpc import executable  # noqa: PLC0415

    bin_dir = Path(os.environ.get("HOST_CNI_BIN_PATH") or "/host/opt/cni/bin")
    # Beside this very interpreter: the image puts both into one folder.
    target = executable.install_executable(Path(sys.executable).with_name(executable.EXECUTABLE), bin_dir)
    try:
        preparation.prepare(Path("/proc"))
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


if __name__ == "__main__":
    sys.exit(main())
