"""What must hold of a fleet on virtual time; ``make fleet`` tells the same of a thousand nodes."""

from functools import cache

import pytest
from benchmarks.fleet.contest import CONTENDERS, Result, contend
from benchmarks.fleet.scenarios import JOIN_SECONDS, PREFIX, SCENARIOS

pytestmark = pytest.mark.timeout(300)  # seconds of computing, which a busy machine makes minutes

NODES = 60
ALONE_SECONDS = 6.0
"""What a node needs where EC2 makes nobody wait: its calls one after another, and the link."""


@cache
def result(scenario: str, contender: str, nodes: int = NODES) -> Result:
    return contend(SCENARIOS[scenario], CONTENDERS[contender], nodes)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_operator_for_all_is_never_throttled(scenario: str) -> None:
    assert result(scenario, "cluster").refused == {}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_operator_for_all_serves_them_nearly_as_soon_as_the_bucket_lets_anybody(scenario: str) -> None:
    found = result(scenario, "cluster")
    assert found.served == NODES
    assert found.last_seconds <= 1.2 * found.floor_seconds + JOIN_SECONDS + ALONE_SECONDS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_operators_that_know_nothing_of_each_other_serve_every_node(scenario: str) -> None:
    assert result(scenario, "node").served == NODES


@pytest.mark.parametrize("contender", ["cluster", "node"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_quiet_node_costs_at_most_a_call_an_hour(scenario: str, contender: str) -> None:
    assert result(scenario, contender).quiet_calls_per_node <= 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_model_of_vpc_cni_serves_every_node(scenario: str) -> None:
    assert result(scenario, "vpc-cni").served == NODES


def test_the_floor_is_what_the_bucket_admits() -> None:
    assert SCENARIOS["secondary"].floor(1000) == 190
    assert PREFIX.floor(1000) == 180
    assert PREFIX.floor(100) == 0
