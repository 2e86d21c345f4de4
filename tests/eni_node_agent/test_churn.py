"""Pods come and go while the agent is killed: 20 s here, 5 minutes and 500 pods by ``make churn``."""

import asyncio
import contextlib
import json
import os
import re
import signal
import tempfile
from pathlib import Path

import pytest

from eni_node_agent.ledger.journal import Journal
from eni_node_agent.looplag import STALL_SECONDS
from eni_testing import cni
from eni_testing.agents import BLOCKED_SECONDS, AgentNode, node_beside_api_server
from eni_testing.churn import Churn
from eni_testing.eventually import eventually
from eni_testing.supplies import eni, supply

SECONDS = float(os.environ.get("CHURN_SECONDS", "20"))
PODS = int(os.environ.get("CHURN_PODS", "60"))
SEED = int(os.environ.get("CHURN_SEED", "1"))
MEMORY = Path("/dev/shm")
"""A tmpfs, as /run is on a node: a write to the journal must not wait for a disk."""
IS_SHORT = SECONDS < 120
PREFIXES = [f"10.0.{third}.{fourth}/28" for third in range(2, 6) for fourth in range(0, 256, 16)]
FREE = 16 * len(PREFIXES)
"""Many more than pods: the address of a lost DEL is back only after the sweep's grace."""
IMPATIENT = """
import sys
from eni_node_agent import wiring
from eni_node_agent.__main__ import main
from eni_node_agent.sandbox import gc
gc.GRACE_SECONDS, wiring.TICK_SECONDS = 4.0, 1.0
sys.exit(main(["run"]))
"""
"""The agent whose sweep waits for seconds where it waits for a minute else; a short run has no minute."""

pytestmark = [pytest.mark.netns, pytest.mark.timeout(SECONDS + 240)]


async def test_nothing_is_given_twice_and_nothing_is_left_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="eni-churn-") as folder:
        executable = cni.build_forwarder(Path(folder))
        async with node_beside_api_server(MEMORY) as node:
            await _churn(node, executable)


async def _churn(node: AgentNode, executable: list[str]) -> None:
    if IS_SHORT:
        node.arguments = ["-c", IMPATIENT]
    await node.serve(supply(eni(0, prefixes=PREFIXES), cooldown_seconds=1))
    before = _kernel(node)
    churn = Churn(node, executable, pods=PODS, seed=SEED)
    await churn.run(SECONDS)
    await churn.clear()
    figures = {"seconds": SECONDS, "pods": PODS, **churn.counts, "stalls": node.stalls()}
    print(json.dumps(figures, indent=2))  # noqa: T201  pytest -s shows it
    assert churn.broken == []
    assert churn.counts["ADD"] > SECONDS
    assert churn.counts["agents killed"] > SECONDS / 20
    within = 30 if IS_SHORT else 120
    await eventually(lambda: _usage(node)[:2] == (0, 0), "every address has come back", within=within)
    await eventually(lambda: _usage(node) == (0, 0, FREE), "every address is free", within=10)
    await _until_as(node, before)
    assert node.stop(signal.SIGTERM) == 0
    with contextlib.closing(Journal(node.journal)) as journal:
        assert journal.replay().holdings == ()
    assert node.own_stalls(BLOCKED_SECONDS if IS_SHORT else STALL_SECONDS) == []


async def _until_as(node: AgentNode, before: dict[str, str]) -> None:
    """Waits until the host is as before; the assertion shows what is not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while _kernel(node) != before:  # noqa: ASYNC110  nobody tells of the kernel
                await asyncio.sleep(0.1)
    assert _kernel(node) == before


def _usage(node: AgentNode) -> tuple[int, int, int]:
    usage = node.usage
    return usage["assigned"], usage["cooling"], usage["free"]


def _kernel(node: AgentNode) -> dict[str, str]:
    """Returns what the host's kernel has, without what it counts, and sets of nftables without their generation."""
    return {
        "links": _links(node),
        "addresses": node.host.run(["ip", "-o", "-4", "address"]).stdout,
        "rules": node.host.run(["ip", "rule"]).stdout,
        "routes": node.host.run(["ip", "-4", "route", "show", "table", "all"]).stdout,
        "neighbours": node.host.run(["ip", "neighbour", "show", "nud", "permanent"]).stdout,
        "firewall": re.sub(r"exempt-\d+", "exempt", node.host.run(["nft", "--stateless", "list", "ruleset"]).stdout),
    }


def _links(node: AgentNode) -> str:
    """Returns the names of all links, those that DEL has set down among them."""
    lines = node.host.run(["ip", "-brief", "link"]).stdout.splitlines()
    return "\n".join(sorted(line.split()[0] for line in lines))
