"""What the operator asks of EC2, counted: as little as the work takes, and next to nothing where there is none."""

import asyncio
from typing import Any, Final

import pytest

from eni_testing import virtual_loop
from eni_testing.live_node import Cloud, LiveNode

ASSIGN, UNASSIGN = "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"
NEW_ENI: Final = ("CreateNetworkInterface", "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute")
GONE_ENI: Final = ("DetachNetworkInterface", "DeleteNetworkInterface")
DAY_SECONDS: Final = 86_400.0

CHANGES: Final[dict[str, tuple[int, int, tuple[str, ...]]]] = {
    "one pod, and one is free": (0, 1, (ASSIGN,)),
    "pods for one ENI": (0, 8, (ASSIGN,)),
    "pods for two ENIs, and a bare one for the next burst": (0, 16, (ASSIGN, ASSIGN, *NEW_ENI)),
    "all the node can take": (0, 26, (ASSIGN, ASSIGN, *NEW_ENI)),
    "some pods less": (8, 2, (UNASSIGN,)),
    "nearly all pods less": (26, 2, (UNASSIGN, UNASSIGN, *GONE_ENI)),
}
"""Pods before and after on a node of three ENIs with nine addresses each, and the calls the change takes."""


async def calls_of(before: int, after: int, spec: dict[str, Any]) -> list[str]:
    node = LiveNode(Cloud())
    try:
        node.want(before)
        await node.settle()
        node.kube.put_spec(spec)
        await node.settle()
        node.calls.clear()
        node.want(after)
        await node.settle()
        return node.calls
    finally:
        await node.close()


@pytest.mark.parametrize(("before", "after", "calls"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_pods_takes_these_calls_and_no_read(before: int, after: int, calls: tuple[str, ...]) -> None:
    assert sorted(virtual_loop.run(calls_of(before, after, {}))) == sorted(calls)


@pytest.mark.parametrize(("pods", "calls"), [(14, []), (50, [ASSIGN]), (100, [ASSIGN])])
def test_growth_in_prefixes_on_one_eni_takes_one_call(pods: int, calls: list[str]) -> None:
    """The first prefix is there before the first pod."""
    assert virtual_loop.run(calls_of(0, pods, {"policy": {"mode": "prefix"}})) == calls


def test_a_burst_that_comes_in_pieces_takes_a_call_for_each_piece_at_most() -> None:
    async def program() -> list[str]:
        node = LiveNode(Cloud())
        await node.settle()
        node.calls.clear()
        for pods in range(1, 8):
            node.want(pods)
            await asyncio.sleep(0.02)
        await node.settle()
        await node.close()
        return node.calls

    assert len(virtual_loop.run(program())) <= 2


@pytest.mark.timeout(120)
def test_a_quiet_node_costs_a_call_an_hour() -> None:
    async def program() -> list[str]:
        node = LiveNode(Cloud())
        node.want(5)
        await node.settle()
        node.calls.clear()
        writes = node.kube.writes
        await asyncio.sleep(DAY_SECONDS)
        assert node.kube.writes == writes
        await node.close()
        return node.calls

    calls = virtual_loop.run(program())
    assert set(calls) == {"DescribeNetworkInterfaces"}
    assert len(calls) <= 24


def test_a_cold_start_asks_each_thing_once() -> None:
    async def program() -> list[str]:
        node = LiveNode(Cloud(), subnet_discovery=False)
        await node.settle()
        await node.close()
        return node.calls

    reads = [call for call in virtual_loop.run(program()) if call.startswith("Describe")]
    assert sorted(reads) == [
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeNetworkInterfaces",  # what is attached
        "DescribeNetworkInterfaces",  # what lies unattached
        "DescribeSubnets",
        "DescribeVpcs",
    ]
