"""The agent is killed, rebooted, cut off from the API server, its journal torn: pods keep what is theirs."""

import asyncio
import shutil
import signal
import time
from contextlib import closing

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.ledger.journal import Journal
from eni_testing.agents import AgentNode
from eni_testing.eventually import eventually
from eni_testing.holdings import held
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]


async def test_a_killed_agent_knows_every_pod_again(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
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
    await node.serve(supply(eni(0, addresses=FOUR)))
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
    await node.serve(supply(eni(0, addresses=FOUR)))
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
    await node.serve(supply(eni(0, addresses=FOUR)))
    await node.address_of("web")
    node.stop(signal.SIGKILL)
    boot = node.usage["bootID"]
    shutil.rmtree(node.folder / "run")
    [link] = node.pod_links()
    node.host.run(["ip", "link", "delete", link])
    node.start()
    await node.until_serving()
    assert {await node.address_of(name) for name in "abcd"} == set(FOUR)
    await eventually(lambda: node.usage["bootID"] != boot, "another boot is reported")


async def test_an_address_assigned_by_an_agent_killed_before_it_answered_comes_back(node: AgentNode) -> None:
    (node.folder / "run").mkdir()
    unanswered = Sandbox(SandboxKey("eni", "unanswered", "eth0"))
    with closing(Journal(node.journal)) as journal:
        journal.hold(held(unanswered, FOUR[0], since=time.monotonic() - 100))
    await node.give(supply(eni(0, addresses=FOUR)))
    node.start()
    await eventually(lambda: node.usage.get("cooling") == 1, "the address is taken back", within=15)
    assert node.usage["assigned"] == 0


async def test_a_second_agent_on_a_node_leaves_the_first_alone(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    first, node._process = node._process, None
    node.start()
    assert node._process is not None
    assert await asyncio.to_thread(node._process.wait, 20) == 1
    assert "ledger.db cannot be opened: database is locked" in node.log
    node._process = first
    assert await node.address_of("web") == "10.0.1.4"
