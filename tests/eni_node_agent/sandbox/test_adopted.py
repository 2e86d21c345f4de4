"""Sandboxes the pool did not set up: adopted from the kernel or from VPC CNI, and known again."""

import pytest

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding
from eni_node_agent.sandbox import names
from eni_testing.holdings import held, sandbox
from eni_testing.sandbox_pool import World


async def test_a_sandbox_adopted_from_the_kernel_is_known_again_by_its_link() -> None:
    world = World()
    world.supply("10.0.1.5", "10.0.1.6")
    key = sandbox("a").key
    recovered = Sandbox(names.recovered_key(names.host_ifname(key)))
    world.ledger.adopt(held(recovered, "10.0.1.5", eni_id=""))
    assert list(world.pool.assignments()) == []
    assert (await world.pool.assign(sandbox("a"))).address == "10.0.1.5"
    released = await world.pool.release(key)
    assert released is not None
    assert released.host_ifname == names.host_ifname(key)
    assert world.pool.find(key) is None


@pytest.mark.parametrize("network", ["eni", "aws-cni"])
async def test_a_sandbox_of_vpc_cni_is_known_by_its_container_whatever_network_is_named(network: str) -> None:
    world = World()
    held = Sandbox(SandboxKey("aws-cni", "c1", "eth0"), pod_namespace="default", pod_name="sample-pod")
    world.ledger.adopt(Holding(held, (PodLink("eth0", "enicc21c2d7785", "", ("10.0.1.5",)),), since=0.0))
    found = world.pool.find(SandboxKey(network, "c1", "eth0"))
    assert found is not None
    assert (found.address, found.host_ifname, found.sandbox.pod_name) == ("10.0.1.5", "enicc21c2d7785", "sample-pod")
    assert world.pool.find(SandboxKey(network, "c2", "eth0")) is None
    assert await world.pool.release(SandboxKey(network, "c1", "eth0")) is not None
    assert world.pool.find(SandboxKey(network, "c1", "eth0")) is None
