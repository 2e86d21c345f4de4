"""The main job on a whole cluster: the story that `make demo` tells, with EC2 taking no time."""

from contextlib import ExitStack

import pytest

from eni_lab.demo import observed, story, workload
from eni_lab.lab import Lab
from eni_testing.disturbances import passing_deployments
from eni_testing.reasons import calm

pytestmark = pytest.mark.e2e


def test_the_whole_story_is_true(deployed: Lab) -> None:
    with ExitStack() as undo:
        undo.callback(calm, deployed)  # the story ends with a node in prefix mode
        undo.enter_context(passing_deployments(deployed, "web"))
        story.tell(deployed, print)
        workload.scale(deployed, 0, seconds=60)
        assert observed.unattached(deployed) == []
        assert deployed.cloud.control("GET", "/_lab/invariants") == []
