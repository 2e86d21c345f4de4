"""The main job on a whole cluster: the story that `make demo` tells, with EC2 taking no time."""

import pytest

from eni_lab.demo import observed, story, workload
from eni_lab.lab import Lab

pytestmark = pytest.mark.e2e


def test_the_whole_story_is_true(deployed: Lab) -> None:
    story.tell(deployed, print)
    workload.scale(deployed, 0, seconds=60)
    assert observed.unattached(deployed) == []
    assert deployed.cloud.control("GET", "/_lab/invariants") == []
