import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eni_node_agent.cluster import plugins
from eni_node_agent.cluster.conflist import Wish
from eni_node_agent.cluster.conflist_writer import ConflistWriter
from eni_node_agent.cluster.plugins import Plugins
from eni_testing.eventually import eventually


def place(path: Path, answer: str = '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}') -> None:
    """Puts a plugin there that notes each call beside it."""
    path.write_text(f"#!/bin/sh\necho \"$CNI_COMMAND\" >> {path}.calls\ncat <<'END'\n{answer}\nEND\n")
    path.chmod(0o755)


class Node:
    def __init__(self, base: Path, wish: Wish) -> None:
        self.bin, self.conf = base / "bin", base / "net.d"
        self.bin.mkdir()
        self.conf.mkdir()
        self.writer = ConflistWriter(self.conf, self.bin, wish)

    @property
    def chain(self) -> list[str]:
        path = self.conf / "10-eni.conflist"
        return [plugin["type"] for plugin in json.loads(path.read_text())["plugins"]] if path.exists() else []

    async def looks(self) -> None:
        await self.writer._ensure()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path, Wish(9001, bandwidth=True))
    running = asyncio.create_task(made.writer.run())
    yield made
    running.cancel()


async def test_nothing_is_written_before_the_node_can_serve(node: Node) -> None:
    await asyncio.sleep(0)
    assert (node.chain, node.writer.stands) == ([], False)
    node.writer.poke()
    await eventually(lambda: node.writer.stands, "written")
    assert node.chain == ["eni-cni"]


async def test_a_plugin_that_is_missing_is_told_until_somebody_brings_it(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    place(node.bin / "portmap")
    for _ in range(3):
        await node.looks()
    assert node.chain == ["eni-cni", "portmap"]
    assert "ENABLE_BANDWIDTH_PLUGIN asks for the CNI plugin bandwidth" in node.writer.problem
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    place(node.bin / "bandwidth")
    await node.looks()
    assert (node.chain, node.writer.problem) == (["eni-cni", "portmap", "bandwidth"], "")


async def test_a_plugin_that_goes_leaves_the_chain_so_that_pods_still_come_up(node: Node) -> None:
    place(node.bin / "portmap")
    await node.looks()
    (node.bin / "portmap").unlink()
    await node.looks()
    assert node.chain == ["eni-cni"]


async def test_a_folder_that_cannot_be_written_is_told_and_tried_again(node: Node) -> None:
    node.conf.rmdir()
    await node.looks()
    assert not node.writer.stands
    assert "the conflist cannot be written" in node.writer.problem
    node.conf.mkdir()
    await node.looks()
    assert node.writer.stands


def test_a_plugin_is_asked_once_for_each_version_of_its_file(tmp_path: Path) -> None:
    found = Plugins(tmp_path)
    place(tmp_path / "portmap")
    assert found.spoken(["portmap", "tuning"]) == {"portmap": ("0.4.0", "1.0.0")}
    found.spoken(["portmap"])
    assert (tmp_path / "portmap.calls").read_text() == "VERSION\n"
    place(tmp_path / "new", '{"supportedVersions": ["1.1.0"]}')
    (tmp_path / "new").replace(tmp_path / "portmap")
    assert found.spoken(["portmap"]) == {"portmap": ("1.1.0",)}


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"supportedVersions": 1}'])
def test_a_plugin_that_does_not_answer_is_taken_for_an_old_one(tmp_path: Path, answer: str) -> None:
    place(tmp_path / "portmap", answer)
    assert plugins.ask(tmp_path / "portmap") == plugins.SILENT


def test_a_plugin_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "PATIENCE_SECONDS", 0.2)
    path = tmp_path / "portmap"
    path.write_text("#!/bin/sh\nexec sleep 20\n")
    path.chmod(0o755)
    assert plugins.ask(path) == plugins.SILENT


def test_what_cannot_be_executed_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "portmap").touch(mode=0o644)
    (tmp_path / "tuning").mkdir()
    assert Plugins(tmp_path).spoken(["portmap", "tuning", "bandwidth"]) == {}
