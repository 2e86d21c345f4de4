"""Every story of a pool, told once for each step the operator takes in it, with that step going wrong.

The process dies before the step or after it, or the step's request or answer is lost. Whatever it was doing: every pod
gets an address that is its own and that EC2 routes to the instance, at every instant; at the end nothing is leaked,
``status.supply`` is what EC2 has, no handshake is left open, and nothing happens any more.
"""

from typing import Any, Final

import pytest

from eni_testing import virtual_loop
from eni_testing.engine_sdk import Fate
from eni_testing.live_node import Cloud, LiveNode
from eni_testing.stories import STORIES, Story, tell

STALE: Final = {
    "attaching_seconds": 0.5,
    "detaching_seconds": 2.0,
    "describe_lag_seconds": 3.0,
    "visible_after_seconds": 0.5,
}
"""EC2 as it is: states take their time, Describe tells what was true 3 s ago, and what is new is not found yet."""

ASSIGN: Final = "AssignPrivateIpAddresses"

pytestmark = pytest.mark.timeout(300)


def told_with_each_step(story: Story, fate: Fate, *, every: int = 1, **knobs: Any) -> int:
    """Tells the story until nothing is left to go wrong, so that no step is left out; returns how many there were."""
    step = 0
    while True:
        try:
            struck = virtual_loop.run(tell(story, step, fate, **knobs))
        except AssertionError as error:
            error.add_note(f"in {story.name!r}, step {step}: {fate}")
            raise
        if struck is None:
            return step
        step += every


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_whatever_goes_wrong_all_ends_well(story: Story, fate: Fate) -> None:
    assert told_with_each_step(story, fate) >= 4


@pytest.mark.parametrize("fate", [Fate.DIES_AFTER, Fate.ANSWER_LOST])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_same_holds_when_ec2_tells_old_news(story: Story, fate: Fate) -> None:
    assert told_with_each_step(story, fate, every=2, **STALE) >= 4


def test_a_successor_does_not_assign_again_what_its_predecessor_did_not_write_down() -> None:
    async def program() -> list[str]:
        node = LiveNode(Cloud())
        await node.settle()
        node.calls.clear()
        first = node.life
        first.arm(1, Fate.DIES_AFTER)  # the first writes what is wanted
        node.want(8)
        await node.settle()
        assert first.struck == ASSIGN
        await node.close()
        return node.calls

    assert virtual_loop.run(program()).count(ASSIGN) == 1
