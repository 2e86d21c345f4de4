"""When the executor tries again what failed, and when it forgets that it did."""

import pytest

from eni_operator.domain.actions import AssignAddresses, RemoveEni
from eni_operator.ec2.errors import (
    DeniedError,
    Ec2Error,
    ThrottledError,
    UnknownSecurityGroupError,
    UnknownSubnetError,
    WrongZoneError,
)
from eni_testing.scripted_ec2 import BAD, GOOD, ONE, Bench, creation


async def test_a_failure_waits_longer_each_time_and_success_forgets_it(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")] * 3
    waits = []
    for _ in range(3):
        await bench.perform(AssignAddresses(ONE, 1))
        retry_at = bench.executor.retry_at()
        assert retry_at is not None
        waits.append(retry_at - bench.now)
        await bench.perform(AssignAddresses(ONE, 1))
        bench.now = retry_at
    assert waits == [1.0, 2.0, 4.0]
    assert len(bench.ec2.calls) == 3
    await bench.perform(AssignAddresses(ONE, 1))
    assert (bench.executor.failures, bench.executor.retry_at()) == ((), None)


async def test_what_is_not_asked_for_any_more_is_no_failure(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")]
    await bench.perform(AssignAddresses(ONE, 1))
    assert bench.executor.failures
    bench.executor.retain([])
    assert not bench.executor.failures


@pytest.mark.parametrize(
    "error",
    [UnknownSecurityGroupError("x"), UnknownSubnetError("x"), WrongZoneError("x"), DeniedError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_person_must_mend_waits_long_and_spends_no_token(bench: Bench, error: Ec2Error) -> None:
    bench.ec2.errors["create"] = [error]
    await bench.perform(creation(groups=(BAD,)))
    assert bench.executor.retry_at() == bench.now + 15
    assert bench.executor.tokens_spent == 0
    assert not bench.inventory.doubtful
    await bench.perform(creation(groups=(BAD,)))
    assert len(bench.ec2.calls) == 1


async def test_what_a_person_has_mended_is_tried_at_once(bench: Bench) -> None:
    bench.ec2.errors["create"] = [UnknownSecurityGroupError("CreateNetworkInterface")]
    await bench.perform(creation(groups=(BAD,)))
    bench.executor.retain([creation(groups=(GOOD,))])
    assert not bench.executor.failures
    await bench.perform(creation(groups=(GOOD,)))
    assert not bench.executor.failures
    assert bench.believed(ONE) is not None


async def test_plans_that_ask_by_turns_do_not_get_round_the_wait(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [WrongZoneError("AttachNetworkInterface")]
    await bench.perform(creation())
    bench.executor.retain([RemoveEni(ONE, None)])
    assert (bench.executor.failures, bench.executor.retry_at()) == ((), None)
    await bench.perform(RemoveEni(ONE, None))
    bench.executor.retain([creation()])
    calls = len(bench.ec2.calls)
    await bench.perform(creation())
    assert len(bench.ec2.calls) == calls
    bench.now += 15
    await bench.perform(creation())
    assert len(bench.ec2.calls) == calls + 3


async def test_what_is_being_tried_again_asks_for_no_run_until_it_has_ended(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")]
    await bench.perform(AssignAddresses(ONE, 1))
    retry_at = bench.executor.retry_at()
    assert retry_at is not None
    bench.now = retry_at
    bench.ec2.gate.clear()
    bench.executor.start([AssignAddresses(ONE, 1)])
    assert bench.executor.retry_at() is None
    bench.ec2.gate.set()
    await bench.executor.settle()
