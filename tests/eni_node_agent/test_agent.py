"""The agent as a process: started, killed, rebooted, cut off; pods keep what is theirs."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus, EniState, Family
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.looplag import STALL_SECONDS
from eni_testing.agents import NODE, AgentNode
from eni_testing.api_server import PODS, POOLS, pod
from eni_testing.eventually import eventually
from eni_testing.holdings import held
from eni_testing.supplies import eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

BLOCK = "2001:db8:0:1:2::/80"
FOUR = [f"10.0.1.{last}" for last in range(4, 8)]


@pytest.fixture
async def node() -> AsyncIterator[AgentNode]:
    made = AgentNode()
    try:
        async with made.api_server():
            yield made
    finally:
        made.close()


def usage(node: AgentNode) -> dict[str, object]:
    return node.api.applied[-1].usage if node.api.applied else {}


def pod_links(node: AgentNode) -> list[str]:
    lines = node.host.run(["ip", "-brief", "link", "show", "type", "veth"]).stdout.splitlines()
    return [line.split("@")[0] for line in lines if line.startswith("eni")]


def lag_figures(node: AgentNode) -> float:
    found = re.search(r"^eni_agent_loop_lag_seconds_count (\S+)$", node.http("/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_a_pod_gets_its_address_once_the_operator_has_spoken(node: AgentNode) -> None:
    node.start()
    await node.until_serving()
    outcome = await node.status()
    assert (outcome.code, "no supply has been seen yet" in outcome.json["msg"]) == (50, True)
    assert not node.conflist.exists()
    await node.give(supply(eni(0, addresses=FOUR)))
    await node.until_able()
    assert (await node.status()).exit_code == 0
    assert await node.address_of("web") == "10.0.1.4"
    assert node.host.reaches("10.0.1.4")
    await eventually(lambda: usage(node).get("assigned") == 1, "usage reported")
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: usage(node).get("cooling") == 1, "usage reported")
    await eventually(lambda: pod_links(node) == [], "no link is left")


async def test_demand_is_reported_before_anybody_asks_for_an_address(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    await node.api.put(PODS, pod("early"))
    node.start()
    await eventually(lambda: usage(node).get("pending") == 1, "pending reported", within=15)
    for number in range(5):
        await node.api.put(PODS, pod(f"web-{number}"))
    await eventually(lambda: usage(node).get("pending") == 6, "pending reported")
    conditions = {entry["type"]: entry["status"] for entry in node.api.applied[-1].body["status"]["conditions"]}
    assert conditions == {"AgentConnected": "True", "DriftDetected": "False"}


async def test_an_add_waits_for_the_pool_to_grow(node: AgentNode) -> None:
    await node.give(supply(eni(0)))
    node.start()
    await node.until_able()
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: usage(node).get("pending") == 1, "the wait is reported as demand")
    await node.give(supply(eni(0, addresses=FOUR)))
    assert await adding == "10.0.1.4"


async def test_an_add_that_waited_in_vain_says_why_in_the_operators_words(node: AgentNode) -> None:
    node.variables["ENI_HOLD_SECONDS"] = "0.3"
    full = Condition(
        type=ConditionType.SUBNET_EXHAUSTED,
        status=ConditionStatus.TRUE,
        reason=Reason.SUBNET_FULL,
        message="subnet-1 has 0 free addresses",
        last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
    )
    await node.give(supply(eni(0)), full)
    node.start()
    why = "subnet-1 has 0 free addresses"
    await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
    assert node.http("/readyz")[0] == 503
    outcome = await node.add("web")
    assert outcome.code == 11
    assert why in outcome.json["msg"]
    assert outcome.json["details"] == "SubnetFull"
    assert not node.conflist.exists()
    await eventually(lambda: len(node.api.events) == 1, "the pod has an Event")
    [event] = node.api.events.values()
    assert (event["reason"], event["message"]) == ("SubnetFull", outcome.json["msg"])
    assert event["involvedObject"]["uid"] == "uid-web"
    assert 'eni_agent_add_refused_total{reason="SubnetFull"} 1.0' in node.http("/metrics")[1]


async def test_a_pod_that_waits_is_told_of_before_its_add_ends(node: AgentNode) -> None:
    await node.give(supply(eni(0)))
    node.start()
    await node.until_able()
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: "eni_agent_waiting_sandboxes 1.0" in node.http("/metrics")[1], "the sandbox waits")
    await eventually(lambda: len(node.api.events) == 1, "the pod has an Event")
    assert not adding.done()
    await node.give(supply(eni(0, addresses=FOUR)))
    assert await adding == "10.0.1.4"
    assert "eni_agent_waiting_sandboxes 0.0" in node.http("/metrics")[1]
    assert "eni_agent_add_refused_total{" not in node.http("/metrics")[1]


async def test_a_kernel_without_ipv6_is_told_of_in_words(node: AgentNode) -> None:
    (node.folder / "sys" / "net").mkdir(parents=True)
    node.variables |= {"ENI_HOLD_SECONDS": "0.1", "ENI_PROC_SYS": str(node.folder / "sys")}
    await node.give(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=[Family.IPV6]))
    node.start()
    await node.until_serving()
    why = "the kernel of this node has no IPv6"
    await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
    status = await node.status()
    assert (status.code, why in status.json["msg"]) == (50, True)


@pytest.mark.parametrize("families", [[Family.IPV6], [Family.IPV4, Family.IPV6]])
async def test_pods_have_an_address_of_every_family_also_after_a_kill(node: AgentNode, families: list[Family]) -> None:
    await node.give(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=families))
    node.start()
    await node.until_able()
    expected = ["10.0.1.4/32"] if len(families) == 2 else []
    assert await node.addresses_of("web") == [*expected, "2001:db8:0:1:2::/128"]
    node.host.run(["ip", "-6", "rule", "add", "priority", "512", "lookup", "512"], check=False)
    node.host.run(["ip", "address", "add", "2001:db8:0:1::a/128", "dev", "lo", "nodad"])
    assert node.host.reaches("2001:db8:0:1:2::")
    node.stop(signal.SIGKILL)
    node.start()
    await node.until_serving()
    assert await node.addresses_of("web") == [*expected, "2001:db8:0:1:2::/128"]
    assert (await node.addresses_of("next"))[-1] == "2001:db8:0:1:2::1/128"
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: usage(node).get("cooling") == 1, "both cool as one")
    assert usage(node)["assigned"] == 1
    await eventually(lambda: len(pod_links(node)) == 1, "one link is left")


async def test_an_annotated_pod_has_a_link_on_every_card_and_goes_with_all_of_them(node: AgentNode) -> None:
    for name, mac in (("eth1", "02:00:00:00:01:01"), ("eth2", "02:00:00:00:02:01")):
        node.host.run(["ip", "link", "add", name, "address", mac, "type", "veth", "peer", f"wire{name[-1]}"])
    cards = eni(0, addresses=FOUR), eni(1, card=1, addresses=["10.0.2.4"]), eni(1, card=2, addresses=["10.0.3.4"])
    await node.give(supply(*cards))
    node.start()
    await node.until_able()
    await eventually(lambda: usage(node).get("free") == 6, "all cards serve")
    wish = {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}
    assert await node.addresses_of("many", wish) == ["10.0.1.4/32", "10.0.2.4/32", "10.0.3.4/32"]
    assert await node.addresses_of("one") == ["10.0.1.5/32"]
    assert all(node.host.reaches(address) for address in ("10.0.1.4", "10.0.2.4", "10.0.3.4"))
    links = node.pod("many").run(["ip", "-br", "link"]).stdout
    assert all(name in links for name in ("eth0@", "mNicIf1@", "mNicIf2@"))
    await eventually(lambda: usage(node).get("assigned") == 4, "usage reported")
    assert usage(node)["cards"] == [{"networkCard": card, "assigned": 1, "cooling": 0, "pending": 0} for card in (1, 2)]
    assert (await node.delete("many")).exit_code == 0
    await eventually(lambda: len(pod_links(node)) == 1, "one pod's link is left")


@pytest.mark.parametrize(
    ("families", "variable", "egress", "target"),
    [
        ([Family.IPV4], "ENABLE_V6_EGRESS", "fd00::ac:2", "2001:db8:ffff::1"),
        ([Family.IPV6], "ENABLE_V4_EGRESS", "169.254.172.2", "198.51.100.1"),
    ],
)
async def test_egress_gives_a_way_of_the_other_family_that_the_runtime_is_not_told_of(
    node: AgentNode, families: list[Family], variable: str, egress: str, target: str
) -> None:
    node.variables[variable] = "true"
    await node.give(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=families))
    node.start()
    await node.until_able()
    assert len(await node.addresses_of("web")) == 1
    assert f"src {egress}" in node.pod("web").run(["ip", "route", "get", target]).stdout
    family = "-6" if ":" in egress else "-4"
    assert f"{egress} dev" in node.host.run(["ip", family, "route", "show", "table", "512"]).stdout
    node.variables[variable] = "false"
    assert node.stop() == 0
    node.start()
    await node.until_serving()
    assert (await node.delete("web")).exit_code == 0
    await node.addresses_of("other")
    assert egress not in node.pod("other").run(["ip", "address"]).stdout


async def test_a_quiet_agent_goes_on_saying_that_it_is_there(node: AgentNode) -> None:
    node.variables["ENI_HEARTBEAT_SECONDS"] = "1"
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await eventually(lambda: len(node.api.applied) >= 6, "usage is written again and again", within=15)
    *_, before, last = (applied.usage for applied in node.api.applied)
    assert before.pop("reportedAt") != last.pop("reportedAt")
    assert before == last


async def test_an_excluded_eni_keeps_its_pod_connected_and_gets_no_new_one(node: AgentNode) -> None:
    node.host.run(["ip", "link", "add", "eth1", "address", "02:00:00:00:00:01", "type", "veth", "peer", "wire1"])
    await node.give(supply(eni(0), eni(1, addresses=FOUR)))
    node.start()
    await node.until_able()
    address = await node.address_of("web")
    leaving = [(f"{each}/32", f"token-{each}") for each in FOUR]
    excluded = eni(1, addresses=FOUR, excluded="subnet-1 is out of use", state=EniState.RELEASING, releasing=leaving)
    await node.give(supply(eni(0, addresses=["10.0.1.9"]), excluded))
    let_go = [{"cidr": cidr, "token": token} for cidr, token in leaving if cidr != f"{address}/32"]
    await eventually(lambda: usage(node).get("released") == let_go, "three of four are let go of")
    assert usage(node)["leaving"] == [{"cidr": f"{address}/32", "token": f"token-{address}", "held": 1}]
    assert await node.address_of("next") == "10.0.1.9"
    assert node.host.reaches(address)
    assert f"from {address.rpartition('.')[0]}.4/30 lookup 2" in node.host.run(["ip", "rule"]).stdout


async def test_a_killed_agent_knows_every_pod_again(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    first = await node.address_of("web")
    cooling = await node.address_of("gone")
    assert (await node.delete("gone")).exit_code == 0
    node.stop(signal.SIGKILL)
    node.start()
    await node.until_serving()
    assert {await node.address_of("a"), await node.address_of("b")} == set(FOUR) - {first, cooling}
    assert await node.address_of("web") == first
    assert node.host.reaches(first)


async def test_serves_add_and_del_with_the_api_server_gone_also_after_a_restart(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    node.api.refusal = 503
    await node.api.cut_watches()
    assert node.stop() == 0
    node.conflist.unlink()
    node.start()
    await node.until_able()
    assert await node.address_of("web") == "10.0.1.4"
    assert (await node.delete("web")).exit_code == 0
    node.api.refusal = None
    written = len(node.api.applied)
    await eventually(lambda: len(node.api.applied) > written, "usage reported again", within=15)


@pytest.mark.parametrize("length", [0, 100])
async def test_a_torn_journal_gives_no_live_pods_address_away(node: AgentNode, length: int) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    first = await node.address_of("web")
    node.stop(signal.SIGKILL)
    node.journal.write_bytes(node.journal.read_bytes()[:length])
    node.start()
    await node.until_serving()
    others = {await node.address_of(name) for name in ("a", "b", "c")}
    assert others == set(FOUR) - {first}
    assert "addresses adopted from the kernel" in node.log
    assert await node.address_of("web") == first
    assert (await node.delete("web")).exit_code == 0
    assert not node.host.reaches(first, timeout=0.2)


async def test_after_a_reboot_no_address_stays_with_a_dead_pod(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await node.address_of("web")
    node.stop(signal.SIGKILL)
    boot = usage(node)["bootID"]
    shutil.rmtree(node.folder / "run")
    [link] = pod_links(node)
    node.host.run(["ip", "link", "delete", link])
    node.start()
    await node.until_serving()
    assert {await node.address_of(name) for name in "abcd"} == set(FOUR)
    await eventually(lambda: usage(node)["bootID"] != boot, "another boot is reported")


async def test_an_address_assigned_by_an_agent_killed_before_it_answered_comes_back(node: AgentNode) -> None:
    (node.folder / "run").mkdir()
    unanswered = Sandbox(SandboxKey("eni", "unanswered", "eth0"))
    with closing(Journal(node.journal)) as journal:
        journal.hold(held(unanswered, FOUR[0], since=time.monotonic() - 100))
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await eventually(lambda: usage(node).get("cooling") == 1, "the address is taken back", within=15)
    assert usage(node)["assigned"] == 0


async def test_a_second_agent_on_a_node_leaves_the_first_alone(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    first, node._process = node._process, None
    node.start()
    assert node._process is not None
    assert await asyncio.to_thread(node._process.wait, 20) == 1
    assert "ledger.db cannot be opened: database is locked" in node.log
    node._process = first
    assert await node.address_of("web") == "10.0.1.4"


async def test_fifty_pods_at_once_on_an_empty_pool_all_get_their_address(node: AgentNode) -> None:
    await node.give(supply(eni(0)))
    node.start()
    await node.until_able()
    names = [f"web-{number}" for number in range(50)]
    adding = asyncio.gather(*(node.address_of(name) for name in names))
    await eventually(lambda: usage(node).get("pending") == 50, "the whole burst is reported", within=15)
    await node.give(supply(eni(0, prefixes=["10.0.1.0/28", "10.0.1.16/28", "10.0.1.32/28", "10.0.1.48/28"])))
    addresses = await adding
    assert len(set(addresses)) == 50
    seen = lag_figures(node)
    await eventually(lambda: lag_figures(node) > seen + 1, "the loop's lag during the burst is known")
    assert [stall for stall in node.stalls() if stall["own_seconds"] > STALL_SECONDS] == []


async def test_a_release_is_confirmed_when_the_pod_has_gone_and_its_address_has_rested(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR), cooldown_seconds=1))
    node.start()
    await node.until_able()
    address = await node.address_of("web")
    marked = supply(eni(0, addresses=FOUR, releasing=[(f"{address}/32", "t1")]), cooldown_seconds=1)
    await node.give(marked)
    assert await node.address_of("other") != address
    await eventually(lambda: usage(node).get("assigned") == 2, "usage reported")
    assert usage(node)["released"] == []
    await node.delete("web")
    expected = [{"cidr": f"{address}/32", "token": "t1"}]
    await eventually(lambda: usage(node)["released"] == expected, "the release is confirmed", within=8)


async def test_an_eni_that_appears_later_serves_then(node: AgentNode) -> None:
    node.host.run(["ip", "link", "set", "eth0", "down"])
    await node.give(supply(eni(0), eni(1, addresses=["10.0.1.9"])))
    node.start()
    await node.until_able()
    adding = asyncio.create_task(node.address_of("web"))
    await eventually(lambda: usage(node).get("pending") == 1, "the pod waits")
    node.host.run(["ip", "link", "add", "eth1", "address", "02:00:00:00:00:01", "type", "veth", "peer", "wire1"])
    assert await adding == "10.0.1.9"
    assert node.host.reaches("10.0.1.9")


async def test_what_others_undo_is_repaired_and_told(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    address = await node.address_of("web")
    node.host.run(["ip", "rule", "delete", "priority", "512"])
    await eventually(lambda: "512:" in node.host.run(["ip", "rule"]).stdout, "the rule is back")
    assert node.host.reaches(address)

    def drift() -> dict[str, str]:
        found = node.api.applied[-1].body["status"]["conditions"]
        return next(entry for entry in found if entry["type"] == "DriftDetected")

    await eventually(lambda: drift()["status"] == "True", "drift reported")
    assert "rule 1" in drift()["message"]
    assert 'eni_agent_network_repairs_total{kind="rule"} 1.0' in node.http("/metrics")[1]


async def test_routes_to_pods_that_others_take_are_put_back(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    address = await node.address_of("web")
    assert node.host.reaches(address)
    node.host.run(["ip", "route", "flush", "table", "512"])
    await eventually(lambda: node.host.reaches(address), "the pod is reached again", within=15)


async def test_rule_of_another_tool_that_is_in_the_way_is_told(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    node.host.run(["ip", "rule", "add", "from", FOUR[0], "lookup", "9", "priority", "100"])

    def drift() -> dict[str, str]:
        found = node.api.applied[-1].body["status"]["conditions"]
        return next(entry for entry in found if entry["type"] == "DriftDetected")

    await eventually(lambda: drift()["reason"] == "RuleConflict", "the conflict is told")
    assert f"100: from {FOUR[0]}/32 lookup 9" in drift()["message"]
    assert "eni_agent_network_conflicts 1.0" in node.http("/metrics")[1]
    node.host.run(["ip", "rule", "delete", "priority", "100"])
    await eventually(lambda: drift()["status"] == "False", "the conflict is over")


async def test_sysctls_are_kept_in_the_folder_that_is_mounted(node: AgentNode) -> None:
    forwards = node.folder / "sys" / "net/ipv4/ip_forward"
    forwards.parent.mkdir(parents=True)
    forwards.write_text("0\n")
    node.variables["ENI_PROC_SYS"] = str(node.folder / "sys")
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    assert forwards.read_text() == "1"
    forwards.write_text("0\n")
    await eventually(lambda: forwards.read_text() == "1", "the value is back", within=15)


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


async def test_vpc_cnis_addresses_serve_its_metrics_and_introspection(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
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


async def test_the_time_from_bound_to_address_is_measured(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await eventually(lambda: usage(node).get("pending") == 0, "pods are followed", within=15)
    await node.api.put(PODS, pod("web"))
    await eventually(lambda: usage(node).get("pending") == 1, "the pod is seen")
    await node.address_of("web")
    text = node.http("/metrics")[1]
    assert "\neni_agent_pod_bound_to_address_seconds_count 1.0\n" in text
    seconds = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[0] != "#"}
    assert 0 < seconds["eni_agent_start_seconds"] < seconds["eni_agent_first_address_seconds"] < 60
    assert seconds["eni_agent_pod_bound_to_address_seconds_sum"] > 0


async def test_metrics_and_introspection_can_be_switched_off(node: AgentNode) -> None:
    node.variables |= {"DISABLE_METRICS": "true", "DISABLE_INTROSPECTION": "true"}
    node.start()
    await eventually(lambda: node.http("/healthz")[0] == 200, "alive", within=15)
    assert node.http("/metrics")[0] == 404
    assert node.fetch("127.0.0.1:61678", "/metrics")[0] == node.fetch("127.0.0.1:61679", "/")[0] == 0


async def test_ports_others_have_keep_no_pod_waiting(node: AgentNode) -> None:
    """As while VPC CNI's agent still runs on the node."""
    listeners = [node.host.call(socket.create_server, ("127.0.0.1", port)) for port in (61678, 61679)]
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    assert await node.address_of("web") == "10.0.1.4"
    await eventually(lambda: node.log.count("pages cannot be served yet") == 2, "both are told")
    for listener in listeners:
        listener.close()
    await eventually(lambda: node.fetch("127.0.0.1:61678", "/metrics")[0] == 200, "metrics are served", within=20)


