"""The operator as a process: real watches, real HTTP, an API server and an EC2 in the test."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from eni_testing.ec2 import RunningEc2, running_ec2
from eni_testing.eventually import eventually
from eni_testing.kube_stub import ENICONFIGS, EVENTS, LEASES, NODES, POOLS, KubeStub, node

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{token: abc}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


class Running:
    """A started operator and what it works on."""

    def __init__(self, kube: KubeStub, ec2: RunningEc2, process: asyncio.subprocess.Process, port: int) -> None:
        self.kube = kube
        self.ec2 = ec2
        self.process = process
        self.port = port

    @property
    def status(self) -> dict[str, Any]:
        return self.kube.objects[POOLS].get("node-a", {}).get("status", {})  # type: ignore[no-any-return]

    @property
    def addresses(self) -> int:
        return int(self.status.get("supply", {}).get("totals", {}).get("addresses", 0))

    def serves(self, name: str) -> bool:
        """Tells whether a node's pool holds addresses."""
        supply = self.kube.objects[POOLS].get(name, {}).get("status", {}).get("supply", {})
        return int(supply.get("totals", {}).get("addresses", 0)) > 0

    def owner(self) -> str:
        """Returns the uid of the Node that owns the pool."""
        pool = self.kube.objects[POOLS].get("node-a", {"metadata": {}})
        return str(next((owner["uid"] for owner in pool["metadata"].get("ownerReferences", [])), ""))

    async def report(self, *, pending: int) -> None:
        pool = self.kube.objects[POOLS]["node-a"]
        pool["status"]["usage"] = {"assigned": 0, "pending": pending, "idle": [], "released": []}
        await self.kube.put(POOLS, pool)

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as reply:
            return reply.status, await reply.text()

    async def ec2_calls(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{self.ec2.url}/_lab/calls?last=1000") as reply:
            told = await reply.json()
        return sum(call["caller"] == "AKIDOPERATOR" for call in told["calls"])

    async def until(self, addresses: int) -> None:
        await eventually(lambda: self.addresses >= addresses, f"{addresses} addresses", within=15)

    async def until_watching(self) -> None:
        await eventually(lambda: self.kube.watches() == 3, "three watches", within=15)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(tmp_path: Path, scope: str = "node", **more: str) -> AsyncIterator[Running]:
    async with running_ec2() as ec2, KubeStub().serve() as kube:
        first = ec2.run_instance()
        await kube.put(NODES, node("node-a", first))
        await kube.put(NODES, node("node-b", ec2.run_instance()))
        config, port = tmp_path / "kubeconfig", free_port()
        config.write_text(KUBECONFIG.format(url=kube.url))
        environ = {
            "PATH": os.environ["PATH"],
            "MY_NODE_NAME": "node-a",
            "KUBECONFIG": str(config),
            "AWS_REGION": "us-east-1",
            "AWS_EC2_ENDPOINT": ec2.url,
            "AWS_ACCESS_KEY_ID": "AKIDOPERATOR",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "ENI_METRICS_ADDRESS": f"127.0.0.1:{port}",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{ec2.url}/imds/{first}",
            **more,
        }
        command = (sys.executable, "-m", "eni_operator", "--scope", scope)
        process = await asyncio.create_subprocess_exec(*command, env=environ)
        try:
            yield Running(kube, ec2, process, port)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        await started.until(1)
        await started.until_watching()
        yield started


async def test_demand_seen_by_a_watch_becomes_addresses(operator: Running) -> None:
    await operator.report(pending=20)
    await operator.until(20)


async def test_it_watches_its_own_node_and_pool_and_asks_nothing_else(operator: Running) -> None:
    watched = sorted(r.split("&resourceVersion")[0] for r in operator.kube.requests if "watch=true" in r)
    bookmarks = "watch=true&allowWatchBookmarks=true"
    assert watched == [
        f"GET {NODES}?{bookmarks}&fieldSelector=metadata.name%3Dnode-a",
        f"GET {ENICONFIGS}?{bookmarks}",
        f"GET {POOLS}?{bookmarks}&fieldSelector=metadata.name%3Dnode-a",
    ]
    assert list(operator.kube.objects[POOLS]) == ["node-a"]
    assert set(operator.kube.authorizations) == {"Bearer abc"}


async def test_it_writes_by_server_side_apply_under_its_own_name(operator: Running) -> None:
    writes = [r for r in operator.kube.requests if r.startswith("PATCH")]
    assert all("fieldManager=eni-operator" in write and "force" not in write for write in writes)
    assert operator.kube.content_types[0] == "application/apply-patch+yaml"
    [owner] = operator.kube.objects[POOLS]["node-a"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Node", "node-a", "uid-node-a")


async def test_it_answers_probes_and_tells_its_metrics(operator: Running) -> None:
    assert await operator.get("/healthz") == (200, "ok\n")
    assert await operator.get("/readyz") == (200, "ok\n")
    status, text = await operator.get("/metrics")
    assert status == 200
    assert 'eni_operator_ec2_call_seconds_count{api="DescribeInstances",outcome="ok"} 1.0' in text
    assert 'eni_operator_pool_addresses{node="node-a"} 1.0' in text
    assert 'awscni_ec2api_req_count{fn="DescribeInstances"} 1.0' in text
    assert 'awscni_aws_api_latency_ms_count{api="DescribeInstances",error="false",status="200"} 1.0' in text


@pytest.mark.parametrize("code", [410, 500], ids=["too old", "server error"])
async def test_an_error_within_a_watch_ends_nothing(operator: Running, code: int) -> None:
    await operator.kube.break_watches({"kind": "Status", "code": code, "metadata": {}, "message": "by the test"})
    await operator.until_watching()
    await operator.report(pending=12)
    await operator.until(12)


async def test_a_hiccup_of_the_authenticator_ends_nothing(operator: Running) -> None:
    operator.kube.unauthorized = 4
    await operator.kube.break_watches()
    await operator.until_watching()
    await operator.report(pending=12)
    await operator.until(12)
    assert operator.process.returncode is None


async def test_an_outage_of_the_api_server_is_waited_out(operator: Running) -> None:
    operator.kube.refusal = 503
    await operator.kube.break_watches()
    before = len(operator.kube.requests)
    await eventually(lambda: len(operator.kube.requests) > before + 3, "tries during the outage", within=15)
    operator.kube.refusal = None
    await operator.until_watching()
    await operator.report(pending=12)
    await operator.until(12)
    assert (await operator.get("/healzth"))[0] == 404
    assert (await operator.get("/healthz"))[0] == 200


async def test_a_policy_edited_by_a_person_counts_at_once(operator: Running) -> None:
    await operator.report(pending=0)
    pool = operator.kube.objects[POOLS]["node-a"]
    pool["spec"] = {"policy": {"minimumIPs": 7}}
    await operator.kube.put(POOLS, pool)
    await operator.until(7)
    assert operator.status["supply"]["policy"]["minimumIPs"] == {"value": 7, "origin": "pool"}


async def test_what_hinders_growth_is_told_on_the_node(operator: Running) -> None:
    pool = operator.kube.objects[POOLS]["node-a"]
    pool["spec"] = {"eniConfig": "absent"}
    await operator.kube.put(POOLS, pool)
    events = operator.kube.objects[EVENTS]
    await eventually(lambda: "ENIConfigMissing" in [e["reason"] for e in events.values()], "an Event", within=15)
    [event] = [event for event in events.values() if event["reason"] == "ENIConfigMissing"]
    assert event["type"] == "Warning"
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "uid-node-a"}
    assert "'absent'" in event["message"]


async def test_it_gives_the_lead_up_when_told_to_end(operator: Running) -> None:
    assert operator.kube.objects[LEASES]["eni-operator"]["spec"]["holderIdentity"].startswith("node-a_")
    operator.process.terminate()
    assert await asyncio.wait_for(operator.process.wait(), 10) == 0
    assert operator.kube.objects[LEASES]["eni-operator"]["spec"]["holderIdentity"] == ""


async def test_the_pool_of_a_node_replaced_under_its_name_is_made_anew(operator: Running) -> None:
    pool = operator.kube.objects[POOLS]["node-a"]
    pool["metadata"]["uid"] = "former"
    await operator.kube.put(POOLS, pool)
    successor = node("node-a", operator.ec2.run_instance())
    successor["metadata"]["uid"] = "uid-successor"
    await operator.kube.put(NODES, successor)
    await eventually(lambda: operator.owner() == "uid-successor", "a pool of the new Node", within=15)
    await operator.until(1)
    assert any(request.startswith(f"DELETE {POOLS}/node-a") for request in operator.kube.requests)
    assert operator.status["supply"]["instance"]["id"] == successor["spec"]["providerID"].rpartition("/")[2]


@pytest.mark.timeout(60)
async def test_in_scope_cluster_one_process_serves_every_node(tmp_path: Path) -> None:
    async with running(tmp_path, "cluster") as operator:
        await operator.kube.put(ENICONFIGS, {"metadata": {"name": "unused"}, "spec": {"subnet": "wrong"}})
        await eventually(lambda: operator.serves("node-a") and operator.serves("node-b"), "both nodes", within=20)
        assert not [r for r in operator.kube.requests if "watch=true" in r and "fieldSelector" in r]
        await operator.kube.remove(NODES, "node-b")
        await operator.kube.put(NODES, node("node-c", operator.ec2.run_instance()))
        await eventually(lambda: operator.serves("node-c"), "a node that came later", within=20)
        configs = operator.kube.objects[ENICONFIGS]
        await eventually(lambda: "status" in configs["unused"], "a status of the ENIConfig", within=20)
        [condition] = configs["unused"]["status"]["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "ENIConfigInvalid")
        assert any("fieldManager=eni-operator-leader" in request for request in operator.kube.requests)


async def test_in_imds_only_mode_it_tells_what_metadata_shows_and_calls_no_ec2(tmp_path: Path) -> None:
    async with running(tmp_path, ENABLE_IMDS_ONLY_MODE="true") as operator:
        await eventually(lambda: bool(operator.status.get("supply")), "a supply", within=15)
        [primary] = operator.status["supply"]["enis"]
        assert (primary["role"], primary["subnetCIDR"], primary["state"]) == ("primary", "10.0.0.0/20", "attached")
        assert await operator.ec2_calls() == 0
        reasons = {c["type"]: c["reason"] for c in operator.status["conditions"]}
        assert reasons["Sufficient"] != "NoSubnet"


async def test_wrong_settings_are_told_in_one_go() -> None:
    environ = {"PATH": os.environ["PATH"], "ENI_LOG_LEVEL": "loud"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eni_operator", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, text = await process.communicate()
    assert process.returncode == 2
    assert [line.split("=")[0].split()[0] for line in text.decode().splitlines()] == ["MY_NODE_NAME", "ENI_LOG_LEVEL"]
