"""The buckets alone, instant by instant."""

import pytest

from eni_operator.ec2.buckets import RECOVERY_SECONDS, REFUSED_TOGETHER_SECONDS, SLOWEST, Bucket, Tokens, published

FIVE = Bucket(5, 1)


def taken(tokens: Tokens, now: float) -> int:
    """Counts the tokens that are there at an instant, and takes them."""
    count = 0
    while tokens.take(now):
        count += 1
    return count


@pytest.mark.parametrize(
    ("operation", "bucket"),
    [
        ("AttachNetworkInterface", Bucket(50, 5)),
        ("DetachNetworkInterface", Bucket(50, 5)),
        ("AssignPrivateIpAddresses", Bucket(100, 5)),
        ("AssignIpv6Addresses", Bucket(100, 5)),
        ("CreateTags", Bucket(100, 10)),
        ("DescribeNetworkInterfaces", Bucket(100, 20)),
        ("GetSubnetCidrReservations", Bucket(100, 20)),
    ],
)
def test_the_figures_are_those_ec2_publishes(operation: str, bucket: Bucket) -> None:
    assert published(operation) == bucket


def test_answered_calls_leave_room_that_time_fills() -> None:
    tokens = Tokens(FIVE, 0)
    assert taken(tokens, 0) == 5
    for _ in range(5):
        tokens.answered(0)
    assert tokens.free_in(0) == 1
    assert taken(tokens, 3) == 3


def test_a_call_under_way_takes_up_its_room_however_long() -> None:
    tokens = Tokens(FIVE, 0)
    assert taken(tokens, 0) == 5
    assert tokens.free_in(1000) is None
    tokens.answered(1000)
    assert tokens.free_in(1000) == 1


def test_a_token_not_used_is_there_at_once() -> None:
    tokens = Tokens(FIVE, 0)
    assert taken(tokens, 0) == 5
    tokens.unused(0)
    assert taken(tokens, 0) == 1


def test_a_bucket_smaller_than_a_token_still_gives_one() -> None:
    tokens = Tokens(Bucket(0.2, 0.1), 0)
    assert taken(tokens, 0) == 1
    tokens.answered(0)
    assert tokens.free_in(0) == 10


def test_a_refusal_empties_the_bucket_and_halves_the_rate() -> None:
    tokens = Tokens(FIVE, 0)
    tokens.refused(0)
    assert tokens.free_in(0) == 2
    assert tokens.rate(0) == 0.5


def test_refusals_of_calls_that_were_under_way_together_are_one() -> None:
    tokens = Tokens(FIVE, 0)
    for _ in range(20):
        tokens.refused(0)
    assert tokens.rate(0) == 0.5


def test_refusals_never_stop_an_api_and_time_restores_it() -> None:
    tokens = Tokens(FIVE, 0)
    for second in range(20):
        tokens.refused(second * REFUSED_TOGETHER_SECONDS)
    assert tokens.rate(19) == pytest.approx(SLOWEST, abs=0.01)
    assert tokens.rate(19 + RECOVERY_SECONDS) == 1
