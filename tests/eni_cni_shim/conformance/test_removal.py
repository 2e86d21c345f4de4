"""DEL and GC: however often, however late, whatever is gone, and never more than was meant."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from eni_cni_shim import spec
from eni_lab.waiting import wait_for
from eni_testing.cni import Pod
from eni_testing.cni_client import DONE, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eni_testing.agents import AgentNode

pytestmark = pytest.mark.netns

ATTACHMENTS = "cni.dev/valid-attachments"
NOBODY: dict[str, Any] = {ATTACHMENTS: []}


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    made = [Pod() for _ in range(3)]
    yield made
    for pod in made:
        pod.close()


def new() -> str:
    return uuid.uuid4().hex


def address_of(answer: Any) -> str:
    address: str = answer.json["ips"][0]["address"]
    return address.removesuffix("/32")


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_del_of_what_never_was_succeeds(runtime: Client, version: str) -> None:
    assert runtime.call("DEL", version=version, container_id=new()) == DONE


@pytest.mark.parametrize(
    "fields",
    [
        {"prevResult": None},
        {"prevResult": {}},
        {"prevResult": {"ips": "?"}},
        {"prevResult": {"ips": [{"address": "10.0.9.9/32"}], "interfaces": [{"name": "lo"}, {"name": "eth0"}]}},
        {"mtu": "jumbo", "ipam": {"type": "x"}, "runtimeConfig": []},
    ],
    ids=["no cache", "empty cache", "torn cache", "cache of another", "broken conflist"],
)
def test_del_needs_neither_cache_nor_a_sound_configuration(
    runtime: Client, node: AgentNode, pod: Pod, fields: dict[str, Any]
) -> None:
    me = new()
    address = address_of(runtime.call("ADD", container_id=me, netns=pod.path))
    assert runtime.call("DEL", container_id=me, netns="", **fields) == DONE
    assert f"{address} " not in node.host.run(["ip", "route", "show", "table", "512"]).stdout
    assert runtime.call("CHECK", container_id=me, netns=pod.path, prevResult={}).code == 3
    assert node.host.reaches("10.0.250.10")


def test_del_succeeds_with_the_namespace_gone_and_again(runtime: Client) -> None:
    pod, me = Pod(), new()
    assert runtime.call("ADD", container_id=me, netns=pod.path).exit_code == 0
    path = pod.path
    pod.close()
    for _ in range(3):
        assert runtime.call("DEL", container_id=me, netns=path) == DONE


def test_a_late_del_leaves_the_pods_next_sandbox_alone(runtime: Client, node: AgentNode, pods: list[Pod]) -> None:
    """The same pod by its CNI_ARGS: a container id tells one sandbox from the next."""
    first, second = new(), new()
    assert runtime.call("ADD", container_id=first, netns=pods[0].path).exit_code == 0
    added = runtime.call("ADD", container_id=second, netns=pods[1].path)
    assert runtime.call("DEL", container_id=first, netns=pods[0].path) == DONE
    assert node.host.reaches(address_of(added))
    assert runtime.call("CHECK", container_id=second, netns=pods[1].path, prevResult=added.json) == DONE
    runtime.call("DEL", container_id=second)


def test_a_del_that_meets_its_add_leaves_all_or_nothing(runtime: Client, pods: list[Pod]) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            me = new()
            adding = threads.submit(runtime.call, "ADD", container_id=me, netns=pods[0].path)
            deleting = threads.submit(runtime.call, "DEL", container_id=me)
            added, deleted = adding.result(), deleting.result()
            assert deleted == DONE
            if added.exit_code == 0:  # the DEL may have come first
                runtime.call("DEL", container_id=me)
            else:
                assert added.code == 11
            assert runtime.call("CHECK", container_id=me, netns=pods[0].path, prevResult={}).code == 3
            wait_for("nothing is left", lambda: "eth0" not in pods[0].run(["ip", "-br", "link"]).stdout, seconds=5)


def test_gc_keeps_what_is_valid_and_releases_the_rest(runtime: Client, node: AgentNode, pods: list[Pod]) -> None:
    names = [new() for _ in pods]
    added = [runtime.call("ADD", container_id=me, netns=pod.path) for me, pod in zip(names, pods, strict=True)]
    valid: dict[str, Any] = {ATTACHMENTS: [{"containerID": me, "ifname": "eth0"} for me in names[:2]]}
    assert runtime.call("GC", **valid) == DONE
    for me, pod, answer in zip(names[:2], pods[:2], added[:2], strict=True):
        assert runtime.call("CHECK", container_id=me, netns=pod.path, prevResult=answer.json) == DONE
        assert node.host.reaches(address_of(answer))
    assert runtime.call("CHECK", container_id=names[2], netns=pods[2].path, prevResult={}).code == 3
    assert runtime.call("GC", **NOBODY) == DONE
    routes = node.host.run(["ip", "route", "show", "table", "512"]).stdout
    assert not [address for address in map(address_of, added) if f"{address} " in routes]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({ATTACHMENTS: None}, 0),
        ({ATTACHMENTS: {}}, 7),
        ({ATTACHMENTS: "c1"}, 7),
        ({ATTACHMENTS: [{}]}, 7),
        ({ATTACHMENTS: [{"containerID": 1, "ifname": "eth0"}]}, 7),
        ({ATTACHMENTS: [], "name": "another-network"}, 0),
        ({ATTACHMENTS: [], "cniVersion": "1.0.0"}, 1),
    ],
)
def test_gc_never_takes_silence_or_nonsense_for_nobody(
    runtime: Client, pod: Pod, fields: dict[str, Any], code: int
) -> None:
    me = new()
    added = runtime.call("ADD", container_id=me, netns=pod.path)
    answer = runtime.call("GC", **fields)
    assert answer == DONE if code == 0 else answer.code == code
    assert runtime.call("CHECK", container_id=me, netns=pod.path, prevResult=added.json) == DONE
    runtime.call("DEL", container_id=me)


def test_del_and_gc_succeed_with_the_agent_gone(executable: list[str], tmp_path: Path) -> None:
    runtime = Client(executable, tmp_path / "agent.sock")
    assert runtime.call("DEL") == DONE
    assert runtime.call("GC", **NOBODY) == DONE
