"""Which address of a range too large to list comes next."""

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given

from eni_node_agent.ledger.ranges import EGRESS_CIDRS, FRESH, Range, egress_range, is_node_local

PREFIX = "2001:db8:0:1:2::/80"


def taken(span: Range, count: int) -> list[str]:
    """Takes addresses as pods would; returns them."""
    found = []
    for _ in range(count):
        address = span.first()
        assert address is not None
        span.take(address)
        found.append(address)
    return found


def test_the_lowest_never_used_address_comes_first_the_prefix_itself_included() -> None:
    span = Range(PREFIX)
    assert taken(span, 3) == ["2001:db8:0:1:2::", "2001:db8:0:1:2::1", "2001:db8:0:1:2::2"]
    span.put_back("2001:db8:0:1:2::1")
    assert taken(span, 1) == ["2001:db8:0:1:2::3"]
    assert span.free == 2**48 - 3


def test_addresses_found_in_pods_hands_are_passed_over() -> None:
    span = Range(PREFIX)
    span.take("2001:db8:0:1:2::")
    span.rest(["2001:db8:0:1:2::1"])
    assert taken(span, 2) == ["2001:db8:0:1:2::2", "2001:db8:0:1:2::3"]


def test_after_the_fresh_ones_the_longest_rested_is_used_again() -> None:
    span = Range(PREFIX)
    first = taken(span, FRESH)
    assert first[-1] == "2001:db8:0:1:2::3ff"
    for address in (first[700], first[3]):
        span.put_back(address)
    assert taken(span, 3) == [first[700], first[3], "2001:db8:0:1:2::400"]


@pytest.mark.parametrize(
    ("ipv6", "first", "last"), [(False, "169.254.172.2", "169.254.175.253"), (True, "fd00::ac:2", "fd00::ac:3fd")]
)
def test_a_node_local_range_ends_and_begins_again(ipv6: bool, first: str, last: str) -> None:  # noqa: FBT001
    span = egress_range(ipv6=ipv6)
    everything = taken(span, 1020)
    assert (everything[0], everything[-1], span.first(), span.free) == (first, last, None, 0)
    span.put_back(everything[5])
    assert span.first() == everything[5]


def test_a_prefix_is_never_listed() -> None:
    began = time.process_time()
    span = Range("2001:db8::/64")
    taken(span, 3000)
    assert "2001:db8::ffff:ffff:ffff:ffff" in span
    assert "2001:db8:0:1::" not in span
    assert time.process_time() - began < 2


@pytest.mark.parametrize("cidr", EGRESS_CIDRS)
def test_node_local_addresses_are_told_from_the_vpcs(cidr: str) -> None:
    assert is_node_local(cidr.partition("/")[0])


@pytest.mark.parametrize(
    "address", ["10.0.1.5", "169.254.1.1", "169.254.171.255", "169.254.176.0", "2001:db8::", "fd00::ab:ffff"]
)
def test_other_addresses_are_not_node_local(address: str) -> None:
    assert not is_node_local(address)


@given(st.lists(st.integers(-1, 40), max_size=200))
def test_no_address_is_given_twice_at_once(steps: list[int]) -> None:
    span = Range("fd00::/122")
    held: list[str] = []
    for step in steps:
        if step < 0 or not held:
            address = span.first()
            assert (address is None) == (len(held) == 64)
            if address is not None:
                assert address not in held
                span.take(address)
                held.append(address)
        else:
            span.put_back(held.pop(step % len(held)))
        assert span.free == 64 - len(held)
