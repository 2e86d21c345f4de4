"""kopf that falls is started again, also when it never comes to its end; nothing of an old round counts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import kopf
import pytest

from eni_operator.controllers import watches
from eni_operator.controllers.kube import POOLS
from eni_operator.controllers.watches import Feed, Watches
from eni_testing.eventually import eventually


class Registry(NamedTuple):
    """What a round hands to kopf."""

    feed: Feed
    ending: Callable[[], None]


class Rounds:
    """kopf's rounds, each as its script says."""

    def __init__(self, *scripts: Callable[[Registry, asyncio.Event], Awaitable[None]]) -> None:
        self.scripts = list(scripts)
        self.begun: list[Registry] = []
        self.seen: list[str] = []

    async def operator(self, *, registry: Registry, stop_flag: asyncio.Event, **_: Any) -> None:
        self.begun.append(registry)
        await self.scripts[min(len(self.begun), len(self.scripts)) - 1](registry, stop_flag)

    def take(self, _plural: str, _event: str | None, item: dict[str, Any]) -> None:
        self.seen.append(item["metadata"]["name"])


def pool(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


async def hang_at_the_end(registry: Registry, _: asyncio.Event) -> None:
    registry.ending()
    await asyncio.Event().wait()


async def fall(_registry: Registry, _: asyncio.Event) -> None:
    raise RuntimeError("by the test")


async def watch(registry: Registry, stop_flag: asyncio.Event) -> None:
    registry.feed(POOLS, None, pool("node-a"))
    await stop_flag.wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(watches, "END_SECONDS", 0.3)
    monkeypatch.setattr(watches, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watches, "RESTART_SECONDS", 0.05)
    monkeypatch.setattr(watches, "make_registry", lambda feed, _login, ending: Registry(feed, ending))
    return monkeypatch


@pytest.mark.parametrize("first", [hang_at_the_end, fall])
async def test_a_round_that_falls_is_followed_by_another(
    quick: pytest.MonkeyPatch, first: Callable[[Registry, asyncio.Event], Awaitable[None]]
) -> None:
    rounds = Rounds(first, watch)
    quick.setattr(kopf, "operator", rounds.operator)
    watching = Watches("node-a", None, rounds.take)
    watching.start()
    await eventually(lambda: rounds.seen == ["node-a"], "the second round watches")
    await watching.stop()
    assert not watching.is_alive()


async def test_what_a_round_left_behind_may_yet_see_does_not_count(quick: pytest.MonkeyPatch) -> None:
    rounds = Rounds(hang_at_the_end, watch)
    quick.setattr(kopf, "operator", rounds.operator)
    watching = Watches("node-a", None, rounds.take)
    watching.start()
    await eventually(lambda: rounds.seen == ["node-a"], "the second round watches")
    rounds.begun[0].feed(POOLS, None, pool("old"))
    assert rounds.seen == ["node-a"]
    await watching.stop()


async def test_stopping_does_not_wait_for_a_round_that_hangs(quick: pytest.MonkeyPatch) -> None:
    rounds = Rounds(hang_at_the_end)
    quick.setattr(kopf, "operator", rounds.operator)
    watching = Watches("node-a", None, rounds.take)
    watching.start()
    await eventually(lambda: bool(rounds.begun), "the round has begun")
    await asyncio.wait_for(watching.stop(), 3)
    assert not watching.is_alive()
