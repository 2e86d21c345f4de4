"""A node with a running agent, a runtime that calls the executable, and pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eni_lab.waiting import wait_for
from eni_node_agent.cluster.supply import SupplyFile
from eni_testing.agents import AgentNode
from eni_testing.cni import Pod
from eni_testing.cni_client import Client
from eni_testing.hosts import require_namespaces
from eni_testing.supplies import eni, supply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIXES = [f"10.0.1.{16 * number}/28" for number in range(16)]


def begin(node: AgentNode, *, prefixes: list[str] = PREFIXES) -> None:
    """Starts an agent that has the supply of a predecessor and no API server."""
    (node.folder / "state").mkdir(exist_ok=True)
    SupplyFile(node.folder / "state" / "supply.json").save(supply(eni(0, prefixes=prefixes), cooldown_seconds=1))
    node.start()
    wait_for("the agent serves", lambda: node.conflist.exists() or None, seconds=20)


@pytest.fixture(scope="package")
def node() -> Iterator[AgentNode]:
    """A node whose agent serves, the same for all tests."""
    require_namespaces()
    made = AgentNode()
    try:
        begin(made)
        yield made
    finally:
        made.close()


@pytest.fixture
def runtime(node: AgentNode, static_forwarder: list[str]) -> Client:
    """Calls the static executable on that node."""
    return Client(static_forwarder, node.socket_path)


@pytest.fixture
def pod() -> Iterator[Pod]:
    """A pod's namespace."""
    made = Pod()
    yield made
    made.close()


@pytest.fixture
def make_client(node: AgentNode) -> Callable[[list[str]], Client]:
    """Makes runtimes that call another executable on that node."""
    return lambda executable: Client(executable, node.socket_path)
