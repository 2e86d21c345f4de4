from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eni_cni_shim.plugin.pod_network import PodNetwork
from eni_testing.assignments import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from eni_cni_shim.plugin.addresspool import Assignment
    from eni_testing.cni import Pod
    from eni_testing.hosts import Host


@pytest.fixture
async def network(node: Host) -> AsyncIterator[PodNetwork]:
    """What sets pods up, on the node."""
    assert node.pid
    pods = PodNetwork()
    yield pods
    await pods.aclose()


@pytest.fixture
def pod(make_pod: Callable[[], Pod]) -> Pod:
    """A pod's namespace."""
    return make_pod()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Assignment:
    """Each kind of assignment beside the plain one, of one link with an IPv4 address."""
    return KINDS[request.param]
