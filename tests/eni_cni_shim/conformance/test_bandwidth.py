"""The bandwidth plugin behind ours: what passes in a time, both ways, beside a pod without limits.

``bandwidth`` is the capability that runtimes fill from a pod's annotations ``kubernetes.io/ingress-bandwidth`` and
``egress-bandwidth``. What passes a token bucket in a time is bounded by the time, however slow the machine is.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from eni_testing.cni import Pod
from eni_testing.cnitool import SUCCESS, address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eni_testing.agents import AgentNode
    from eni_testing.cnitool import CniTool
    from eni_testing.hosts import Host

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]  # cnitool is built when it is needed first

NODE_ADDRESS = "10.0.250.10"
PORT = 8080
RATES: Final = {"ingressRate": 16_000_000, "egressRate": 8_000_000}
"""Bits a second; unlike, so that neither passes for the other."""
BURSTS: Final = {"ingressBurst": 800_000, "egressBurst": 800_000}
"""Bits."""
LIMITS: Final = {"bandwidth": {**RATES, **BURSTS}}
SECONDS = 0.5
TO_THE_POD, FROM_THE_POD = "ingress", "egress"


class Passed(NamedTuple):
    """What a stream brought to its other end."""

    size: int
    """Bytes."""
    seconds: float

    @property
    def rate(self) -> float:
        """Bits a second."""
        return 8 * self.size / self.seconds


def stream(sender: Host, receiver: Host, address: str) -> Passed:
    """Sends as much as goes for a while, and counts what has come."""
    chunk, size = bytes(1 << 16), 0
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(receiver.call(socket.create_server, (address, PORT)))
        outgoing = stack.enter_context(sender.call(socket.create_connection, (address, PORT), timeout=5))
        incoming = stack.enter_context(listener.accept()[0])
        outgoing.settimeout(0)
        incoming.settimeout(0)
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < SECONDS:
            with contextlib.suppress(BlockingIOError):
                outgoing.send(chunk)
            with contextlib.suppress(BlockingIOError):
                size += len(incoming.recv(1 << 20))
    return Passed(size, seconds)


@pytest.fixture
def limited(chained: AgentNode, make_tool: Callable[[str, AgentNode], CniTool], pod: Pod) -> Iterator[tuple[Pod, str]]:
    """A pod with limits both ways, and its address."""
    tool = make_tool("current", chained)
    yield pod, address_of(tool.call("add", pod.path, capabilities=LIMITS).json)
    assert tool.call("del", pod.path, capabilities=LIMITS) == SUCCESS
    assert "ifb" not in chained.host.run(["ip", "-br", "link"]).stdout


@pytest.fixture
def unlimited(chained: AgentNode, make_tool: Callable[[str, AgentNode], CniTool]) -> Iterator[tuple[Pod, str]]:
    """A pod without."""
    tool = make_tool("current", chained)
    with Pod() as pod:
        yield pod, address_of(tool.call("add", pod.path).json)
        assert tool.call("del", pod.path) == SUCCESS


@pytest.mark.parametrize("way", [TO_THE_POD, FROM_THE_POD])
def test_no_more_passes_than_the_limit_lets_and_much_more_without(
    chained: AgentNode, limited: tuple[Pod, str], unlimited: tuple[Pod, str], way: str
) -> None:
    def passed(pod: Pod, address: str) -> Passed:
        if way == TO_THE_POD:
            return stream(chained.host, pod, address)
        return stream(pod, chained.host, NODE_ADDRESS)

    slow, fast = passed(*limited), passed(*unlimited)
    bound = RATES[f"{way}Rate"] * slow.seconds + BURSTS[f"{way}Burst"]
    assert 0 < 8 * slow.size <= 1.1 * bound
    assert fast.rate > 5 * slow.rate
