"""The operator is killed before or after every single thing it does to the outside, and started again.

Whatever it was doing: every pod gets an address that is its own, none is taken from a pod, no ENI is left behind.
"""

import asyncio

import pytest

from eni_lab.aws.engine.knobs import Knobs
from eni_testing.operator_node import Life, OperatorNode

GROW = 14
SHRINK = 2
LAGGING = Knobs(throttling=False, describe_lag_seconds=1.0, visible_after_seconds=0.5)
"""EC2 as it is: states take their time, and Describe tells what was true a second ago."""


async def story(node: OperatorNode) -> None:
    """A burst of pods, then most of them gone."""
    node.agent.want(GROW)
    await node.settle()
    node.agent.want(SHRINK)
    await node.settle()


def steps_of_the_story() -> int:
    """Counts the steps of a run that nobody kills, so that no step is left out when the code changes."""
    node = OperatorNode()
    asyncio.run(story(node))
    return len(node.life.steps)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", range(steps_of_the_story()))
async def test_a_kill_at_any_step_leaks_nothing_and_gives_nothing_twice(kill_at: int, *, after: bool) -> None:
    node = OperatorNode()
    await told_with_a_kill(node, kill_at, after=after)


@pytest.mark.parametrize("kill_at", range(0, steps_of_the_story(), 2))
async def test_the_same_holds_when_ec2_tells_old_news(kill_at: int) -> None:
    node = OperatorNode(knobs=LAGGING)
    await told_with_a_kill(node, kill_at, after=True)


async def told_with_a_kill(node: OperatorNode, kill_at: int, *, after: bool) -> None:
    node.start(Life(kill_at=kill_at, after=after))
    for pods in (GROW, SHRINK):
        node.agent.want(pods)
        for _ in range(60):
            if node.life.dead:
                break
            await node.step()
        if node.life.dead:
            node.start()
        await node.settle()
    assert node.agent.pending == 0
    assert node.leaked() == []
    supply = node.kube.supply()
    assert supply is not None
    assert supply.totals.enis == len(node.enis())
    assert supply.totals.addresses == len(node.owned())
    assert supply.totals.addresses <= SHRINK + 2
