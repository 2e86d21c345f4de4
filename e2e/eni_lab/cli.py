"""The command ``eni-lab``: what a person does with a laboratory. Parses and prints; ``eni_lab.lab`` does the work."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.lab import Lab, Options
from eni_lab.layout import Layout
from eni_lab.waiting import stopwatch


def _up(lab: Lab, options: argparse.Namespace) -> int:
    lab.up(Options(options.nodes, options.type, options.service_times))
    return 0


def _down(lab: Lab, _: argparse.Namespace) -> int:
    lab.down()
    return 0


def _kubectl(lab: Lab, options: argparse.Namespace) -> int:
    command = lab.kubectl_command(*options.arguments)
    os.execvp(command[0], command)  # noqa: S606 - kubectl takes over terminal, signals and exit status


def _exec(lab: Lab, options: argparse.Namespace) -> int:
    command = lab.node(options.node).command(*options.command)
    os.execvp(command[0], command)  # noqa: S606 - the command takes over terminal, signals and exit status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eni-lab", description="A stand-in AWS and a real Kubernetes in namespaces.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring a laboratory up")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--type", default="m5.large")
    up.add_argument("--service-times", action=argparse.BooleanOptionalAction, default=True)
    up.set_defaults(run=_up)
    commands.add_parser("down", help="end it and leave nothing").set_defaults(run=_down)
    kubectl = commands.add_parser("kubectl", help="run kubectl as the cluster's administrator")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    kubectl.set_defaults(run=_kubectl)
    execute = commands.add_parser("exec", help="run a command on a node")
    execute.add_argument("node")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    execute.set_defaults(run=_exec)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    options = _parser().parse_args(arguments)
    lab = Lab(Layout.from_env(os.environ, Path.home()), os.environ, stopwatch())
    try:
        status: int = options.run(lab, options)
    except (LabError, TimeoutError) as error:
        print(f"eni-lab: {error}", file=sys.stderr)
        return 1
    return status
