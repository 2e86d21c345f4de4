"""Sandboxes with several addresses: both families, several network cards, egress."""

from collections.abc import Sequence

import pytest

from eni_crds.nodeippool import CardUsage, EniRole, EniState, Family, Leaving, Releasing, Supply, SupplyEni
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_testing.holdings import Notebook, sandbox
from eni_testing.supplies import eni, supply

BOTH, IPV6 = (Family.IPV4, Family.IPV6), (Family.IPV6,)
P0, P1 = "2001:db8:0:1:1::/80", "2001:db8:0:1:2::/80"


def ledger_of(
    *enis: SupplyEni, families: Sequence[Family], memory: Notebook | None = None, egress: Sequence[Family] = ()
) -> Ledger:
    ledger = Ledger(memory or Notebook(), egress=egress)
    show(ledger, supply(*enis, families=families))
    return ledger


def show(ledger: Ledger, seen: Supply, now: float = 0) -> None:
    ledger.observe(seen, {cidr for each in seen.enis for cidr in cidrs_of(each)}, now)


def addresses(ledger: Ledger, name: str, *, every_card: bool = False, now: float = 0) -> list[tuple[str, ...]] | None:
    holding = ledger.assign(sandbox(name, every_card=every_card), now)
    return None if holding is None else [link.all_addresses for link in holding.links]


def test_a_pod_of_both_families_has_both_addresses_from_one_eni() -> None:
    full = eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0])
    ledger = ledger_of(full, eni(1, addresses=["10.0.2.5"], ipv6_prefixes=[P1]), families=BOTH)
    found = [addresses(ledger, name) for name in ("a", "b", "a", "c")]
    assert found == [
        [("10.0.1.5", "2001:db8:0:1:1::")],
        [("10.0.2.5", "2001:db8:0:1:2::")],
        [("10.0.1.5", "2001:db8:0:1:1::")],
        None,
    ]


def test_an_eni_that_lacks_one_family_serves_no_pod_of_both() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5"]), eni(1, ipv6_prefixes=[P1]), families=BOTH)
    assert addresses(ledger, "a") is None
    assert ledger.tally(0).free == 0
    show(ledger, supply(eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0]), families=BOTH))
    assert ledger.tally(0).free == 1
    assert addresses(ledger, "a") == [("10.0.1.5", "2001:db8:0:1:1::")]


def test_counts_ipv4_where_the_pool_has_both() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5", "10.0.1.6", "10.0.1.7"], ipv6_prefixes=[P0]), families=BOTH)
    addresses(ledger, "a")
    addresses(ledger, "b")
    ledger.release(sandbox("b").key, now=0)
    tally = ledger.tally(1)
    assert (tally.assigned, tally.cooling, tally.free) == (1, 1, 1)
    assert tally.idle == ("10.0.1.7/32",)


def test_ipv6_alone_serves_from_the_prefix_and_counts_up_to_what_the_instance_takes() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0]), families=IPV6)
    assert [addresses(ledger, name) for name in "ab"] == [[("2001:db8:0:1:1::",)], [("2001:db8:0:1:1::1",)]]
    ledger.release(sandbox("a").key, now=0)
    tally = ledger.tally(1)
    assert (tally.assigned, tally.cooling, tally.free) == (1, 1, 29)
    assert addresses(ledger, "c", now=1) == [("2001:db8:0:1:1::2",)], "a cooling address rests"


def test_a_prefix_that_pods_are_on_answers_no_handshake_until_they_have_gone_and_it_has_rested() -> None:
    ledger = ledger_of(eni(0, ipv6_prefixes=[P0]), families=IPV6)
    addresses(ledger, "a")
    addresses(ledger, "b")
    marked = supply(eni(0, ipv6_prefixes=[P0], releasing=[(P0, "t1")]), families=IPV6)
    show(ledger, marked, now=1)
    assert addresses(ledger, "c", now=1) is None
    ledger.release(sandbox("a").key, now=2)
    held = (Leaving(cidr=P0, token="t1", held=2),)
    assert (ledger.tally(3).released, ledger.tally(3).leaving, ledger.tally(3).idle) == ((), held, ())
    ledger.release(sandbox("b").key, now=4)
    assert ledger.tally(33).leaving == (Leaving(cidr=P0, token="t1", held=1),)
    tally = ledger.tally(34)
    assert (tally.released, tally.leaving, tally.idle) == ((Releasing(cidr=P0, token="t1"),), (), (P0,))


