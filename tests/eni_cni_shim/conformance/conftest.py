"""A node with a running agent, a runtime that calls the executable, and pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eni_testing.agents import AgentNode
from eni_testing.cni import Pod
from eni_testing.cni_client import Client
from eni_testing.cnitool import CHAIN, CniTool, serving_node
from eni_testing.hosts import require_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="package")
def node() -> Iterator[AgentNode]:
    """A node whose agent serves, the same for all tests."""
    require_namespaces()
    made = AgentNode()
    try:
        made.start_alone()
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


@pytest.fixture(scope="module")
def chained(static_forwarder: list[str]) -> Iterator[AgentNode]:
    """A node with Debian's plugins and every setting that chains one."""
    with serving_node(static_forwarder, *CHAIN, ENABLE_BANDWIDTH_PLUGIN="true", DISABLE_POD_V6="true") as node:
        yield node


@pytest.fixture
def make_tool(tmp_path: Path) -> Callable[[str, AgentNode], CniTool]:
    """Makes the client of a generation on a node."""

    def make(generation: str, node: AgentNode) -> CniTool:
        folders = (node.folder / "conf", node.folder / "bin", tmp_path / "cache")
        return CniTool(generation, node.host, *folders, node.socket_path)

    return make
