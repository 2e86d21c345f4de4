"""The lines before the buckets, on virtual time, and against the stand-in's own buckets."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.throttle import Throttle as StandIn
from eni_operator.ec2.throttle import AGING, CLUSTER_SHARE, Throttle, not_urgent
from eni_testing.virtual_loop import now, run

ATTACH = "AttachNetworkInterface"
ROUNDING = Knobs(throttle_scale=1 + 1e-6)
"""A bucket too large by less than a token, for what sums of fractions lose."""


class Ec2:
    """Calls through a throttle with the stand-in's bucket behind it; each takes a while, and arrives on the way."""

    def __init__(self, share: float = 1.0, *, seconds: float = 0.0) -> None:
        self.throttle = Throttle(now, asyncio.sleep, share)
        self.sent: list[float] = []
        self.order: list[str] = []
        self.refused = 0
        self._bucket = StandIn()
        self._seconds = seconds
        self._random = random.Random(1)

    async def call(self, name: str = "", urgency: float = 0.0, *, after: float = 0.0, way: float | None = None) -> None:
        await asyncio.sleep(after)
        async with self.throttle.turn(ATTACH, lambda: urgency):
            self.sent.append(now())
            self.order.append(name)
            await asyncio.sleep(self._seconds * self._random.random() if way is None else way)
            self._arrive()
            await asyncio.sleep(self._seconds * self._random.random())

    def _arrive(self) -> None:
        try:
            self._bucket.admit(ATTACH, {}, ROUNDING, now())
        except Ec2Error:
            self.refused += 1
            self.throttle.refused(ATTACH)


async def together(*programs: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*programs)


def most_in_a_window(sent: Sequence[float], capacity: float, rate: float) -> float:
    """Returns by how much any window holds more calls than a bucket allows."""
    return max(
        (last - first + 1 - capacity - rate * (sent[last] - sent[first]))
        for first in range(len(sent))
        for last in range(first, len(sent))
    )


def test_a_burst_of_the_share_goes_out_at_once_and_the_rest_at_the_rate() -> None:
    async def program() -> None:
        ec2 = Ec2(0.6)
        await together(*(ec2.call() for _ in range(33)))
        assert ec2.sent == pytest.approx([0.0] * 30 + [1 / 3, 2 / 3, 1.0])

    run(program())


def test_each_api_has_a_line_of_its_own() -> None:
    async def program() -> None:
        ec2 = Ec2(0.6)
        await together(*(ec2.call() for _ in range(31)))
        async with ec2.throttle.turn("DetachNetworkInterface") as waited:
            assert waited == 0
        assert ec2.throttle.operations == (ATTACH, "DetachNetworkInterface")

    run(program())


def test_the_most_urgent_goes_first_and_of_equals_the_first_to_come() -> None:
    async def program() -> None:
        ec2 = Ec2()
        await together(*(ec2.call() for _ in range(50)))
        asked = [("a", 1.0), ("b", 9.0), ("c", 1.0), ("d", 30.0), ("e", 9.0)]
        await together(*(ec2.call(name, urgency) for name, urgency in asked))
        assert ec2.order[50:] == ["d", "b", "e", "a", "c"]

    run(program())


def test_urgency_is_asked_when_a_token_comes_free() -> None:
    async def program() -> None:
        throttle = Throttle(now, asyncio.sleep, 0.02)  # one token, one in ten seconds
        pods = {"a": 5.0, "b": 1.0}
        order: list[str] = []

        async def call(name: str) -> None:
            async with throttle.turn(ATTACH, lambda: pods[name]):
                order.append(name)

        async with throttle.turn(ATTACH):
            pass
        calls = [asyncio.create_task(call(name)) for name in pods]
        await asyncio.sleep(1)
        assert throttle.waiting(ATTACH) == 2
        pods["b"] = 50.0
        await asyncio.gather(*calls)
        assert order == ["b", "a"]
        assert throttle.waiting(ATTACH) == 0

    run(program())


def test_nobody_waits_for_ever_behind_who_comes_later() -> None:
    async def program() -> None:
        ec2 = Ec2(0.2)  # one a second
        urgent = 10.0
        crowd = [ec2.call("urgent", urgent, after=0.5 * number) for number in range(400)]
        await together(*crowd, ec2.call("patient", after=0.1))
        assert ec2.sent[ec2.order.index("patient")] <= urgent / AGING + 2

    run(program())


