"""An ADD that fails at any step, through plugin, pool, ledger, journal and kernel: nothing of it stays anywhere."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from eni_cni_shim.plugin.pod_network import PodNetwork
from eni_cni_shim.plugin.verbs import Plugin
from eni_cni_shim.protocol import Request
from eni_crds.nodeippool import Family
from eni_lab.fabric.namespaces import entered
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.sandbox.pool import Refusal, SandboxPool
from eni_testing import cni
from eni_testing.eventually import eventually
from eni_testing.hosts import Host
from eni_testing.refusals import Refusing
from eni_testing.supplies import eni, supply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.netns

ANNOTATIONS = {"io.kubernetes.cri.pod-annotations": {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}
SUPPLY = supply(
    eni(0, addresses=["10.0.1.4", "10.0.1.5"], ipv6_prefixes=["2001:db8:0:1:1::/80"]),
    eni(1, card=1, addresses=["10.0.2.4", "10.0.2.5"], ipv6_prefixes=["2001:db8:0:1:2::/80"]),
    cooldown_seconds=0,
    families=[Family.IPV4, Family.IPV6],
)


class Node:
    """An agent's part of a CNI call, in a node's namespace, over two network cards of both families."""

    def __init__(self, host: Host, journal: Journal, refusing: Refusing) -> None:
        self.host = host
        self.journal = journal
        self.refusing = refusing
        self.ledger = Ledger(journal)
        self.ledger.observe(SUPPLY, {cidr for each in SUPPLY.enis for cidr in cidrs_of(each)}, now=0)
        self.pool = SandboxPool(
            self.ledger,
            hold_seconds=0.1,
            clock=lambda: 0.0,
            explain=lambda: Refusal("SubnetFull", "none is left"),
            pressed=lambda: None,
        )
        self.network = PodNetwork()
        self.plugin = Plugin(self.pool, self.network)

    async def call(self, command: str, pod: cni.Pod | None, name: str = "c1") -> cni.Outcome:
        """Calls as a runtime does; without a pod its namespace is gone."""
        config: dict[str, Any] = {**cni.CONFIG, "cniVersion": "1.1.0", "runtimeConfig": ANNOTATIONS}
        request = Request(
            cni.environ(command, name, pod.path if pod else "/run/netns/gone"), json.dumps(config).encode()
        )
        return cni.Outcome(*await self.plugin.handle(request, pod.netns if pod else None))

    def links(self) -> list[str]:
        lines = self.host.run(["ip", "-br", "link"]).stdout.splitlines()
        return [line.split("@")[0] for line in lines if line.startswith("eni")]

    def is_untouched(self) -> bool:
        routes = [self.host.run(["ip", f, "route", "show", "table", "512"], check=False).stdout for f in ("-4", "-6")]
        is_free = not self.ledger.holdings() and self.ledger.tally(0).free == 4
        return is_free and not self.journal.replay().holdings and not self.links() and not any(routes)


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    with Host() as host, entered(host.path), closing(Journal(tmp_path / "ledger.db")) as journal:
        made = Node(host, journal, Refusing(monkeypatch, errno.ENOBUFS))
        yield made
        made.refusing.countdown = -1
        await made.network.aclose()


@pytest.fixture
def pod() -> Any:
    made = cni.Pod()
    yield made
    made.close()


async def test_an_add_that_fails_at_any_step_leaves_nothing_and_the_next_one_serves(node: Node, pod: cni.Pod) -> None:
    for step in itertools.count(1):
        node.refusing.countdown = step
        outcome = await node.call("ADD", pod)
        if outcome.exit_code == 0:
            break
        assert (outcome.code, "No buffer space" in outcome.json["msg"]) == (101, True)
        await eventually(node.is_untouched, f"nothing is left of an ADD that failed at step {step}")
    node.refusing.countdown = -1
    assert step > 4
    assert len(outcome.json["ips"]) == 4
    assert (await node.call("DEL", pod)).exit_code == 0
    await eventually(node.is_untouched, "DEL leaves nothing either")


async def test_adds_and_dels_of_one_sandbox_in_any_order_end_as_the_last_of_them(node: Node, pod: cni.Pod) -> None:
    for _ in range(5):
        outcomes = await asyncio.gather(*(node.call(verb, pod) for verb in ("ADD", "DEL", "ADD", "ADD", "DEL")))
        assert [outcome.exit_code for outcome in outcomes if outcome.stdout == b""] == [0, 0], "a DEL always succeeds"
        await eventually(node.is_untouched, "the last was a DEL")
        added, _, last = await asyncio.gather(*(node.call(verb, pod) for verb in ("ADD", "DEL", "ADD")))
        assert (last.exit_code, len(node.links())) == (0, 2), added
        assert (await node.call("DEL", pod)).exit_code == 0
        await eventually(node.is_untouched, "nothing is left")


async def test_a_late_del_of_a_former_sandbox_of_the_pod_leaves_the_new_one_alone(node: Node, pod: cni.Pod) -> None:
    former = cni.Pod()
    assert (await node.call("ADD", former, "former")).exit_code == 0
    former.close()
    assert (await node.call("ADD", pod, "new")).exit_code == 0
    assert (await node.call("DEL", None, "former")).exit_code == 0
    assert (await node.call("DEL", None, "former")).exit_code == 0
    await eventually(lambda: len(node.links()) == 2, "the former sandbox's links are gone, the new one's are not")
    [holding] = node.ledger.holdings()
    assert holding.sandbox.key.container_id == "new"
    assert pod.run(["ip", "-br", "link"]).stdout.count("UP") >= 2
