"""The buckets, on a virtual clock."""

import pytest

from eni_operator.ec2.throttle import RECOVERY_SECONDS, SHARE, Throttle


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_burst_of_the_bucket_goes_out_at_once_and_the_rest_at_the_rate() -> None:
    time = Time()
    throttle = Throttle(time.clock, time.sleep)
    for _ in range(33):
        await throttle.acquire("AttachNetworkInterface")
    assert time.slept == pytest.approx([1 / 3, 2 / 3, 1.0])  # 60 % of 50 at once, then 60 % of 5 a second


async def test_each_api_has_a_bucket_of_its_own() -> None:
    time = Time()
    throttle = Throttle(time.clock, time.sleep)
    for _ in range(30):
        await throttle.acquire("AttachNetworkInterface")
    assert await throttle.acquire("DetachNetworkInterface") == 0


async def test_time_fills_the_bucket_again() -> None:
    time = Time()
    throttle = Throttle(time.clock, time.sleep)
    for _ in range(30):
        await throttle.acquire("AttachNetworkInterface")
    time.now += 1
    assert [await throttle.acquire("AttachNetworkInterface") for _ in range(3)] == [0, 0, 0]
    assert await throttle.acquire("AttachNetworkInterface") > 0


async def test_a_refusal_halves_the_rate_and_empties_the_bucket() -> None:
    time = Time()
    throttle = Throttle(time.clock, time.sleep)
    await throttle.acquire("CreateNetworkInterface")
    throttle.refused("CreateNetworkInterface")
    assert throttle.rate("CreateNetworkInterface") == pytest.approx(5 * SHARE / 2)
    assert await throttle.acquire("CreateNetworkInterface") == pytest.approx(2 / (5 * SHARE))


async def test_refusals_never_stop_an_api_for_good_and_time_restores_it() -> None:
    time = Time()
    throttle = Throttle(time.clock, time.sleep)
    for _ in range(50):
        throttle.refused("CreateNetworkInterface")
    assert throttle.rate("CreateNetworkInterface") == pytest.approx(5 * SHARE / 16)
    time.now += RECOVERY_SECONDS
    await throttle.acquire("CreateNetworkInterface")
    assert throttle.rate("CreateNetworkInterface") == pytest.approx(5 * SHARE)
