"""What a running agent shows of itself: probes, metrics, introspection, log files."""

import json
import os
import signal
import socket

import pytest

from eni_testing.agents import AgentNode
from eni_testing.api_server import PODS, pod
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_pages_tell_health_readiness_and_numbers(node: AgentNode) -> None:
    node.start()
    await eventually(lambda: node.http("/healthz")[0] == 200, "alive", within=15)
    status, text = node.http("/readyz")
    assert (status, "no supply has been seen yet" in text) == (503, True)
    await node.give(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.http("/readyz")[0] == 200, "ready")
    await node.address_of("web")
    text = node.http("/metrics")[1]
    assert 'eni_agent_addresses{state="assigned"} 1.0' in text
    assert 'eni_agent_request_seconds_count{outcome="success",verb="ADD"} 1.0' in text


async def test_a_journal_that_is_gone_makes_the_node_not_ready(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.http("/readyz")[0] == 200, "ready", within=15)
    node.journal.unlink()
    status, text = node.http("/readyz")
    assert (status, "was removed" in text) == (503, True)
    assert node.http("/healthz")[0] == 200


async def test_a_thread_that_hangs_has_the_agent_started_anew(node: AgentNode) -> None:
    """A sysctl that cannot be read to its end keeps the thread of the host's network for ever."""
    forwards = node.folder / "sys" / "net/ipv4/ip_forward"
    forwards.parent.mkdir(parents=True)
    os.mkfifo(forwards)
    node.variables["ENI_PROC_SYS"] = str(node.folder / "sys")
    node.start()
    await eventually(lambda: node.http("/healthz")[0] == 200, "alive", within=15)
    await node.give(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.http("/healthz")[0] == 503, "the probe fails", within=40)
    assert "the thread that keeps the host's network has not answered" in node.http("/healthz")[1]
    node.stop(signal.SIGKILL)


async def test_vpc_cnis_addresses_serve_its_metrics_and_introspection(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    address = await node.address_of("web")
    await eventually(lambda: node.fetch("10.0.250.10:61678", "/metrics")[0] == 200, "metrics on every address")
    text = node.fetch("10.0.250.10:61678", "/metrics")[1]
    assert "\nawscni_add_ip_req_count 1.0\n" in text
    assert "\nawscni_assigned_ip_addresses 1.0\n" in text
    found = json.loads(node.fetch("127.0.0.1:61679", "/v1/enis")[1])["0"]
    assert found["AssignedIPs"] == 1
    held = found["ENIs"][eni(0).id]["AvailableIPv4Cidrs"][f"{address}/32"]["IPAddresses"][address]
    assert held["IPAMMetadata"] == {"k8sPodNamespace": "default", "k8sPodName": "web", "interfacesCount": 1}
    assert node.fetch("127.0.0.1:61679", "/v1/eni-configs") == (200, '"default"')
    assert "AvailableCommands" in node.fetch("127.0.0.1:61679", "/v1/pods")[1]
    assert node.fetch("10.0.250.10:61679", "/")[0] == 0


async def test_metrics_and_introspection_can_be_switched_off(node: AgentNode) -> None:
    node.variables |= {"DISABLE_METRICS": "true", "DISABLE_INTROSPECTION": "true"}
    node.start()
    await eventually(lambda: node.http("/healthz")[0] == 200, "alive", within=15)
    assert node.http("/metrics")[0] == 404
    assert node.fetch("127.0.0.1:61678", "/metrics")[0] == node.fetch("127.0.0.1:61679", "/")[0] == 0


async def test_ports_others_have_keep_no_pod_waiting(node: AgentNode) -> None:
    """As while VPC CNI's agent still runs on the node."""
    listeners = [node.host.call(socket.create_server, ("127.0.0.1", port)) for port in (61678, 61679)]
    await node.serve(supply(eni(0, addresses=FOUR)))
    assert await node.address_of("web") == "10.0.1.4"
    await eventually(lambda: node.log.count("pages cannot be served yet") == 2, "both are told")
    for listener in listeners:
        listener.close()
    await eventually(lambda: node.fetch("127.0.0.1:61678", "/metrics")[0] == 200, "metrics are served", within=20)


async def test_the_time_from_bound_to_address_is_measured(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: node.usage.get("pending") == 0, "pods are followed", within=15)
    await node.api.put(PODS, pod("web"))
    await eventually(lambda: node.usage.get("pending") == 1, "the pod is seen")
    await node.address_of("web")
    text = node.http("/metrics")[1]
    assert "\neni_agent_pod_bound_to_address_seconds_count 1.0\n" in text
    seconds = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[0] != "#"}
    assert 0 < seconds["eni_agent_start_seconds"] < seconds["eni_agent_first_address_seconds"] < 60
    assert seconds["eni_agent_pod_bound_to_address_seconds_sum"] > 0


async def test_a_log_file_and_its_level_are_vpc_cnis(node: AgentNode) -> None:
    path, requests = node.folder / "logs" / "ipamd.log", node.folder / "logs" / "plugin.log"
    node.variables |= {"AWS_VPC_K8S_CNI_LOG_FILE": str(path), "AWS_VPC_K8S_PLUGIN_LOG_FILE": str(requests)}
    node.variables["AWS_VPC_K8S_CNI_LOGLEVEL"] = "Debug"
    await node.serve(supply(eni(0, addresses=FOUR)))
    await node.address_of("web")
    await eventually(lambda: '"ADD"' in requests.read_text(), "the request is told of, after its answer")
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    [add] = [line for line in lines if line.get("verb") == "ADD"]
    assert (add["pod"], add["address"], add["outcome"], add["sandbox"]) == ("default/web", "10.0.1.4", "success", "web")
    assert "serving the socket" in path.read_text()
    assert '"DEBUG"' in path.read_text()
    assert "request answered" not in path.read_text()
