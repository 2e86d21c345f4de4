"""Requests made together: who gets which answer, and what happens when one fails or goes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.api import MANY
from eni_operator.ec2.client import Ec2Client, open_client
from eni_operator.ec2.errors import Ec2UnavailableError
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.gathering import Gatherer
from eni_operator.inventory.region import Region


class Desk:
    """Answers when told to; the window ends when told to."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.asked: list[list[str]] = []
        self.answers = asyncio.Event()
        self.window = asyncio.Event()
        self.error: Exception | None = None
        self.gatherer = Gatherer[str](
            self._ask, lambda answer: answer.split("/")[0], seconds=seconds, sleep=self._sleep
        )

    async def _ask(self, ids: Sequence[InstanceId]) -> list[str]:
        self.asked.append(list(ids))
        answer = [f"{instance_id}/{len(self.asked)}" for instance_id in ids]
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return answer

    async def _sleep(self, _seconds: float) -> None:
        await self.window.wait()

    def request(self, number: int) -> "asyncio.Task[list[str]]":
        return asyncio.create_task(self.gatherer.of(InstanceId(f"i-{number}")))


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_of_a_window_go_out_together_and_each_gets_its_own_part() -> None:
    desk = Desk()
    requests = [desk.request(n) for n in (1, 2, 1)]
    await turns()
    assert desk.asked == []
    desk.window.set()
    desk.answers.set()
    assert await asyncio.gather(*requests) == [["i-1/1"], ["i-2/1"], ["i-1/1"]]
    assert desk.asked == [["i-1", "i-2"]]


async def test_without_a_window_a_request_goes_out_at_once() -> None:
    desk = Desk(seconds=0.0)
    desk.answers.set()
    assert await desk.request(1) == ["i-1/1"]


async def test_a_full_call_does_not_wait_for_the_window() -> None:
    desk = Desk()
    desk.answers.set()
    requests = [desk.request(n) for n in range(MANY + 1)]
    await turns()
    assert [len(asked) for asked in desk.asked] == [MANY]
    desk.window.set()
    await asyncio.gather(*requests)
    assert [len(asked) for asked in desk.asked] == [MANY, 1]


async def test_a_request_is_never_answered_by_a_call_that_went_out_before_it() -> None:
    desk = Desk()
    desk.window.set()
    early = desk.request(1)
    await turns()
    late = desk.request(1)
    await turns()
    desk.answers.set()
    assert await early == ["i-1/1"]
    assert await late == ["i-1/2"]


async def test_an_error_goes_to_everyone_who_waits() -> None:
    desk = Desk()
    desk.error = Ec2UnavailableError("DescribeInstances", detail="away")
    requests = [desk.request(1), desk.request(2)]
    desk.window.set()
    desk.answers.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert outcomes == [desk.error, desk.error]


async def test_one_who_goes_takes_nobody_along_and_is_not_asked_for() -> None:
    desk = Desk()
    gone, stays = desk.request(1), desk.request(2)
    await turns()
    gone.cancel()
    desk.window.set()
    desk.answers.set()
    assert await stays == ["i-2/1"]
    assert desk.asked == [["i-2"]]
    assert gone.cancelled()


async def test_one_who_goes_while_the_call_is_under_way_takes_nobody_along() -> None:
    desk = Desk()
    desk.window.set()
    gone, stays = desk.request(1), desk.request(2)
    await turns()
    gone.cancel()
    await turns()
    desk.answers.set()
    assert await stays == ["i-2/1"]


async def test_what_waits_for_a_forgotten_instance_ends() -> None:
    desk = Desk()
    request = desk.request(1)
    await turns()
    desk.gatherer.forget(InstanceId("i-1"))
    with pytest.raises(asyncio.CancelledError):
        await request
    desk.window.set()
    await turns()
    assert desk.asked == []


@pytest.fixture
async def ec2() -> AsyncIterator[Ec2Client]:
    async with open_client(Throttle(time.monotonic, asyncio.sleep), region="us-east-1") as client:
        yield client


async def test_instances_that_ask_together_are_looked_at_again_at_the_same_instant(ec2: Ec2Client) -> None:
    together = Region(ec2, lambda: 0.0, gather_seconds=0.1)
    assert {together.resync_at(now, 300, lambda: 1.2) for now in (901.0, 1000.0, 1199.0)} == {1200.0}
    alone = Region(ec2, lambda: 0.0)
    assert alone.resync_at(1000.0, 300, lambda: 1.2) == 1360.0
