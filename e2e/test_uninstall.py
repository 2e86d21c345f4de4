"""Taking the product off its nodes and putting it back while pods run: they notice neither."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from eni_lab.demo import workload
from eni_lab.demo.observed import Pod
from eni_lab.kube.images import REPOSITORY
from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.waiting import wait_for
from eni_testing.disturbances import pods_of

pytestmark = pytest.mark.e2e

SYSTEM = ("-n", "kube-system")
CONFLIST, EXECUTABLE = "/etc/cni/net.d/10-eni.conflist", "/opt/cni/bin/eni-cni"
NAME = "staying"
UNINSTALL = str(REPOSITORY / "e2e" / "deploy" / "uninstall")


def left(lab: Lab) -> list[str]:
    """What of ours is on the nodes' disks."""
    places = [(machine, path) for machine in lab.nodes() for path in (CONFLIST, EXECUTABLE)]
    return [f"{machine.name}:{path}" for machine, path in places if _is_there(machine, path)]


def _is_there(machine: Machine, path: str) -> bool:
    return subprocess.run(machine.command("test", "-e", path), check=False).returncode == 0


@contextmanager
def uninstalled(lab: Lab) -> Iterator[None]:
    """The product is off the nodes; at the end it is deployed again."""
    with ExitStack() as undo:
        undo.callback(lab.deploy)
        undo.callback(lab.kubectl, "delete", "--ignore-not-found", "-k", UNINSTALL)
        lab.kubectl("delete", "daemonset", "eni-agent", *SYSTEM)
        lab.kubectl("apply", "-k", UNINSTALL)
        lab.kubectl("rollout", "status", "daemonset/eni-uninstall", *SYSTEM, "--timeout=90s")
        yield


@pytest.fixture
def running(deployed: Lab) -> Iterator[list[Pod]]:
    with pods_of(deployed, NAME, 4, seconds=60) as pods:
        yield pods


def test_the_nodes_are_as_before_and_pods_run_on(deployed: Lab, running: list[Pod]) -> None:
    assert len(left(deployed)) == 2 * len(deployed.nodes())
    with uninstalled(deployed):
        assert left(deployed) == []
        assert workload.unreachable(deployed, running) == []
    wait_for("all is back", lambda: len(left(deployed)) == 2 * len(deployed.nodes()), seconds=60)
    assert workload.unreachable(deployed, running) == []
    assert len(workload.scale(deployed, 6, name=NAME, seconds=60)) == 6, "new pods get on"
