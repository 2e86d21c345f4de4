"""Few idle addresses and short waits at once: the trace on which VPC CNI must choose one of the two.

VPC CNI v1.23.1 on the same trace and service times: at best 5.0 addresses idle with waits of 14 s at p90
(WARM_IP_TARGET=5, MINIMUM_IP_TARGET=10), or 2.3 s with 31 idle (prefixes, WARM_PREFIX_TARGET=1).
"""

from eni_crds.nodeippool import Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.planning import precedence
from eni_testing.instances import instance_of
from eni_testing.pool_churn import TimedPool

TRACE = ((0, 10), (60, 25), (150, 10), (240, 30), (330, 5))
"""Seconds and pods, on one c5.xlarge (4 ENIs of 14 slots)."""


def timed_pool(type_: str, **policy: object) -> TimedPool:
    spec = NodeIPPoolSpec(policy=PolicySpec.parse(policy))
    return TimedPool(instance_of(type_), precedence.resolve(spec, None, EnvironmentPolicy()))


def test_our_default_keeps_few_addresses_idle_and_waits_short() -> None:
    measured = timed_pool("c5.xlarge").run(TRACE, 480)
    assert len(measured.waits) == 45
    assert measured.mean_idle < 5
    assert measured.wait(0.9) < 2.3


def test_fifty_pods_on_a_cold_node_take_at_most_nine_calls_and_five_seconds() -> None:
    """VPC CNI takes 18 calls and 22 to 24 s on its default of one warm ENI."""
    pool = timed_pool("c5.xlarge")
    pool.run(((0, 0),), 30)
    measured = pool.run(((0, 50),), 30)
    assert len(measured.waits) == 50
    assert measured.wait(1.0) <= 5
    assert measured.calls <= 9


def test_fifty_pods_on_prefixes_take_one_call_and_two_seconds() -> None:
    """VPC CNI takes 3 calls and 15 to 17 s with WARM_PREFIX_TARGET=1."""
    pool = timed_pool("m5.large", mode=Mode.PREFIX)
    pool.run(((0, 0),), 30)
    measured = pool.run(((0, 50),), 30)
    assert len(measured.waits) == 50
    assert measured.wait(1.0) <= 2
    assert measured.calls == 1