async def test_a_journal_that_is_gone_makes_the_node_not_ready(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
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


async def test_a_log_file_and_its_level_are_vpc_cnis(node: AgentNode) -> None:
    path, requests = node.folder / "logs" / "ipamd.log", node.folder / "logs" / "plugin.log"
    node.variables |= {"AWS_VPC_K8S_CNI_LOG_FILE": str(path), "AWS_VPC_K8S_PLUGIN_LOG_FILE": str(requests)}
    node.variables["AWS_VPC_K8S_CNI_LOGLEVEL"] = "Debug"
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await node.address_of("web")
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    [add] = [line for line in lines if line.get("verb") == "ADD"]
    assert (add["pod"], add["address"], add["outcome"], add["sandbox"]) == ("default/web", "10.0.1.4", "success", "web")
    assert "serving the socket" in path.read_text()
    assert '"DEBUG"' in path.read_text()
    assert "request answered" not in path.read_text()


async def test_an_object_that_was_deleted_and_made_anew_gets_its_usage_again(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await eventually(lambda: usage(node).get("free") == 4, "usage reported")
    await node.api.delete(POOLS, NODE)
    node.api.applied.clear()
    await node.give(supply(eni(0, addresses=FOUR)))
    await eventually(lambda: usage(node).get("free") == 4, "usage reported again")


async def test_a_bad_object_leaves_the_last_good_supply(node: AgentNode) -> None:
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await node.until_able()
    await node.api.put(POOLS, {"metadata": {"name": NODE}, "status": {"supply": {"enis": 3}}})
    await eventually(lambda: "NodeIPPool cannot be read" in node.log, "said so")
    assert await node.address_of("web") == "10.0.1.4"


def test_an_environment_that_makes_no_sense_is_one_sentence() -> None:
    command = [sys.executable, "-m", "eni_node_agent", "run"]
    result = subprocess.run(command, env={}, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 1
    assert result.stderr == "eni-agent run: MY_NODE_NAME is not set; the name of this node is needed\n"


async def test_addresses_are_noted_on_pods_where_that_was_asked_for(node: AgentNode) -> None:
    node.variables["ANNOTATE_POD_IP"] = "true"
    await node.give(supply(eni(0, addresses=FOUR)))
    for name in ("web", "late"):
        await node.api.put(PODS, pod(name))
    node.start()
    await node.until_able()

    def noted(name: str) -> str | None:
        annotations = node.api.objects[PODS][name]["metadata"].get("annotations", {})
        value: str | None = annotations.get("vpc.amazonaws.com/pod-ips")
        return value

    address = await node.address_of("web")
    await eventually(lambda: noted("web") == address, "the address is noted")
    node.api.refusal = 503
    late = await node.address_of("late")
    assert noted("late") is None, "the pod has its address although the API server is away"
    node.api.refusal = None
    await eventually(lambda: noted("late") == late, "noted once it is back", within=15)
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: noted("web") == "", "emptied")
    node.stop(signal.SIGKILL)
    node.api.objects[PODS]["late"]["metadata"]["annotations"].clear()
    node.start()
    await eventually(lambda: noted("late") == late, "made up for after a restart", within=15)
    assert 'eni_agent_pod_ip_annotations_total{outcome="written"} 1.0' in node.http("/metrics")[1]
