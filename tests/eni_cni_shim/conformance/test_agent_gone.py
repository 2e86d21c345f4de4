"""Pods that go while no agent runs: their DEL is no obstacle, their addresses come back, and none is used twice."""

from __future__ import annotations

import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from eni_lab.waiting import wait_for
from eni_testing.agents import AgentNode
from eni_testing.cni import Pod
from eni_testing.cni_client import DONE, Answer, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

SIXTEEN = ["10.0.1.0/28"]


class Node:
    """A node with an agent that comes and goes, and the pods on it by container id."""

    def __init__(self, executable: list[str]) -> None:
        self.machine = AgentNode()
        self.runtime = Client(executable, self.machine.socket_path)
        self.pods: dict[str, tuple[Pod, str]] = {}

    def bring_back(self) -> None:
        """Starts the agent again; returns once it serves."""
        self.machine.start()
        wait_for("the agent serves", lambda: self.runtime.call("STATUS") == DONE, seconds=20)

    def add(self, count: int) -> list[str]:
        """Sets up pods, all at once; returns their container ids."""
        made = {uuid.uuid4().hex: Pod() for _ in range(count)}
        with ThreadPoolExecutor(8) as threads:
            answers = threads.map(lambda item: self._add(*item), made.items())
        for (name, pod), answer in zip(made.items(), answers, strict=True):
            assert answer.exit_code == 0, answer
            self.pods[name] = pod, answer.json["ips"][0]["address"].removesuffix("/32")
        return list(made)

    def _add(self, name: str, pod: Pod) -> Answer:
        return self.runtime.call("ADD", container_id=name, netns=pod.path)

    def delete(self, name: str) -> str:
        """Takes a pod down as the kubelet does, DEL and then the namespace; returns its address."""
        pod, address = self.pods.pop(name)
        assert self.runtime.call("DEL", container_id=name, netns=pod.path) == DONE
        pod.close()
        return address

    def addresses(self) -> list[str]:
        return sorted(address for _, address in self.pods.values())

    def links(self) -> int:
        return self.machine.host.run(["ip", "-br", "link", "show", "type", "veth"]).stdout.count("\neni")

    def close(self) -> None:
        for pod, _ in self.pods.values():
            pod.close()
        self.machine.close()


@pytest.fixture
def node(static_forwarder: list[str]) -> Iterator[Node]:
    made = Node(static_forwarder)
    made.machine.start_alone(SIXTEEN)
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_went_meanwhile_is_free_again_once_the_agent_is_back(node: Node, number: signal.Signals) -> None:
    names = node.add(10)
    node.machine.stop(number)
    gone = {node.delete(name) for name in names[:6]}
    kept = node.addresses()
    assert all(node.machine.host.reaches(address) for address in kept), "pods that run do not notice"
    wait_for("the links went with the namespaces", lambda: node.links() == 4, seconds=10)
    node.bring_back()
    node.add(12)
    assert len(set(node.addresses())) == 16, "sixteen pods, sixteen addresses"
    assert set(kept) <= set(node.addresses())
    assert gone <= set(node.addresses()), "what had gone is used again"
    assert node.machine.log.count("address of a departed sandbox released") == 6
    assert all(node.machine.host.reaches(address) for address in node.addresses())


def test_an_address_whose_link_outlives_its_del_is_given_to_nobody_else(node: Node) -> None:
    """A runtime that keeps the namespace for a while: the pod's interface still has the address."""
    [name] = node.add(1)
    pod, address = node.pods[name]
    node.machine.stop(signal.SIGKILL)
    assert node.runtime.call("DEL", container_id=name, netns=pod.path) == DONE
    node.bring_back()
    node.add(15)
    assert address not in [other for each, (_, other) in node.pods.items() if each != name]
    assert node.runtime.call("DEL", container_id=name) == DONE, "and one that comes late frees it"
    del node.pods[name]
    node.add(1)
    assert address in node.addresses()
    pod.close()


def test_gc_reclaims_it_as_well(node: Node) -> None:
    first, second = node.add(2)
    node.machine.stop(signal.SIGKILL)
    pod, address = node.pods.pop(first)
    assert node.runtime.call("DEL", container_id=first) == DONE
    node.bring_back()
    valid: dict[str, Any] = {"cni.dev/valid-attachments": [{"containerID": second, "ifname": "eth0"}]}
    assert node.runtime.call("GC", **valid) == DONE
    wait_for("the link is gone", lambda: not node.machine.host.reaches(address, timeout=0.1), seconds=5)
    assert node.machine.host.reaches(node.pods[second][1])
    node.add(15)
    assert address in node.addresses()
    pod.close()


def test_pods_that_come_and_go_around_a_killed_agent_leave_nothing(node: Node) -> None:
    """Requests meet an agent that dies: each either succeeds or says to try again, and DEL gets there."""
    pods = {uuid.uuid4().hex: Pod() for _ in range(12)}

    def live(item: tuple[str, Pod]) -> None:
        name, pod = item
        answer = node.runtime.call("ADD", container_id=name, netns=pod.path)
        assert answer.exit_code == 0 or answer.code == 11, answer
        wait_for("DEL", lambda: node.runtime.call("DEL", container_id=name).exit_code == 0, seconds=20)

    with ThreadPoolExecutor(4) as threads:
        living = threads.map(live, pods.items())
        for _ in range(2):
            node.machine.stop(signal.SIGKILL)
            node.machine.start()
        list(living)
    for pod in pods.values():
        pod.close()
    node.add(16)
    assert len(set(node.addresses())) == 16