def test_who_is_cancelled_in_line_leaves_it_and_costs_nothing() -> None:
    async def program() -> None:
        ec2 = Ec2(0.02)
        await ec2.call()
        leaving = asyncio.create_task(ec2.call("leaving", 9.0))
        staying = asyncio.create_task(ec2.call("staying"))
        await asyncio.sleep(3)
        leaving.cancel()
        await asyncio.sleep(0)
        assert ec2.throttle.waiting(ATTACH) == 1
        await staying
        assert ec2.order == ["", "staying"]
        assert ec2.sent == pytest.approx([0.0, 10.0])

    run(program())


def test_who_is_cancelled_as_the_turn_comes_hands_it_on() -> None:
    async def program() -> None:
        throttle = Throttle(now, asyncio.sleep, 0.02)
        gone: list[asyncio.Task[None]] = []

        async def call() -> None:
            async with throttle.turn(ATTACH):
                raise AssertionError("a cancelled call went out")

        def cancels_the_other() -> float:
            if now() > 9:
                asyncio.get_running_loop().call_soon(gone[0].cancel)
            return 0.0

        async with throttle.turn(ATTACH):
            pass
        gone.append(asyncio.create_task(call()))
        await asyncio.sleep(0)
        async with throttle.turn(ATTACH, cancels_the_other):
            assert now() == pytest.approx(10.0)
        assert gone[0].cancelled()

    run(program())


def test_an_urgency_that_breaks_fails_the_callers_and_not_the_line() -> None:
    def broken() -> float:
        raise RuntimeError("a bug")

    async def program() -> None:
        throttle = Throttle(now, asyncio.sleep, 0.02)
        async with throttle.turn(ATTACH):
            pass
        with pytest.raises(RuntimeError, match="a bug"):
            async with throttle.turn(ATTACH, broken):
                pass
        async with throttle.turn(ATTACH):
            assert now() == pytest.approx(10.0)

    run(program())


def test_calls_that_hang_hold_the_line_until_they_are_over() -> None:
    async def program() -> None:
        ec2 = Ec2(seconds=100.0)
        await together(*(ec2.call() for _ in range(80)))
        assert ec2.refused == 0
        assert max(ec2.sent) > 10

    run(program())


Arrivals = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100)), min_size=1, max_size=120)


@given(calls=Arrivals, share=st.sampled_from([0.05, 0.25, 0.95, 1.0]), seconds=st.sampled_from([0.0, 0.3, 5.0]))
def test_no_window_holds_more_calls_than_the_share_of_the_bucket(
    calls: list[tuple[float, float]], share: float, seconds: float
) -> None:
    async def program() -> list[float]:
        ec2 = Ec2(share, seconds=seconds)
        await together(*(ec2.call("", urgency, after=after) for after, urgency in calls))
        assert len(ec2.sent) == len(calls)
        return ec2.sent

    assert most_in_a_window(run(program()), 50 * share, 5 * share) <= 1e-6


@given(bursts=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60), st.floats(0, 40)), min_size=1, max_size=6))
@example(bursts=[(0, 50, 19), (10, 50, 0)])
def test_ec2_refuses_nothing_however_long_calls_are_on_their_way(bursts: list[tuple[float, int, float]]) -> None:
    async def program() -> int:
        ec2 = Ec2()
        calls = [(after, way) for after, number, way in bursts for _ in range(number)]
        await together(*(ec2.call(after=after, way=way) for after, way in calls))
        return ec2.refused

    assert run(program()) == 0


@given(cancelled=st.sets(st.integers(0, 79)), at=st.floats(0, 8))
def test_cancelled_calls_leave_the_others_what_they_would_have_taken(cancelled: set[int], at: float) -> None:
    async def program() -> None:
        ec2 = Ec2(seconds=1.0)
        tasks = [asyncio.create_task(ec2.call(str(number))) for number in range(80)]
        await asyncio.sleep(at)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert ec2.throttle.waiting(ATTACH) == 0
        assert most_in_a_window(ec2.sent, 50, 5) <= 1e-6
        await asyncio.sleep(30)
        assert [await _seconds_waited(ec2.throttle) for _ in range(50)] == [0.0] * 50

    run(program())


async def _seconds_waited(throttle: Throttle) -> float:
    async with throttle.turn(ATTACH, not_urgent) as waited:
        return waited


def test_a_thousand_calls_come_close_to_the_fastest_ec2_allows() -> None:
    async def program() -> None:
        ec2 = Ec2(CLUSTER_SHARE, seconds=1.0)
        await together(*(ec2.call() for _ in range(1000)))
        assert ec2.refused == 0
        assert max(ec2.sent) <= 1.1 * (1000 - 50) / 5

    run(program())
