"""The laboratory itself: it comes up whole, its nodes can be added, rebooted and removed, and it leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_lab.cloud_client import ZONES
from eni_lab.errors import LabError
from eni_lab.lab import BOOT_ID, Lab, Options
from eni_lab.waiting import wait_for
from eni_testing.disturbances import another_node, api_server_away, environment, switched_off
from eni_testing.laboratories import new_lab

pytestmark = pytest.mark.e2e

RUNNER = """\
import sys, time
from pathlib import Path
from eni_lab.lab import Lab, Options
from eni_lab.layout import Layout
lab = Lab(Layout(Path(sys.argv[1]), Path(sys.argv[2])), {}, print)
lab.up(Options(nodes=1, tied=True, service_times=False))
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    """A laboratory of this module's own: its nodes come and go."""
    laboratory = new_lab("bare")
    try:
        laboratory.up(Options(tied=True, service_times=False))
        yield laboratory
    finally:
        laboratory.down()
    assert laboratory.leftovers() == []


def node(lab: Lab, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(lab.kubectl("get", "node", name, "-o", "json"))
    return found


def on_node(lab: Lab, name: str, *command: str) -> str:
    return subprocess.run(lab.node(name).command(*command), capture_output=True, text=True, check=True).stdout.strip()


def test_nodes_are_instances_of_their_zone(bare: Lab) -> None:
    seen = {}
    for machine in bare.nodes():
        described = bare.cloud.ec2("describe_instances", InstanceIds=[machine.instance.instance_id])
        instance = described["Reservations"][0]["Instances"][0]
        registered = node(bare, machine.name)
        assert registered["spec"]["providerID"].endswith("/" + instance["InstanceId"])  # type: ignore[index]
        assert registered["status"]["capacity"]["pods"] == "29"  # type: ignore[index]  # m5.large: 3 ENIs of 10
        seen[instance["Placement"]["AvailabilityZone"]] = instance["PrivateIpAddress"]
    assert sorted(seen) == ["us-east-1a", "us-east-1b"]


def test_nodes_reach_each_other_over_the_vpc(bare: Lab) -> None:
    first, second = bare.nodes()[:2]
    assert "1 received" in on_node(bare, first.name, "ping", "-c1", "-W2", second.instance.address)


def test_a_node_without_a_network_plugin_is_not_ready(bare: Lab) -> None:
    conditions = {entry["type"]: entry for entry in node(bare, "node-a1")["status"]["conditions"]}  # type: ignore[index]
    assert conditions["Ready"]["status"] == "False"
    assert "cni plugin not initialized" in conditions["Ready"]["message"]


def test_a_rebooted_node_keeps_its_disk_and_forgets_its_run(bare: Lab) -> None:
    machine = bare.node("node-b1")
    before = on_node(bare, "node-b1", "cat", BOOT_ID)
    on_node(bare, "node-b1", "touch", "/run/forgotten", "/var/lib/kept")
    with switched_off(bare, machine):
        assert machine.pid is None
    assert on_node(bare, "node-b1", "cat", BOOT_ID) != before
    assert on_node(bare, "node-b1", "sh", "-c", "ls /run/forgotten /var/lib/kept 2>/dev/null; true") == "/var/lib/kept"
    assert machine.instance.address in on_node(bare, "node-b1", "ip", "-4", "-o", "address", "show", "dev", "eth0")


def test_a_node_of_another_type_is_added_and_removed(bare: Lab) -> None:
    with another_node(bare, "c5.xlarge", ZONES[1]) as machine:
        assert machine.name == "node-b2"
        pods = node(bare, "node-b2")["status"]["capacity"]["pods"]  # type: ignore[index]
        assert pods == "58"  # c5.xlarge: 4 ENIs of 15
    assert "node-b2" not in bare.kubectl("get", "nodes", "-o", "name")
    described = bare.cloud.ec2("describe_instances", InstanceIds=[machine.instance.instance_id])
    assert described["Reservations"][0]["Instances"][0]["State"]["Name"] in {"shutting-down", "terminated"}
    assert not [entry for entry in bare.nodes() if entry.name == "node-b2"]


def test_a_replaced_node_keeps_its_name_and_nothing_else(bare: Lab) -> None:
    before = bare.node("node-b1")
    on_node(bare, "node-b1", "touch", "/var/lib/of-the-old-instance")
    after = bare.replace_node("node-b1")
    assert (after.name, after.instance.zone, after.instance.instance_type) == (
        before.name,
        before.instance.zone,
        before.instance.instance_type,
    )
    assert after.instance.instance_id != before.instance.instance_id
    assert node(bare, "node-b1")["spec"]["providerID"].endswith("/" + after.instance.instance_id)  # type: ignore[index]
    assert on_node(bare, "node-b1", "sh", "-c", "ls /var/lib/of-the-old-instance 2>/dev/null; true") == ""
    [reservation] = bare.cloud.ec2("describe_instances", InstanceIds=[before.instance.instance_id])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] in {"shutting-down", "terminated"}


def test_an_unknown_instance_type_is_named(bare: Lab) -> None:
    with pytest.raises(LabError, match=r"m5\.tiny"):
        bare.add_node("m5.tiny", ZONES[0])


@pytest.mark.parametrize("name", ["node-a1", "lab", "apiserver", "Node_1", "../etc", "a" * 64])
def test_a_name_that_a_node_cannot_have_is_refused_before_anything_is_made(bare: Lab, name: str) -> None:
    before = bare.cloud.control("GET", "/_lab/calls")["total"]
    with pytest.raises(LabError, match=re.escape(repr(name))):
        bare.add_node("m5.large", ZONES[0], name)
    assert bare.cloud.control("GET", "/_lab/calls")["total"] == before


def test_the_api_server_can_be_killed_and_started(bare: Lab) -> None:
    with api_server_away(bare), pytest.raises(LabError, match="refused"):
        bare.kubectl("get", "--raw=/readyz")
    assert bare.kubectl("get", "--raw=/readyz").strip() == "ok"


def test_an_unknown_part_is_answered_with_those_there_are(bare: Lab) -> None:
    with pytest.raises(LabError, match=r"'scheduler2'.*apiserver.*node-a1\.kubelet"):
        bare.parts.stop("scheduler2")


def test_a_variable_is_set_on_every_pod_and_taken_away(deployed: Lab) -> None:
    def seen() -> set[str]:
        pods = deployed.kubectl(
            "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=eni-agent", "-o", "json"
        )
        containers = [item["spec"]["containers"][0] for item in json.loads(pods)["items"]]
        return {
            variable.get("value", "") for one in containers for variable in one["env"] if variable["name"] == "WORD"
        }

    with environment(deployed, "eni-agent", WORD="set"):
        assert seen() == {"set"}
    assert seen() == set()


def test_a_second_up_is_refused(bare: Lab) -> None:
    with pytest.raises(LabError, match=r"is up in .* already"):
        bare.up(Options())


def test_a_killed_runner_leaves_no_process_and_the_next_down_leaves_nothing(tmp_path: Path) -> None:
    lab = new_lab("killed")
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    command = [sys.executable, str(script), str(lab.layout.cache), str(lab.layout.state)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as runner:
            try:
                assert runner.stdout is not None
                lines = iter(runner.stdout.readline, "")
                assert "up\n" in lines
                assert lab.pid
            finally:
                runner.send_signal(signal.SIGKILL)
        wait_for("its processes ended", lambda: not any("process" in left for left in lab.leftovers()), seconds=10)
    finally:
        lab.down()
    assert lab.leftovers() == []
