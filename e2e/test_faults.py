"""What may go wrong around a cluster: nothing is lost, nothing is doubled, and the reason is where people look."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from eni_lab.demo import observed, workload
from eni_lab.lab import Lab
from eni_lab.node.runtime import Runtime
from eni_lab.waiting import wait_for
from eni_testing.disturbances import api_server_away, pods_of, switched_off
from eni_testing.reasons import calm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

AGENT, OPERATOR = "/opt/eni/bin/eni-agent run", "/opt/eni/bin/eni-operator"


BRISK = {"cooldownSeconds": 2, "releaseAfterSeconds": 1}


@pytest.fixture
def cluster(deployed: Lab) -> Iterator[Lab]:
    """The deployed laboratory with ten pods; afterwards nothing of the test is left in the pools."""
    with ExitStack() as undo:
        undo.callback(calm, deployed)
        for pool in observed.pools(deployed):
            edit(deployed, pool.name, BRISK)
        undo.callback(come_to_rest, deployed)
        undo.enter_context(pods_of(deployed, "fault", 10, seconds=90))
        undo.callback(deployed.cloud.control, "DELETE", "/_lab/faults")
        yield deployed


def come_to_rest(lab: Lab) -> None:
    """Waits until no pool has more than it wants without pods."""
    for pool in observed.pools(lab):
        edit(lab, pool.name, None)
        edit(lab, pool.name, BRISK)
    for pool in observed.pools(lab):
        wait_for_pool(lab, pool.name, "no more than it wants", is_at_rest)


def is_at_rest(pool: observed.Pool) -> bool:
    return pool.is_settled and pool.addresses == pool.wanted


def assert_sound(lab: Lab, pods: list[observed.Pod]) -> None:
    """Every pod has an address of its own node that nobody else has; EC2 holds nothing that belongs to nobody."""
    assert observed.misplaced(lab, pods) == []
    assert len({pod.address for pod in pods}) == len(pods)
    assert workload.unreachable(lab, pods) == []
    wait_for("no ENI is unattached", lambda: observed.unattached(lab) == [], seconds=60, interval=0.3)
    assert lab.cloud.control("GET", "/_lab/invariants") == []


def kill(lab: Lab, node: str, program: str) -> None:
    """Kills a daemon as the kernel's memory killer would."""
    subprocess.run(lab.node(node).command("pkill", "-KILL", "-f", program), check=True)


def edit(lab: Lab, node: str, policy: Mapping[str, object] | None) -> None:
    lab.kubectl("patch", "nodeippool", node, "--type=merge", "-p", json.dumps({"spec": {"policy": policy}}))


def wait_for_pool(lab: Lab, node: str, what: str, condition: Callable[[observed.Pool], bool]) -> observed.Pool:
    def holds() -> observed.Pool | None:
        pool = observed.pool(lab, node)
        return pool if condition(pool) else None

    return wait_for(f"{node}: {what}", holds, seconds=60, interval=0.2)


def test_pods_come_and_go_while_the_api_server_is_away_for_a_minute(cluster: Lab) -> None:
    node = cluster.nodes()[0]
    edit(cluster, node.name, {"warmIPs": 6})
    wait_for_pool(cluster, node.name, "six free addresses", lambda pool: pool.usage["free"] >= 6)
    cluster.kubectl("scale", "deployment", "fault", "--replicas=20")
    with api_server_away(cluster):
        away = time.monotonic()
        with Runtime(node) as runtime:
            added = runtime.add([f"away{number}" for number in range(3)], seconds=30)
            deleted = runtime.finish("DEL", [report["name"] for report in added], seconds=30)
        time.sleep(max(0.0, 60 - (time.monotonic() - away)))  # the length of the outage is the scenario
    assert [report["failures"] for report in added + deleted] == [0] * 6
    assert_sound(cluster, workload.scale(cluster, 20, seconds=120, name="fault"))


def test_an_operator_killed_between_create_and_attach_leaks_nothing(cluster: Lab) -> None:
    node = cluster.nodes()[0].name
    slow = {"action": "AttachNetworkInterface", "when": "before", "latency": 30.0, "count": 1}
    cluster.cloud.control("POST", "/_lab/faults", slow)
    edit(cluster, node, {"warmENIs": 2})
    wait_for("an ENI is created and not attached", lambda: observed.unattached(cluster), seconds=60, interval=0.05)
    kill(cluster, node, OPERATOR)
    edit(cluster, node, {"warmENIs": None})
    assert_sound(cluster, workload.scale(cluster, 16, seconds=120, name="fault"))


def test_an_agent_killed_in_a_burst_gives_no_address_twice(cluster: Lab) -> None:
    node = cluster.nodes()[0].name
    cluster.kubectl("scale", "deployment", "fault", "--replicas=24")
    wait_for("the burst is under way", lambda: len(observed.pods(cluster, "app=fault")) > 11, seconds=60)
    kill(cluster, node, AGENT)
    assert_sound(cluster, workload.scale(cluster, 24, seconds=150, name="fault"))


def test_a_rebooted_node_leaves_no_address_with_a_dead_pod(cluster: Lab) -> None:
    node = cluster.nodes()[0]
    before = observed.pool(cluster, node.name).usage["bootID"]
    with switched_off(cluster, node):
        pass  # and on again

    def all_are_back() -> list[observed.Pod] | None:
        """The API server shows the world from before the reboot until agent and kubelet have reported."""
        pods = observed.pods(cluster, "app=fault")
        usage = observed.pool(cluster, node.name).usage
        here = sum(pod.node == node.name for pod in pods)
        settled = usage["bootID"] != before and usage["assigned"] == here and not usage["pending"]
        return pods if len(pods) == 10 and settled and workload.unreachable(cluster, pods) == [] else None

    pods = wait_for("every pod has an address again, and no dead one has", all_are_back, seconds=180, interval=0.5)
    assert_sound(cluster, pods)


def test_a_rule_deleted_on_the_node_is_put_back(cluster: Lab) -> None:
    pods = workload.scale(cluster, 24, seconds=90, name="fault")
    node = cluster.nodes()[0]
    subprocess.run(node.command("ip", "rule", "del", "priority", "512"), check=True)
    subprocess.run(node.command("nft", "delete", "table", "ip", "eni-agent"), check=True)
    wait_for("every pod reaches every other", lambda: workload.unreachable(cluster, pods) == [], seconds=60)
    repaired = wait_for_pool(
        cluster, node.name, "the repair shows", lambda pool: pool.reason("DriftDetected") == "NetworkRepaired"
    )
    assert "rule" in repaired.conditions["DriftDetected"]["message"]
