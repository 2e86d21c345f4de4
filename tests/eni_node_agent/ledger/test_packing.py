"""Where the next pod goes, and which CIDRs churn leaves empty."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from eni_crds.nodeippool import EniState, SupplyEni
from eni_node_agent.ledger.addresses import addresses_of
from eni_node_agent.ledger.packing import Packing, cidrs_of
from eni_testing.supplies import eni


def packing_of(*enis: SupplyEni, taken: tuple[str, ...] = (), rested: dict[str, float] | None = None) -> Packing:
    packing = Packing(enis, {cidr for each in enis for cidr in cidrs_of(each)}, rested or {})
    for address in taken:
        packing.take(address)
    return packing


def best(packing: Packing) -> str | None:
    place = packing.best()
    return place.address if place else None


ONE, TWO = ("10.0.1.0/28", "10.0.1.16/28"), ("10.0.2.0/28", "10.0.2.16/28")


@pytest.mark.parametrize(
    ("enis", "taken", "expected"),
    [
        pytest.param((eni(0),), (), None, id="nothing there"),
        pytest.param((eni(1, prefixes=TWO), eni(0, prefixes=ONE)), (), "10.0.1.0", id="empty: the first device"),
        pytest.param((eni(0, prefixes=ONE),), ("10.0.1.20",), "10.0.1.16", id="the fullest prefix"),
        pytest.param(
            (eni(0, prefixes=ONE), eni(1, prefixes=TWO)),
            ("10.0.1.0", "10.0.1.16", "10.0.2.0", "10.0.2.1"),
            "10.0.2.2",
            id="the fullest prefix, though its ENI is not fuller",
        ),
        pytest.param(
            (eni(0, prefixes=ONE), eni(1, prefixes=TWO)),
            ("10.0.1.0", "10.0.2.0", "10.0.2.16"),
            "10.0.2.1",
            id="of prefixes as full as each other that of the fullest ENI",
        ),
        pytest.param(
            (eni(0, addresses=["10.0.1.5"]), eni(1, addresses=["10.0.2.5", "10.0.2.6"])),
            ("10.0.2.5",),
            "10.0.2.6",
            id="single addresses: the fullest ENI",
        ),
        pytest.param(
            (eni(0, addresses=["10.0.1.5"], prefixes=TWO),), (), "10.0.1.5", id="a single one before a new prefix"
        ),
        pytest.param(
            (eni(0, addresses=["10.0.1.5"], prefixes=TWO),), ("10.0.2.16",), "10.0.2.17", id="a begun prefix first"
        ),
        pytest.param(
            (eni(0, prefixes=ONE), eni(0, card=1, prefixes=TWO)), ("10.0.2.0",), "10.0.1.0", id="card 0 first"
        ),
        pytest.param((eni(0), eni(0, card=1, prefixes=TWO)), (), "10.0.2.0", id="another card when 0 has nothing"),
    ],
)
def test_gives_of_the_fullest(enis: tuple[SupplyEni, ...], taken: tuple[str, ...], expected: str | None) -> None:
    assert best(packing_of(*enis, taken=taken)) == expected


def test_the_longest_rested_goes_first_and_the_never_used_before_it() -> None:
    packing = packing_of(eni(0, prefixes=["10.0.1.0/28"]), rested={f"10.0.1.{last}": 30.0 - last for last in range(15)})
    given_out = []
    while (address := best(packing)) is not None:
        packing.take(address)
        given_out.append(address)
    assert given_out == ["10.0.1.15", *(f"10.0.1.{last}" for last in reversed(range(15)))]
    packing.put_back("10.0.1.9")
    packing.put_back("10.0.1.3")
    assert best(packing) == "10.0.1.9"


def test_the_least_useful_idle_cidr_comes_first() -> None:
    packing = packing_of(
        eni(0, prefixes=["10.0.0.0/28"]),
        eni(1, prefixes=["10.0.1.0/28", "10.0.1.16/28"]),
        eni(2, prefixes=["10.0.2.0/28"]),
        eni(3, prefixes=["10.0.3.0/28", "10.0.3.16/28"]),
        eni(4, prefixes=["10.0.4.0/28", "10.0.4.16/28"], excluded="its subnet is out of use"),
        eni(5, prefixes=["10.0.5.0/28"], state=EniState.RELEASING),
        taken=("10.0.1.0", "10.0.3.1", "10.0.4.1"),
    )
    assert list(packing.idle()) == [
        "10.0.5.0/28",
        "10.0.4.16/28",
        "10.0.2.0/28",
        "10.0.3.16/28",
        "10.0.1.16/28",
        "10.0.0.0/28",
    ]


PREFIXES = [f"10.0.{index}.{16 * number}/28" for index in (0, 1) for number in range(3)]


@given(st.lists(st.one_of(st.just("add"), st.integers(0, 95)), max_size=200))
def test_churn_leaves_no_more_prefixes_in_use_than_the_peak_fills(steps: list[str | int]) -> None:
    """No pod goes to an emptier prefix while a fuller one has room, hence the bound."""
    packing = packing_of(eni(0, prefixes=PREFIXES[:3]), eni(1, prefixes=PREFIXES[3:]))
    held: list[str] = []
    peak = 0

    def taken_of(cidr: str) -> int:
        return len(set(addresses_of(cidr)).intersection(held))

    for step in steps:
        if step == "add" and (place := packing.best()) is not None:
            [chosen] = [cidr for cidr in PREFIXES if place.address in addresses_of(cidr)]
            assert taken_of(chosen) == max(count for cidr in PREFIXES if (count := taken_of(cidr)) < 16)
            packing.take(place.address)
            held.append(place.address)
            peak = max(peak, len(held))
        elif isinstance(step, int) and held:
            packing.put_back(held.pop(step % len(held)))
        in_use = [cidr for cidr in PREFIXES if taken_of(cidr)]
        assert len(in_use) <= min(len(held), -(-peak // 16))
        assert sorted(packing.idle()) == sorted(set(PREFIXES) - set(in_use))
        assert packing.free == 96 - len(held)
