"""What the executor makes of EC2's refusals: what it believes, doubts, learns and does without."""

from collections.abc import Callable

import pytest

from eni_operator.domain.actions import Action, AssignAddresses, AssignIpv6Prefix, AttachEni, RemoveEni, Unassign
from eni_operator.domain.eni import AttachmentId
from eni_operator.ec2.errors import (
    DeniedError,
    Ec2Error,
    Ec2UnavailableError,
    LimitReachedError,
    NoFreePrefixError,
    NotAssignedError,
    NotFoundError,
    ThrottledError,
)
from eni_testing.scripted_ec2 import ONE, TWO, Bench, creation


async def test_an_eni_that_ec2_does_not_know_yet_is_asked_for_again(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [NotFoundError("AttachNetworkInterface")] * 2
    await bench.perform(creation())
    assert bench.slept == [0.3, 0.6]
    assert not bench.executor.failures


async def test_an_eni_that_ec2_keeps_not_knowing_stays_in_the_belief_and_no_second_is_made(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [NotFoundError("AttachNetworkInterface")] * 5
    await bench.perform(creation())
    assert [call[0] for call in bench.ec2.calls] == ["create"] + ["attach"] * 5
    assert bench.believed(ONE) is not None
    assert bench.inventory.doubtful


async def test_an_eni_that_cannot_be_attached_stays_in_the_belief_for_the_next_plan(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [DeniedError("AttachNetworkInterface")]
    await bench.perform(creation())
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.attachment is None
    await bench.perform(AttachEni(ONE, 1))
    assert bench.ec2.calls[-2:] == [("attach", ONE, 1, 0), ("modify", ONE)]


async def test_an_eni_that_may_not_be_detached_serves_on(bench: Bench) -> None:
    before = bench.holds(ONE)
    bench.ec2.errors["detach"] = [DeniedError("DetachNetworkInterface")]
    await bench.perform(RemoveEni(ONE, AttachmentId("eni-attach-9")))
    assert bench.believed(ONE) == before


@pytest.mark.parametrize(
    ("error", "addresses"),
    [
        (ThrottledError("UnassignPrivateIpAddresses"), ("10.0.1.8", "10.0.1.7")),
        (Ec2UnavailableError("UnassignPrivateIpAddresses"), ("10.0.1.8",)),
    ],
    ids=["refused: it is still ours", "no answer: it may be gone"],
)
async def test_an_address_returns_only_when_ec2_surely_kept_it(
    bench: Bench, error: Ec2Error, addresses: tuple[str, ...]
) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    bench.ec2.errors["unassign"] = [error]
    await bench.perform(Unassign(ONE, ("10.0.1.7",), ()))
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.addresses == addresses


async def test_what_is_given_back_already_does_not_keep_the_rest(bench: Bench) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    missing = NotAssignedError("UnassignPrivateIpAddresses")
    bench.ec2.errors["unassign"] = [missing, missing]
    await bench.perform(Unassign(ONE, ("10.0.1.7", "10.0.1.8"), ()))
    assert bench.ec2.calls[1:] == [("unassign", ONE, "10.0.1.7"), ("unassign", ONE, "10.0.1.8")]
    assert not bench.executor.failures


@pytest.mark.parametrize(
    ("error", "doubtful"),
    [
        (Ec2UnavailableError("x"), True),
        (NotFoundError("x"), True),
        (ThrottledError("x"), False),
        (DeniedError("x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_only_what_may_have_changed_ec2_makes_us_look_again(
    bench: Bench, error: Ec2Error, *, doubtful: bool
) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [error]
    await bench.perform(AssignAddresses(ONE, 1))
    assert bench.inventory.doubtful is doubtful


@pytest.mark.parametrize("action", [creation(device=2, card=1), AttachEni(TWO, 2, 1)], ids=["new", "adopted"])
async def test_an_instance_that_takes_no_more_enis_teaches_the_inventory_so(
    bench: Bench, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    monkeypatch.setattr(bench.inventory, "learned_limit", learned.append)
    bench.holds(TWO, attached=False)
    bench.ec2.errors["attach"] = [LimitReachedError("AttachNetworkInterface")]
    await bench.perform(action)
    assert learned == [1]
    assert bench.inventory.doubtful


async def test_a_lack_of_ipv6_prefixes_says_nothing_of_the_subnets_ipv4(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign-ipv6"] = [NoFreePrefixError("AssignIpv6Addresses")]
    await bench.perform(AssignIpv6Prefix(ONE))
    assert bench.executor.failures
    assert bench.inventory.subnets.known() == {}


async def test_a_bug_in_one_action_is_a_failure_like_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Callable[[], None]:
        raise RuntimeError("a bug")

    bench.holds(ONE)
    monkeypatch.setattr(bench.inventory.attachments, "assigned", broken)
    await bench.perform(AssignAddresses(ONE, 1))
    [failure] = bench.executor.failures
    assert "a bug" in str(failure.error)
    assert "an action broke" in caplog.text
