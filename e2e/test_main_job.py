"""The main job on a whole cluster: the story that `make demo` tells, with EC2 taking no time."""

from collections.abc import Iterator

import pytest

from eni_lab.demo import observed, story, workload
from eni_lab.lab import Lab
from eni_testing.disturbances import passing_deployments
from eni_testing.reasons import calm

pytestmark = pytest.mark.e2e


@pytest.fixture
def cluster(deployed: Lab) -> Iterator[Lab]:
    """The deployed laboratory; afterwards the story's pods are gone and no pool is left in prefix mode."""
    try:
        with passing_deployments(deployed, "web"):
            yield deployed
    finally:
        calm(deployed)


def test_the_whole_story_is_true(cluster: Lab) -> None:
    story.tell(cluster, print)
    workload.scale(cluster, 0, seconds=60)
    assert observed.unattached(cluster) == []
    assert cluster.cloud.control("GET", "/_lab/invariants") == []