def test_addresses_cool_together_and_come_back_together() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0]), families=BOTH)
    first = addresses(ledger, "a")
    ledger.release(sandbox("a").key, now=10)
    assert addresses(ledger, "b", now=39.9) is None
    assert addresses(ledger, "b", now=40) == [("10.0.1.5", "2001:db8:0:1:1::1")]
    assert first == [("10.0.1.5", "2001:db8:0:1:1::")]


def test_what_supply_no_longer_names_is_lost_address_by_address() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0]), families=BOTH)
    addresses(ledger, "a")
    show(ledger, supply(eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P1]), families=BOTH))
    assert ledger.lost_addresses() == ["2001:db8:0:1:1::"]
    assert [holding.sandbox.key.container_id for holding in ledger.lost()] == ["a"]


CARDS = (
    eni(0, addresses=["10.0.1.5", "10.0.1.6"]),
    eni(0, card=1, addresses=["10.0.2.5"]),
    eni(0, card=2, role=EniRole.EFA_ONLY),
    eni(1, card=3, role=EniRole.EFA, addresses=["10.0.3.5"]),
)


def test_a_pod_that_asks_for_every_card_has_a_link_on_each() -> None:
    ledger = ledger_of(*CARDS, families=(Family.IPV4,))
    holding = ledger.assign(sandbox("a", every_card=True), 0)
    assert holding is not None
    assert [(link.addresses, link.eni_id) for link in holding.links] == [
        (("10.0.1.5",), CARDS[0].id),
        (("10.0.2.5",), CARDS[1].id),
        (("10.0.3.5",), CARDS[3].id),
    ]
    tally = ledger.tally(0)
    assert tally.assigned == 3
    assert tally.cards == (CardUsage(network_card=1, assigned=1), CardUsage(network_card=3, assigned=1))


def test_all_cards_or_none_and_none_held_meanwhile() -> None:
    ledger = ledger_of(*CARDS, families=(Family.IPV4,))
    addresses(ledger, "a", every_card=True)
    assert addresses(ledger, "b", every_card=True) is None
    assert ledger.tally(0).free == 1
    assert addresses(ledger, "c") == [("10.0.1.6",)]


def test_a_pod_that_does_not_ask_takes_card_0_and_then_the_next() -> None:
    ledger = ledger_of(*CARDS, families=(Family.IPV4,))
    found = [addresses(ledger, name) for name in "abcde"]
    assert found == [[("10.0.1.5",)], [("10.0.1.6",)], [("10.0.2.5",)], [("10.0.3.5",)], None]


@pytest.mark.parametrize(("state", "expected"), [(EniState.ATTACHING, None), (EniState.DETACHING, [("10.0.1.5",)])])
def test_a_card_whose_eni_is_coming_is_waited_for_and_one_that_goes_is_not(
    state: EniState, expected: list[tuple[str, ...]] | None
) -> None:
    enis = eni(0, addresses=["10.0.1.5"]), eni(0, card=1, addresses=["10.0.2.5"], state=state)
    assert addresses(ledger_of(*enis, families=(Family.IPV4,)), "a", every_card=True) == expected


def test_a_card_that_has_no_eni_yet_is_waited_for_by_those_who_ask_for_it_and_counted() -> None:
    """The operator tells of its cards before EC2 has attached anything."""
    first = supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"]))
    ledger = Ledger(Notebook())
    show(ledger, first.replace(cards=[0, 1]))
    assert addresses(ledger, "a", every_card=True) is None
    assert addresses(ledger, "b") == [("10.0.1.5",)]
    assert ledger.tally(0).cards == (CardUsage(network_card=1),)
    both = supply(*first.enis, eni(0, card=1, addresses=["10.0.2.5"])).replace(cards=[0, 1])
    show(ledger, both)
    assert addresses(ledger, "a", every_card=True) == [("10.0.1.6",), ("10.0.2.5",)]


def test_a_card_of_which_pods_get_nothing_yet_is_waited_for() -> None:
    """Custom networking: the primary serves no pod, and the ENI that will is not there yet."""
    enis = eni(0, excluded="custom networking"), eni(0, card=1, addresses=["10.0.2.5"])
    assert addresses(ledger_of(*enis, families=(Family.IPV4,)), "a", every_card=True) is None


def test_both_families_on_every_card() -> None:
    enis = (
        eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0]),
        eni(0, card=1, addresses=["10.0.2.5"], ipv6_prefixes=[P1]),
    )
    ledger = ledger_of(*enis, families=BOTH)
    assert addresses(ledger, "a", every_card=True) == [
        ("10.0.1.5", "2001:db8:0:1:1::"),
        ("10.0.2.5", "2001:db8:0:1:2::"),
    ]


