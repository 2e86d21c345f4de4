import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from eni_node_agent.takeover import rival
from eni_testing.nodes import Node


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="aws-node-") as folder:  # short enough for a socket's path
        yield Path(folder)


def test_a_daemon_answers_on_its_socket(run_dir: Path) -> None:
    assert rival.answering(run_dir, with_port=False) == ""
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(run_dir / "ipamd.sock"))
        assert rival.answering(run_dir, with_port=False) == ""  # left by one that was killed
        daemon.listen(1)
        assert rival.answering(run_dir, with_port=False) == f"its daemon answers on {run_dir}/ipamd.sock"
    assert rival.answering(run_dir, with_port=False) == ""


@pytest.mark.netns
def test_an_old_daemon_answers_on_its_port(run_dir: Path) -> None:
    with Node() as node, node.do(socket.create_server, ("127.0.0.1", 50051)):
        assert node.do(rival.answering, run_dir, with_port=True) == "its daemon's port 50051 answers on loopback"
        assert node.do(rival.answering, run_dir, with_port=False) == ""


def pod(phase: str = "Running", **labels: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "kube-system", "name": "p", "labels": labels}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("pods", "is_bound"),
    [
        ([], False),
        ([pod(app="web"), {"metadata": {}}, {}], False),
        ([pod(app="web"), pod(**{"k8s-app": "aws-node"})], True),
        ([pod("Pending", **{"k8s-app": "aws-node"})], True),
        ([pod("Failed", **{"k8s-app": "aws-node"})], False),
    ],
)
def test_its_pod_is_bound_to_the_node(pods: list[dict[str, Any]], is_bound: bool) -> None:  # noqa: FBT001
    assert rival.bound(pods) == ("its pod kube-system/p is bound to this node" if is_bound else "")
