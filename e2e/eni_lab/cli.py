"""The command ``eni-lab``: what a person does with a laboratory. Parses and prints; ``eni_lab.lab`` does the work."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from eni_lab.aws import command as stand_in
from eni_lab.cloud_client import ZONES
from eni_lab.demo import command as demo
from eni_lab.errors import LabError
from eni_lab.lab import Lab, Options
from eni_lab.layout import Layout
from eni_lab.waiting import stopwatch

Command = Callable[[Lab, argparse.Namespace], None]


def _prepare(lab: Lab, _: argparse.Namespace) -> None:
    lab.prepare()


def _up(lab: Lab, options: argparse.Namespace) -> None:
    lab.up(
        Options(
            nodes=options.nodes,
            instance_type=options.type,
            max_pods=options.max_pods,
            service_times=options.service_times,
        )
    )
    if options.deploy:
        lab.deploy()


def _deploy(lab: Lab, options: argparse.Namespace) -> None:
    lab.deploy(options.overlay)


def _down(lab: Lab, _: argparse.Namespace) -> None:
    lab.down()


def _status(lab: Lab, _: argparse.Namespace) -> None:
    print(f"laboratory in {lab.layout.state}, first process {lab.pid}\n")
    for name in lab.parts.names():
        pid, memory = lab.parts.pid(name), lab.parts.memory(name) // 2**20
        print(f"{name:24} {f'running as {pid}, {memory} MiB' if pid else 'stopped'}")
    print()
    for machine in lab.nodes():
        instance = machine.instance
        state = "on" if machine.pid else "off"
        print(f"{machine.name:12} {state:4} {instance.instance_id}  {instance.instance_type} {instance.zone}", end=" ")
        print(f"{instance.address}  up to {instance.max_pods} pods")
    print("\nLinks of the fabric, and what it dropped:")
    fabric = lab.cloud.control("GET", "/_lab/fabric")
    for port in fabric["ports"]:
        held = f"{len(port['addresses'])} addresses, {len(port['prefixes'])} prefixes"
        print(f"{port['eni_id']}  {port['instance_id']} {port['name_in_node']:5} {port['primary_ip']:15} {held}")
    for drop in fabric["drops"]:
        print(json.dumps(drop))


def _kubectl(lab: Lab, options: argparse.Namespace) -> None:
    command = lab.kubectl_command(*options.arguments)
    os.execvp(command[0], command)  # noqa: S606 - kubectl takes over terminal, signals and exit status


def _exec(lab: Lab, options: argparse.Namespace) -> None:
    command = lab.node(options.node).command(*options.command)
    os.execvp(command[0], command)  # noqa: S606 - the command takes over terminal, signals and exit status


def _add(lab: Lab, options: argparse.Namespace) -> None:
    zone = next(zone for zone in ZONES if zone.letter == options.zone)
    lab.add_node(options.type, zone, options.name)


def _remove(lab: Lab, options: argparse.Namespace) -> None:
    lab.remove_node(lab.node(options.name))


def _replace(lab: Lab, options: argparse.Namespace) -> None:
    lab.replace_node(options.name)


def _reboot(lab: Lab, options: argparse.Namespace) -> None:
    machine = lab.node(options.name)
    lab.switch_off(machine)
    lab.switch_on(machine)


def _stop(lab: Lab, options: argparse.Namespace) -> None:
    _ = lab.pid
    lab.parts.stop(options.part)


def _start(lab: Lab, options: argparse.Namespace) -> None:
    _ = lab.pid
    lab.parts.start_again(options.part)


def _aws_calls(lab: Lab, _: argparse.Namespace) -> None:
    print(json.dumps(lab.cloud.control("GET", "/_lab/calls"), indent=2))


def _aws(_: Lab, options: argparse.Namespace) -> None:
    sys.exit(stand_in.run(options))


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eni-lab", description="A stand-in AWS and a real Kubernetes in namespaces.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    _add_lifecycle(add)
    _add_use(add)
    nodes = add("node", _status, "add, remove or reboot a node").add_subparsers(required=True, metavar="ACTION")
    _add_node_actions(nodes)
    aws = add("aws", _aws, "serve the stand-in AWS alone; `aws calls` counts a laboratory's")
    stand_in.add_arguments(aws)
    calls = aws.add_subparsers(metavar="calls").add_parser("calls", help="the EC2 calls made, by kind and by caller")
    calls.set_defaults(run=_aws_calls)
    demo.add_arguments(add("demo", demo.run, "show the main job, step by step"))
    return parser


def _add_lifecycle(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    up = add("up", _up, "bring a laboratory up and deploy the product in it")
    up.add_argument(
        "--nodes", type=_count, default=2, help="how many, put into the zones in turn (default: %(default)s)"
    )
    up.add_argument("--type", default="m5.large", help="their instance type (default: %(default)s)")
    up.add_argument("--max-pods", type=_count, help="what the kubelets allow (default: what EKS sets for the type)")
    up.add_argument("--deploy", action=argparse.BooleanOptionalAction, default=True, help="apply the manifests")
    up.add_argument(
        "--service-times",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let EC2 take as long as the real one does",
    )
    add("down", _down, "end the laboratory and leave nothing")
    add("image", _prepare, "find or build the binaries and the images")
    deploy = add("deploy", _deploy, "apply the product's manifests and wait until the nodes are Ready")
    deploy.add_argument(
        "overlay", nargs="?", default=".", help="a folder of e2e/deploy such as cluster-scope (default: that itself)"
    )
    add("status", _status, "show parts, nodes and links")


def _add_use(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    kubectl = add("kubectl", _kubectl, "run kubectl as the cluster's administrator")
    kubectl.prefix_chars = "\0"  # nothing after it is an option of ours
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    execute = add("exec", _exec, "run a command on a node")
    execute.add_argument("node")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    for name, run, text in (
        ("stop", _stop, "kill one part, such as apiserver or node-a1.kubelet"),
        ("start", _start, "start a part that was stopped"),
    ):
        add(name, run, text).add_argument("part")


def _add_node_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    added = actions.add_parser("add", help="run one more instance as a node")
    added.add_argument("name", nargs="?", help="of the node (default: the zone and a number)")
    added.add_argument("--type", default="m5.large", help="instance type (default: %(default)s)")
    added.add_argument("--zone", choices=[zone.letter for zone in ZONES], default=ZONES[0].letter)
    added.set_defaults(run=_add)
    for name, run, text in (
        ("replace", _replace, "terminate the instance and run another under the same name"),
        ("remove", _remove, "terminate the instance"),
        ("reboot", _reboot, "cut its power and boot it again"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("name")
        action.set_defaults(run=run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    options = _parser().parse_args(arguments)
    lab = Lab(Layout.from_env(os.environ, Path.home()), os.environ, stopwatch())
    try:
        options.run(lab, options)
    except (LabError, OSError, subprocess.CalledProcessError) as error:  # OSError: files, programs, and TimeoutError
        print(f"eni-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("eni-lab: interrupted; `eni-lab down` ends what was begun", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0
