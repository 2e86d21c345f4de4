"""An ADD that the kernel refuses, its caller cancels or its agent does not outlive leaves nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim.plugin import sysctls
from eni_cni_shim.plugin.pod_network import PodNetwork, PodNetworkError
from eni_testing.assignments import DUAL, MTU, WEB, all_of, one_link, state_of
from eni_testing.eventually import eventually
from eni_testing.refusals import Refusing

if TYPE_CHECKING:
    from collections.abc import Callable

    from eni_cni_shim.plugin.addresspool import Assignment
    from eni_testing.cni import Pod
    from eni_testing.hosts import Host

pytestmark = pytest.mark.netns


async def test_whatever_step_the_kernel_refuses_the_removal_leaves_nothing(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod], monkeypatch: pytest.MonkeyPatch, kind: Assignment
) -> None:
    refusing = Refusing(monkeypatch)
    before = state_of(node)
    for step in itertools.count(1):
        pod = make_pod()
        untouched = beside_lo(pod)
        refusing.countdown = step
        try:
            await network.add(pod.netns, kind, MTU)
        except PodNetworkError:
            refusing.countdown = -1
        else:
            break
        await network.remove(kind)
        await eventually(lambda: state_of(node) == before, f"step {step} is undone")
        await eventually(functools.partial(is_like, pod, untouched), f"step {step} is undone in the pod")
    assert step >= len(kind.links) + 3, "each link's veth, the pod's end, the host's end, the carrier"


async def test_what_an_agent_left_that_died_at_any_step_is_completed_or_taken_away_by_the_next(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod], monkeypatch: pytest.MonkeyPatch, kind: Assignment
) -> None:
    refusing = Refusing(monkeypatch)
    before = state_of(node)
    for step in itertools.count(1):
        pods = make_pod(), make_pod()
        for pod, then in zip(pods, ("ADD", "DEL"), strict=True):
            refusing.countdown = step
            with contextlib.suppress(PodNetworkError):
                await network.add(pod.netns, kind, MTU)
            was_reached = refusing.countdown <= 0
            refusing.countdown = -1
            if then == "ADD":
                await network.add(pod.netns, kind, MTU)
                assert await network.check(pod.netns, kind, MTU) == []
                assert all(node.reaches(address) for address in all_of(kind))
            await network.remove(kind)
            await eventually(lambda: state_of(node) == before, f"nothing is left of step {step}")
        if not was_reached:
            break


def is_like(host: Host, state: str) -> bool:
    return beside_lo(host) == state


def beside_lo(host: Host) -> str:
    """Returns a pod's state without what comes and goes with IPv6 on its loopback."""
    return "\n".join(line for line in state_of(host).splitlines() if " lo " not in line and not line.startswith("lo"))


async def test_a_cancelled_add_is_over_when_its_caller_hears_of_it(node: Host, network: PodNetwork, pod: Pod) -> None:
    before = state_of(node, "-4")
    task = asyncio.create_task(network.add(pod.netns, WEB, MTU))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await network.remove(WEB)
    await eventually(lambda: state_of(node, "-4") == before, "nothing came after the removal")


async def test_a_sysctl_that_cannot_be_written_is_told_of_and_undone(
    node: Host, network: PodNetwork, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])

    def refuse(path: str, _: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(sysctls, "_write", refuse)
    before = state_of(node)
    with pytest.raises(
        PodNetworkError, match=r"IPv6 is off for eth0 and cannot be switched on .*Read-only file system"
    ):
        await network.add(pod.netns, DUAL, MTU)
    await network.remove(DUAL)
    await eventually(lambda: state_of(node) == before, "the node is as it was")


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def settle_in(network: PodNetwork) -> None:
    """Has every thread open what it keeps: each takes one of the works that wait for one another."""
    number = len(network._workers._threads)
    meeting = threading.Barrier(number, timeout=10)
    await asyncio.gather(*(network._workers.run(lambda _: meeting.wait()) for _ in range(number)))


async def test_the_threads_come_home_and_no_descriptor_stays_open(
    network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    pods = [make_pod() for _ in range(4)]
    await network.add(pods[0].netns, one_link(30), MTU)
    await network.check(pods[0].netns, one_link(30), MTU)
    await settle_in(network)
    before = descriptors()
    for number, one in enumerate(pods[1:], start=31):
        await network.add(one.netns, one_link(number), MTU)
        assert await network.check(one.netns, one_link(number), MTU) == []
    assert descriptors() == before