def test_egress_is_of_the_family_the_pool_lacks_where_it_is_wanted() -> None:
    four, six = eni(0, addresses=["10.0.1.5"]), eni(0, ipv6_prefixes=[P0])
    both = eni(0, addresses=["10.0.1.5"], ipv6_prefixes=[P0])
    wanted = (Family.IPV4, Family.IPV6)
    cases = [
        (four, (Family.IPV4,), wanted),
        (six, IPV6, wanted),
        (both, BOTH, wanted),
        (four, (Family.IPV4,), (Family.IPV4,)),
    ]
    found = [addresses(ledger_of(each, families=families, egress=egress), "a") for each, families, egress in cases]
    assert found == [
        [("10.0.1.5", "fd00::ac:2")],
        [("2001:db8:0:1:1::", "169.254.172.2")],
        [("10.0.1.5", "2001:db8:0:1:1::")],
        [("10.0.1.5",)],
    ]


def test_egress_is_on_the_first_link_cools_and_is_counted_nowhere() -> None:
    ledger = ledger_of(*CARDS, families=(Family.IPV4,), egress=(Family.IPV6,))
    assert addresses(ledger, "a", every_card=True) == [("10.0.1.5", "fd00::ac:2"), ("10.0.2.5",), ("10.0.3.5",)]
    assert ledger.lost() == ()
    ledger.release(sandbox("a").key, now=0)
    tally = ledger.tally(1)
    assert (tally.assigned, tally.cooling) == (0, 3)
    assert addresses(ledger, "b", now=1) == [("10.0.1.6", "fd00::ac:3")]
    assert ledger.tally(1).assigned == 1


def test_without_an_egress_address_a_pod_waits_and_holds_none() -> None:
    enis = eni(0, ipv6_prefixes=[P0])
    ledger = ledger_of(enis, families=IPV6, egress=(Family.IPV4,))
    for number in range(1020):
        assert addresses(ledger, f"pod-{number}") is not None
    assert addresses(ledger, "one too many") is None
    ledger.release(sandbox("pod-7").key, now=0)
    assert addresses(ledger, "one too many", now=31) == [("2001:db8:0:1:1::3fc", "169.254.172.9")]


def test_a_change_of_families_leaves_pods_what_they_have() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5", "10.0.1.6"]), families=(Family.IPV4,), egress=(Family.IPV6,))
    addresses(ledger, "a")
    now_both = supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"], ipv6_prefixes=[P0]), families=BOTH)
    show(ledger, now_both)
    assert addresses(ledger, "a") == [("10.0.1.5", "fd00::ac:2")]
    assert addresses(ledger, "b") == [("10.0.1.6", "2001:db8:0:1:1::")]
    assert ledger.tally(0).assigned == 2
    show(ledger, supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"], ipv6_prefixes=[P0]), families=IPV6))
    assert ledger.tally(0).assigned == 1


def test_what_cannot_be_remembered_is_not_assigned_by_any_family() -> None:
    memory = Notebook()
    ledger = ledger_of(*CARDS, families=(Family.IPV4,), memory=memory, egress=(Family.IPV6,))
    memory.is_full = True
    with pytest.raises(OSError, match="full"):
        ledger.assign(sandbox("a", every_card=True), 0)
    memory.is_full = False
    assert ledger.tally(0).assigned == 0
    assert addresses(ledger, "b", every_card=True) == [("10.0.1.5", "fd00::ac:2"), ("10.0.2.5",), ("10.0.3.5",)]


def test_adopts_all_addresses_or_none() -> None:
    ledger = ledger_of(eni(0, addresses=["10.0.1.5", "10.0.1.6"], ipv6_prefixes=[P0]), families=BOTH)
    holding = ledger.assign(sandbox("a"), 0)
    assert holding is not None
    other = ledger_of(eni(0, addresses=["10.0.1.5", "10.0.1.6"], ipv6_prefixes=[P0]), families=BOTH)
    assert other.adopt(holding)
    assert addresses(other, "b") == [("10.0.1.6", "2001:db8:0:1:1::1")]
    assert not ledger_with_taken(holding).adopt(holding)


def ledger_with_taken(holding: Holding) -> Ledger:
    """Returns a ledger in which somebody else has the second address."""
    ledger = ledger_of(eni(0, ipv6_prefixes=[P0]), families=IPV6)
    taken = ledger.assign(sandbox("other"), 0)
    assert taken is not None
    assert taken.addresses == holding.addresses[1:]
    return ledger
