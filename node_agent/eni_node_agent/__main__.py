"""The command ``eni-agent``: ``run`` serves this node, ``install`` puts the CNI executable and sysctls in place.

``uninstall`` takes conflist and executable away again, once no agent runs; ``inspect`` and ``support-bundle`` are for
people (``commands``).
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from eni_node_agent import footprint, logs
from eni_node_agent.looplag import LoopWatch
from eni_node_agent.settings import InstallSettings, Settings, SettingsError

log = logging.getLogger("eni_node_agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, or 1 when it could not begin, with a sentence on standard error.

    ``inspect`` returns 1 when something differs and 2 when it could not look.
    """
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"eni-agent {options.command}: {error}\n")
        return 2 if options.command == "inspect" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eni-agent", description="Pod networking on AWS: the agent of one node.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="serve this node")
    commands.add_parser("install", help="put the CNI executable and sysctls in place")
    commands.add_parser("uninstall", help="take conflist and CNI executable away, once no agent runs")
    inspect = commands.add_parser("inspect", help="tell where EC2's view, ledger, kernel and runtime differ")
    inspect.add_argument("--json", action="store_true", help="for programs")
    bundle = commands.add_parser("support-bundle", help="write the archive for a bug report, secrets left out")
    bundle.add_argument("--output", metavar="PATH", help="- for standard output; a new file under /tmp otherwise")
    return parser


def _serve(_: argparse.Namespace) -> int:
    settings = Settings.from_env(os.environ)
    agent = logs.Place(settings.log_level, settings.log_file)
    plugin = logs.Place(settings.plugin_log_level, settings.plugin_log_file)
    logs.set_up(agent, plugin, settings.warnings)
    footprint.begin()
    watch = LoopWatch()
    with asyncio.Runner(loop_factory=watch.new_loop) as runner:
        runner.run(_run(settings, watch))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from eni_node_agent import commands  # noqa: PLC0415

    return commands.inspect(options)


def _support_bundle(options: argparse.Namespace) -> int:
    from eni_node_agent import commands  # noqa: PLC0415

    return commands.support_bundle(options)


def _install(_: argparse.Namespace) -> int:
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
    return 0


def _uninstall(_: argparse.Namespace) -> int:
    """The conflist goes first: from then on the runtime sends no new pod to an executable that is about to go."""
    from eni_node_agent.cluster import conflist  # noqa: PLC0415
    from eni_node_agent.rpc import executable  # noqa: PLC0415
    from eni_node_agent.takeover import conflists  # noqa: PLC0415

    settings = InstallSettings.from_env(os.environ)
    if _listens(settings.socket_path):
        raise OSError(f"an agent serves at {settings.socket_path} and would write the conflist again; end it first")
    try:
        # Before ours goes, so that the runtime has a network at every moment.
        restored = f", put back {conflists.THEIRS}" if conflists.restore(settings.cni_conf_dir) else ""
        gone = [conflist.NAME] if conflist.remove(settings.cni_conf_dir) else []
        gone += [executable.EXECUTABLE] if executable.remove_executable(settings.cni_bin_dir) else []
    except (conflist.ConflistError, executable.ExecutableError) as error:
        raise OSError(str(error)) from error
    removed = " and ".join(gone) or "nothing, there was nothing of ours"
    sys.stdout.write(f"removed {removed}{restored}; pods that run keep their network\n")
    return 0


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


async def _run(settings: Settings, watch: LoopWatch) -> None:
    from eni_node_agent.ledger.journal import Journal  # noqa: PLC0415
    from eni_node_agent.wiring import Agent  # noqa: PLC0415

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Journal(settings.journal_path)) as journal:
        async with Agent(settings, journal, watch).serve():
            await stop.wait()
            log.info("ending: pods keep their network")


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": _serve,
    "install": _install,
    "uninstall": _uninstall,
    "inspect": _inspect,
    "support-bundle": _support_bundle,
}


if __name__ == "__main__":
    sys.exit(main())
