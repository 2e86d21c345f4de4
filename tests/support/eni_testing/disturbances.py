"""What a test does to a laboratory that others use after it, each undone when its ``with`` ends, whatever came between.

What a disturbance began it takes back also where it failed half way. ``eni_lab.cloud_acts`` has those of the cloud.
In a fixture it is undone only after the cluster's account of a failed test was taken.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eni_lab.demo import workload
from eni_lab.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eni_lab.cloud_client import Zone
    from eni_lab.demo.observed import Pod
    from eni_lab.lab import Lab
    from eni_lab.node.machine import Machine


@contextmanager
def api_server_away(lab: Lab) -> Iterator[None]:
    """The API server is killed; at the end it serves again."""
    try:
        lab.parts.stop("apiserver")
        yield
    finally:
        if lab.parts.pid("apiserver") is None:
            lab.parts.start_again("apiserver")
        lab.wait_until("API server ready again", "get", "--raw=/readyz")


@contextmanager
def switched_off(lab: Lab, machine: Machine) -> Iterator[None]:
    """The node's power is cut; at the end it has booted again."""
    try:
        lab.switch_off(machine)
        yield
    finally:
        if machine.pid is None:
            lab.switch_on(machine)


@contextmanager
def another_node(lab: Lab, instance_type: str, zone: Zone, **more: Any) -> Iterator[Machine]:
    """The laboratory has a node more, with what else ``Lab.add_node`` takes; at the end it is removed."""
    before = {machine.name for machine in lab.nodes()}
    try:
        yield lab.add_node(instance_type, zone, **more)
    finally:
        for machine in lab.nodes():
            if machine.name not in before:
                lab.remove_node(machine)


@contextmanager
def environment(lab: Lab, daemon: str, **variables: str) -> Iterator[None]:
    """All pods of a workload have these variables; at the end none has them."""
    try:
        lab.set_env(daemon, **variables)
        yield
    finally:
        lab.set_env(daemon, **dict.fromkeys(variables))


@contextmanager
def applied(lab: Lab, manifest: str, *arguments: str) -> Iterator[None]:
    """The manifest's objects are there; at the end they are deleted."""
    try:
        lab.kubectl("apply", *arguments, "-f", "-", stdin=manifest)
        yield
    finally:
        lab.kubectl("delete", *arguments, "--ignore-not-found", "-f", "-", stdin=manifest)


@contextmanager
def passing_deployments(lab: Lab, *names: str, seconds: float = 60) -> Iterator[None]:
    """Whatever makes Deployments of these names: at the end neither they nor pods of theirs are left."""
    try:
        yield
    finally:
        for name in names:
            lab.kubectl("scale", "deployment", name, "--replicas=0", check=False)  # it may never have been made
        pods = ("get", "pods", "-l", f"app in ({','.join(names)})", "-o", "name")
        wait_for(f"no pod of {', '.join(names)}", lambda: not lab.kubectl(*pods), seconds=seconds, interval=0.3)
        lab.kubectl("delete", "deployment", *names, "--ignore-not-found")


@contextmanager
def pods_of(lab: Lab, name: str, replicas: int, *, seconds: float) -> Iterator[list[Pod]]:
    """So many pods of a Deployment are Ready within ``seconds``; at the end it is gone with them."""
    with passing_deployments(lab, name):
        workload.create(lab, name)
        yield workload.scale(lab, replicas, seconds=seconds, name=name)
