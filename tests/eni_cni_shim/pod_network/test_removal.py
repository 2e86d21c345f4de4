"""DEL leaves nothing of a pod's network on its node, whatever went first."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from eni_testing.assignments import MTU, WEB, all_of, assignment, link, one_link, state_of
from eni_testing.eventually import eventually
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from eni_cni_shim.plugin.addresspool import Assignment
    from eni_cni_shim.plugin.pod_network import PodNetwork
    from eni_testing.cni import Pod

pytestmark = pytest.mark.netns


def reaped(node: Host) -> bool:
    return "eni" not in node.run(["ip", "-br", "link"]).stdout


async def test_del_leaves_nothing(node: Host, network: PodNetwork, pod: Pod) -> None:
    before = state_of(node, "-4")
    await network.add(pod.netns, WEB, MTU)
    assert state_of(node, "-4") != before
    await network.remove(WEB)
    assert WEB.address not in node.run(["ip", "route", "show", "table", "all"]).stdout
    await eventually(lambda: state_of(node, "-4") == before, "the node is as it was")
    assert pod.run(["ip", "-br", "link"]).stdout.count("\n") == 1  # lo


async def test_del_leaves_nothing_of_any_link(node: Host, network: PodNetwork, pod: Pod, kind: Assignment) -> None:
    before = state_of(node)
    await network.add(pod.netns, kind, MTU)
    await network.remove(kind)
    left = "\n".join(node.run(["ip", flag, "route", "show", "table", "all"]).stdout for flag in ("-4", "-6"))
    assert not [address for address in all_of(kind) if f"{address} dev" in left], "traffic ends at once"
    await eventually(lambda: state_of(node) == before, "the node is as it was")
    await network.remove(kind)


async def test_del_succeeds_when_the_namespace_went_first(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    before = state_of(node, "-4")
    with Host() as gone:
        netns = os.open(gone.path, os.O_RDONLY | os.O_CLOEXEC)
        await network.add(netns, WEB, MTU)
        os.close(netns)
    await eventually(lambda: reaped(node), "the veth went with its namespace")
    await network.remove(WEB)
    await network.remove(WEB)
    assert state_of(node, "-4") == before
    again = make_pod()
    await network.add(again.netns, WEB, MTU)
    assert node.reaches(WEB.address)


async def test_del_of_any_link_succeeds_when_the_namespace_went_first(
    node: Host, network: PodNetwork, kind: Assignment
) -> None:
    before = state_of(node)
    with Host() as gone:
        netns = os.open(gone.path, os.O_RDONLY | os.O_CLOEXEC)
        await network.add(netns, kind, MTU)
        os.close(netns)
    await eventually(lambda: state_of(node) == before, "the veths went with their namespace")
    await network.remove(kind)


async def test_many_removals_are_reaped_together(node: Host, network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    numbers = range(30, 40)
    pods = [make_pod() for _ in numbers]
    await asyncio.gather(*(network.add(p.netns, one_link(n), MTU) for p, n in zip(pods, numbers, strict=True)))
    start = time.monotonic()
    await asyncio.gather(*(network.remove(one_link(n)) for n in numbers))
    assert time.monotonic() - start < 10 * 0.02, "a removal does not wait for the kernel's 20 ms a veth"
    await eventually(lambda: reaped(node), "all veths are deleted")


async def test_many_links_are_removed_together(node: Host, network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    before = state_of(node)
    given: list[tuple[Any, Assignment]] = []
    for number in range(5):
        links = [
            link(card, f"10.0.{card}.{number}", f"2001:db8:0:{card}::{number:x}", name=str(number)) for card in range(4)
        ]
        given.append((make_pod(), assignment(*links, name=str(number))))
    await asyncio.gather(*(network.add(pod.netns, each, MTU) for pod, each in given))
    assert all(node.reaches(address) for _, each in given for address in all_of(each))
    await asyncio.gather(*(network.remove(each) for _, each in given))
    await eventually(lambda: state_of(node) == before, "the node is as it was")


async def test_a_sandbox_of_the_same_name_is_set_up_before_the_old_veth_is_reaped(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    pod, other = make_pod(), make_pod()
    await network.add(other.netns, one_link(24), MTU)
    for _ in range(3):
        await network.add(pod.netns, WEB, MTU)
        await network.remove(WEB)
    await network.add(pod.netns, WEB, MTU)
    await network.remove(one_link(24))
    left = one_link(24).host_ifname
    await eventually(lambda: left not in node.run(["ip", "-br", "link"]).stdout, "the reaper has come by")
    assert await network.check(pod.netns, WEB, MTU) == []
    assert node.reaches(WEB.address)


async def test_what_a_dead_agent_left_to_the_reaper_goes_with_the_next(
    node: Host, network: PodNetwork, make_pod: Callable[[], Pod]
) -> None:
    one, other = make_pod(), make_pod()
    await network.add(one.netns, WEB, MTU)
    node.run(["ip", "link", "set", WEB.host_ifname, "down", "group", str(0x454E49)])
    await network.add(other.netns, one_link(24), MTU)
    await network.remove(one_link(24))
    await eventually(lambda: reaped(node), "both veths are deleted")
