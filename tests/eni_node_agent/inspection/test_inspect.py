"""The command on a node: a real agent, a real kernel, and somebody who undoes things."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from eni_crds.nodeippool import Family
from eni_node_agent.inspection import report
from eni_node_agent.inspection.compare import Finding
from eni_node_agent.inspection.report import Report
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.settings import Settings
from eni_testing.agents import AgentNode
from eni_testing.supplies import FOUR, eni, supply


@pytest.fixture
async def _serving(node: AgentNode) -> None:
    """The agent of the node serves pods."""
    await node.serve(supply(eni(0, addresses=FOUR)))


def remember(node: AgentNode, name: str, *addresses: str) -> None:
    """Keeps a result as libcni does."""
    pod = [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", name]]
    result = {"ips": [{"address": address} for address in addresses]}
    document = {"containerId": name, "ifName": "eth0", "networkName": "eni", "cniArgs": pod, "result": result}
    (node.folder / "cache" / "results" / f"eni-{name}-eth0").write_text(json.dumps(document))


async def inspect(node: AgentNode) -> tuple[int, dict[str, Any]]:
    result = await node.execute("inspect", "--json")
    assert result.returncode in {0, 1, 2}, result.stderr
    return result.returncode, json.loads(result.stdout)


def kinds(document: dict[str, Any]) -> set[str]:
    return {each["kind"] for each in document["differences"]}


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.usefixtures("_serving")
async def test_a_node_in_order_has_no_differences(node: AgentNode) -> None:
    remember(node, "web", f"{await node.address_of('web')}/32")
    result = await node.execute("inspect")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines()[0] == "node-a: EC2's view, ledger, kernel and runtime agree"


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.usefixtures("_serving")
async def test_an_address_may_have_neighbour_entries_on_other_links(node: AgentNode) -> None:
    address = await node.address_of("web")
    remember(node, "web", f"{address}/32")
    node.host.run(["ip", "neighbour", "add", address, "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "stale"])
    assert (await inspect(node))[1]["differences"] == []


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.parametrize("families", [[Family.IPV6], [Family.IPV4, Family.IPV6]])
async def test_both_families_and_node_local_addresses_are_looked_at(node: AgentNode, families: list[Family]) -> None:
    node.variables["ENABLE_V4_EGRESS"] = "true"
    await node.serve(supply(eni(0, addresses=FOUR, ipv6_prefixes=["2001:db8:0:0:1::/80"]), families=families))
    outcome = await node.add("web")
    addresses = [ip["address"] for ip in outcome.json["ips"]]
    assert len(addresses) == len(families)
    remember(node, "web", *addresses)
    code, document = await inspect(node)
    assert (code, document["differences"]) == (0, [])
    node.host.run(["ip", "-6", "route", "flush", "table", "512"])
    node.host.run(["ip", "-6", "rule", "delete", "priority", "512"])
    node.stop(signal.SIGKILL)
    found = {each["sentence"] for each in (await inspect(node))[1]["differences"]}
    assert f"no route to {addresses[-1].removesuffix('/128')} is in the pod table" in found
    assert "the IPv6 rule 512: from all lookup 512 is missing" in found


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.usefixtures("_serving")
async def test_tells_what_somebody_did_to_pods(node: AgentNode) -> None:
    for name in ("web", "db"):
        remember(node, name, f"{await node.address_of(name)}/32")
    node.host.run(["ip", "route", "flush", "table", "512"])  # the agent puts these back by itself: no difference
    node.host.run(["ip", "neighbour", "flush", "nud", "permanent"])
    node.host.run(["ip", "route", "add", "10.0.1.7/32", "dev", "eth0", "table", "512"])
    remember(node, "ghost", "10.0.1.6/32")
    code, document = await inspect(node)
    assert code == 1
    assert kinds(document) == {"pod.no_neighbour", "route.no_holding", "sandbox.no_holding"}
    subjects = {each["subject"] for each in document["differences"] if each["kind"] == "pod.no_neighbour"}
    assert subjects == {"default/web", "default/db"}


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.usefixtures("_serving")
async def test_a_dead_agents_ledger_is_read_and_left_as_it_is(node: AgentNode) -> None:
    remember(node, "web", f"{await node.address_of('web')}/32")
    await node.address_of("leaked")
    node.stop(signal.SIGKILL)
    before = node.journal.read_bytes()
    node.host.run(["ip", "rule", "delete", "priority", "512"])
    node.host.run(["nft", "delete", "table", "ip", "eni-agent"])
    node.host.run(["ip", "route", "flush", "table", "512"])
    code, document = await inspect(node)
    assert code == 1
    assert {"agent.silent", "host.differs", "pod.no_route"} <= kinds(document)
    sentences = [each["sentence"] for each in document["differences"]]
    assert "the rule 512: from all lookup 512 is missing" in sentences
    assert "the nftables table ip eni-agent has no chain leaving" in sentences
    assert document["lookedAt"]["supply, ledger"] == "what the last agent has left"
    assert node.journal.read_bytes() == before


@pytest.mark.netns
@pytest.mark.timeout(90)
@pytest.mark.usefixtures("_serving")
async def test_a_side_that_cannot_be_seen_is_no_clean_bill(node: AgentNode) -> None:
    (node.folder / "cache" / "results").rmdir()
    code, document = await inspect(node)
    assert (code, document["differences"]) == (2, [])
    assert "cached results" in document["couldNotLook"][0]


def test_without_agent_and_journal_nothing_of_them_is_seen(tmp_path: Path) -> None:
    settings = Settings(node_name="a", run_dir=tmp_path, cni_cache_dir=tmp_path, proc_sys=tmp_path)
    views = report.look(settings, NetworkSettings())
    assert views.agent is None
    assert any("no journal is there" in sentence for sentence in views.blind)


def test_only_what_lasts_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lasting = Finding("a", "ledger", "x", "differs", "mend it")
    looks = iter([[lasting, lasting._replace(subject="y")], [lasting, lasting._replace(subject="z")]])
    slept: list[float] = []
    monkeypatch.setattr(report, "findings", lambda _: next(looks))
    settings = Settings(node_name="a", run_dir=tmp_path, cni_cache_dir=tmp_path)
    found = report.inspect(settings, NetworkSettings(), sleep=slept.append)
    assert (found.findings, slept) == ((lasting,), [report.CONFIRM_SECONDS])


def test_the_report_names_sides_subject_and_remedy() -> None:
    finding = Finding("pod.no_route", "ledger, kernel", "default/web", "no route to it", "Delete the pod.")
    text = report.text(Report("node-a", (finding,), ("the runtime is away",), {"kernel": "netlink"}))
    assert text.splitlines() == [
        "node-a: 1 difference",
        "",
        "[ledger, kernel] default/web: no route to it",
        "    Delete the pod.",
        "",
        "looked at kernel: netlink",
        "could not look: the runtime is away",
    ]
