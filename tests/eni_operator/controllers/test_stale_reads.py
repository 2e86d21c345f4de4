"""EC2's reads are late, and the operator looks at them all the time: what it does is what it does without.

So never a second ENI, and never an address freed because a list looked short.
"""

from collections import Counter
from itertools import pairwise
from typing import Any, Final

import pytest

from eni_crds.nodeippool import Supply
from eni_testing import virtual_loop
from eni_testing.live_node import Cloud, LiveNode

OLD_NEWS: Final[dict[str, dict[str, float]]] = {
    "not found right after create": {"visible_after_seconds": 2.0},
    "describe behind everything": {"describe_lag_seconds": 3.0},
    "describe far behind": {"describe_lag_seconds": 20.0},
    "in use without an attachment": {"attachment_hidden_seconds": 3.0},
    "slow to attach and detach": {"attaching_seconds": 5.0, "detaching_seconds": 40.0},
    "all of it": {
        "visible_after_seconds": 2.0,
        "describe_lag_seconds": 3.0,
        "attachment_hidden_seconds": 3.0,
        "attaching_seconds": 2.0,
        "detaching_seconds": 8.0,
    },
}
CHANGES: Final = {
    "growth on an ENI": (0, 8),
    "growth over ENIs": (0, 24),
    "release": (8, 2),
    "release with ENIs": (24, 0),
}
COUNTED: Final = (
    "CreateNetworkInterface",
    "AssignPrivateIpAddresses",
    "UnassignPrivateIpAddresses",
    "DetachNetworkInterface",
)
"""What takes effect each time; the other calls are repeated until EC2 knows what they are about."""


async def change(before: int, after: int, **knobs: float) -> tuple[Counter[str], list[set[str]]]:
    """Returns the calls that a change of pods takes, and the addresses of every supply on the way."""
    node = LiveNode(Cloud(), resync_seconds=1)
    try:
        node.want(before)
        await node.settle()
        node.lab.engine.configure(**knobs)
        node.calls.clear()
        seen: list[set[str]] = []
        node.kube.watchers.append(lambda *_: seen.append(addresses(node.supply)))
        node.want(after)
        await node.settle()
        assert list(node.faults()) == []
        return Counter(call for call in node.calls if call in COUNTED), seen
    finally:
        await node.close()


def addresses(supply: Supply) -> set[str]:
    return {address for eni in supply.enis for address in eni.addresses}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pods", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("knobs", OLD_NEWS.values(), ids=OLD_NEWS)
def test_old_news_changes_nothing_of_what_is_done(knobs: dict[str, Any], pods: tuple[int, int]) -> None:
    truthful, _ = virtual_loop.run(change(*pods))
    late, seen = virtual_loop.run(change(*pods, **knobs))
    assert late == truthful
    grows = pods[1] > pods[0]
    for earlier, later in pairwise(seen):
        assert earlier <= later if grows else earlier >= later
