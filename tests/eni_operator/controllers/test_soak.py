"""Ten minutes of everything at once, on several nodes of one VPC, each with its own operator; then the verdict.

At every instant EC2 routes to its node whatever a pod has or may get. When all faults have ended: every address is
owned once, what the pools say is what EC2 has, no ENI is orphaned, every pod is served, and nothing happens any more.

``SOAK_SEEDS=200`` tries so many seeds, ``SOAK_SEED=17`` the one that failed.
"""

import os

import pytest

from eni_testing import virtual_loop
from eni_testing.mishaps import anything
from eni_testing.town import soak

SECONDS = 600.0


def seeds() -> range:
    chosen = os.environ.get("SOAK_SEED")
    if chosen is not None:
        return range(int(chosen), int(chosen) + 1)
    return range(int(os.environ.get("SOAK_SEEDS", "8")))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", seeds())
def test_whatever_happens_at_once_ends_well(seed: int) -> None:
    virtual_loop.run(soak(seed, SECONDS, anything))


@pytest.mark.timeout(120)
def test_a_seed_gives_the_same_run_again() -> None:
    assert virtual_loop.run(soak(1, 60.0, anything)) == virtual_loop.run(soak(1, 60.0, anything))
