"""STATUS: whether the pool can serve, and whether pods that run feel it."""

import pytest

from eni_cni_shim.plugin.addresspool import NoAddressError, PoolUnavailableError
from eni_node_agent.sandbox.pool import Refusal
from eni_testing.sandbox_pool import World


async def test_a_full_pool_is_ready_and_one_that_cannot_serve_says_why() -> None:
    world = World()
    with pytest.raises(PoolUnavailableError, match="starting"):
        world.pool.check_ready()
    world.pool.set_availability("")
    world.pool.check_ready()


async def test_status_is_worse_where_pods_that_run_feel_it() -> None:
    world = World()
    world.supply("10.0.1.5")
    for limits_pods, has_pod, expected in ((False, False, False), (True, False, False), (True, True, True)):
        world.pool.set_availability("host network is not ready", limits_pods=limits_pods)
        if has_pod:
            await world.add("a")
        with pytest.raises(PoolUnavailableError) as caught:
            world.pool.check_ready()
        assert caught.value.limits_pods is expected


async def test_a_pool_without_addresses_is_ready_only_while_a_pod_would_be_hurt_by_the_opposite() -> None:
    world = World()
    world.pool.set_availability("")
    world.pool._exhausted = lambda: Refusal("SubnetFull", "subnet subnet-1 has 0 free addresses")
    with pytest.raises(NoAddressError, match="subnet-1") as caught:
        world.pool.check_ready()
    assert caught.value.reason == "SubnetFull"
    world.supply("10.0.1.5")
    await world.add("a")
    world.pool.check_ready()
