"""What a person asks of a node, asked of real ones: does the runtime's own cache agree, and what is in a bundle."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from eni_lab.demo.observed import Pod
from eni_lab.lab import Lab
from eni_lab.waiting import wait_for
from eni_testing.disturbances import pods_of
from eni_testing.inspections import agent_of, execute, inspect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

NAME = "inspected"


@pytest.fixture
def pods(deployed: Lab) -> Iterator[list[Pod]]:
    with pods_of(deployed, NAME, 6, seconds=90) as running:
        yield running


def test_all_sides_of_every_node_agree(deployed: Lab, pods: list[Pod]) -> None:
    for node in {pod.node for pod in pods}:
        document = inspect(deployed, node)
        assert (document["differences"], document["couldNotLook"]) == ([], [])
        here = sum(1 for pod in pods if pod.node == node)
        found = re.search(r"(\d+) attachments", document["lookedAt"]["runtime"])
        assert found is not None
        assert int(found[1]) >= here


def test_a_pod_somebody_cut_off_is_named(deployed: Lab, pods: list[Pod]) -> None:
    pod = pods[0]
    machine = deployed.node(pod.node)
    route = ("ip", "route", "show", "table", "512", f"{pod.address}/32")
    ifname = subprocess.run(machine.command(*route), check=True, capture_output=True, text=True).stdout.split()[2]
    removal = machine.command("ip", "neighbour", "delete", pod.address, "dev", ifname)
    subprocess.run(removal, check=True)
    document = inspect(deployed, pod.node)
    named = [(each["kind"], each["subject"]) for each in document["differences"]]
    assert named == [("pod.no_neighbour", f"default/{pod.name}")]
    deployed.kubectl("delete", "pod", pod.name)
    wait_for("the node is in order", lambda: inspect(deployed, pod.node)["differences"] == [], seconds=60, interval=1)


def test_a_bundle_comes_through_kubectl_and_holds_no_token(deployed: Lab, pods: list[Pod]) -> None:
    node = pods[0].node
    token_path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    command = deployed.kubectl_command(
        "-n", "kube-system", "exec", agent_of(deployed, node), "-c", "agent", "--", "cat"
    )
    token = subprocess.run([*command, token_path], capture_output=True, text=True, check=True).stdout
    result = execute(deployed, node, "support-bundle", "--output", "-")
    assert result.returncode == 0, result.stderr
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        parts = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive}
        found = {name: part.read().decode() for name, part in parts.items() if part is not None}
    assert not any(token in text for text in found.values())
    assert f"default/{pods[0].name}" in found["agent/log.txt"]
    assert pods[0].address in found["kernel/tables.txt"]
    assert "awscni_ec2api_req_count" in found["operator/metrics.txt"]
    assert found["left-out.txt"] == ""
