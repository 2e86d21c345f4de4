"""When the agent waits for VPC CNI to be gone, and when it takes over: never two owners, and one takeover."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from eni_crds.conditions import Reason
from eni_node_agent.cluster.api import Json, UnreachableError
from eni_node_agent.cluster.succession import Succession
from eni_node_agent.sandbox.pool import Refusal

DAEMON: Json = {"metadata": {"namespace": "kube-system", "name": "aws-node-x", "labels": {"k8s-app": "aws-node"}}}


class EndOfRoundError(Exception):
    """Ends ``run`` where it would pause."""


@dataclass
class World:
    """A node that VPC CNI may own; plays takeover, flow and conflist."""

    answers: str = ""
    is_first: bool = True
    stands: bool = False
    problem: str = ""
    pods: list[Json] | None = field(default_factory=list)
    """None: the API server is away."""
    held: Refusal | None = None
    done: list[str] = field(default_factory=list)

    @property
    def is_held_back(self) -> bool:
        return self.held is not None

    async def rival(self) -> str:
        return self.answers

    async def take_over(self) -> None:
        self.done.append("took over")

    async def tidy(self) -> None:
        self.done.append("tidied")

    def set_conflist_aside(self) -> None:
        self.done.append("set aside")

    def hold_back(self, refusal: Refusal) -> None:
        self.held = refusal

    def go_on(self) -> None:
        self.held = None

    async def bound(self) -> list[Json]:
        if self.pods is None:
            raise UnreachableError("nobody answers")
        return self.pods


@pytest.fixture
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(_: float) -> None:
        raise EndOfRoundError

    monkeypatch.setattr("eni_node_agent.cluster.succession.asyncio.sleep", end)


def succession(world: World) -> Succession:
    played: Any = world
    return Succession(played, played, world, world.bound)


async def go_round(made: Succession) -> None:
    with contextlib.suppress(EndOfRoundError):
        await made.run()


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (World(answers="its daemon answers"), "its daemon answers"),
        (World(answers="its daemon answers", is_first=False), "its daemon answers"),
        (World(pods=[DAEMON]), "kube-system/aws-node-x is bound to this node"),
        (World(pods=None), "nobody answers"),
    ],
    ids=["answers", "came back", "restarts", "API server away"],
)
@pytest.mark.usefixtures("one_round")
async def test_while_vpc_cni_is_about_the_agent_is_held_back_and_touches_nothing(world: World, words: str) -> None:
    await go_round(succession(world))
    assert world.held is not None
    assert world.held.reason == Reason.VPC_CNI_RUNNING
    assert words in world.held.message
    assert world.done == []


@pytest.mark.usefixtures("one_round")
async def test_what_is_left_is_taken_over_once_and_tidied_up_when_our_conflist_stands() -> None:
    world = World()
    made = succession(world)
    await go_round(made)
    world.stands = True
    await go_round(made)
    assert world.done == ["took over", "set aside", "tidied"]
    assert world.held is None


async def test_at_the_start_a_conflist_of_vpc_cni_holds_the_agent_back_until_the_api_server_is_asked() -> None:
    world = World()
    await succession(world).begin()
    assert world.held is not None
    world = World(is_first=False, pods=None)
    await succession(world).begin()
    assert (world.held, world.done) == (None, ["took over"])


@pytest.mark.usefixtures("one_round")
async def test_it_is_taken_over_anew_when_vpc_cni_has_come_back_and_gone() -> None:
    world = World(is_first=False)
    made = succession(world)
    await go_round(made)
    world.answers = "its daemon answers"
    await go_round(made)
    world.answers = ""
    await go_round(made)
    assert world.done == ["took over", "took over"]
    assert world.held is None
