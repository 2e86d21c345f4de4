from collections.abc import Iterable

import pytest

from eni_crds.nodeippool import CardUsage, EniRole, EniState, Leaving, Releasing, Supply
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_testing.holdings import Notebook, held, sandbox
from eni_testing.supplies import eni, supply


def served(seen: Supply) -> set[str]:
    return {cidr for each in seen.enis for cidr in cidrs_of(each)}


def ledger_with(seen: Supply, memory: Notebook | None = None) -> Ledger:
    ledger = Ledger(memory or Notebook())
    ledger.observe(seen, served(seen), now=0)
    return ledger


def assign(ledger: Ledger, names: Iterable[str], now: float = 0) -> list[str | None]:
    holdings = [ledger.assign(sandbox(name), now) for name in names]
    return [holding.address if holding else None for holding in holdings]


def test_the_same_key_gets_the_same_address_again() -> None:
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"])))
    assert assign(ledger, ["a", "a", "b"]) == ["10.0.1.5", "10.0.1.5", "10.0.1.6"]


def test_an_address_rests_for_the_cooldown_and_the_longest_rested_is_reused_first() -> None:
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"]), cooldown_seconds=30))
    assign(ledger, ["a", "b"])
    ledger.release(sandbox("b").key, now=10)
    ledger.release(sandbox("a").key, now=20)
    assert ledger.next_cooled() == 40
    assert assign(ledger, ["c"], now=39.9) == [None]
    assert assign(ledger, ["c", "d"], now=40) == ["10.0.1.6", None]
    assert assign(ledger, ["d"], now=50) == ["10.0.1.5"]


def test_releasing_twice_is_no_error() -> None:
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5"])))
    assign(ledger, ["a"])
    assert ledger.release(sandbox("a").key, now=1) is not None
    assert ledger.release(sandbox("a").key, now=2) is None


def test_hands_out_only_what_the_host_serves() -> None:
    seen = supply(eni(0, addresses=["10.0.1.5"]), eni(1, addresses=["10.0.1.6"]))
    ledger = Ledger(Notebook())
    ledger.observe(seen, {"10.0.1.6/32"}, now=0)
    assert ledger.tally(0).free == 1
    assert assign(ledger, ["a", "b"]) == ["10.0.1.6", None]


@pytest.mark.parametrize("state", [EniState.ATTACHING, EniState.RELEASING, EniState.DETACHING])
def test_an_eni_that_is_not_attached_serves_nobody(state: EniState) -> None:
    ledger = ledger_with(supply(eni(1, addresses=["10.0.1.6"], state=state)))
    assert assign(ledger, ["a"]) == [None]


def test_answers_a_handshake_only_when_nobody_holds_the_prefix_and_nothing_cools_in_it() -> None:
    token = Releasing(cidr="10.0.1.0/28", token="t1")
    before = supply(eni(0, prefixes=["10.0.1.0/28"]))
    marked = supply(eni(0, prefixes=["10.0.1.0/28"], releasing=[(token.cidr, token.token)]))
    ledger = ledger_with(before)
    assign(ledger, ["a"])
    ledger.observe(marked, served(marked), now=1)
    assert assign(ledger, ["b"], now=1) == [None]
    held = (Leaving(cidr="10.0.1.0/28", token="t1", held=1),)
    assert (ledger.tally(1).released, ledger.tally(1).leaving) == ((), held)
    ledger.release(sandbox("a").key, now=2)
    assert (ledger.tally(31.9).released, ledger.tally(31.9).leaving) == ((), held)
    assert (ledger.tally(32).released, ledger.tally(32).leaving) == ((token,), ())
    assert assign(ledger, ["b"], now=32) == [None]


def test_taking_a_cidr_off_the_list_cancels_the_handshake() -> None:
    marked = supply(eni(0, addresses=["10.0.1.5"], releasing=[("10.0.1.5/32", "t1")]))
    ledger = ledger_with(marked)
    assert [entry.token for entry in ledger.tally(0).released] == ["t1"]
    again = supply(eni(0, addresses=["10.0.1.5"], releasing=[("10.0.1.5/32", "t2")]))
    ledger.observe(again, served(again), now=0)
    assert [entry.token for entry in ledger.tally(0).released] == ["t2"]
    unmarked = supply(eni(0, addresses=["10.0.1.5"]))
    ledger.observe(unmarked, served(unmarked), now=1)
    assert ledger.tally(1).released == ()
    assert assign(ledger, ["a"], now=1) == ["10.0.1.5"]


def test_an_address_that_left_supply_stays_with_its_pod_and_goes_to_nobody_else() -> None:
    full, empty = supply(eni(0, addresses=["10.0.1.5"])), supply(eni(0))
    ledger = ledger_with(full)
    assign(ledger, ["a"])
    ledger.observe(empty, set(), now=1)
    assert [holding.address for holding in ledger.lost()] == ["10.0.1.5"]
    ledger.observe(full, served(full), now=2)
    assert ledger.lost() == ()
    assert assign(ledger, ["b", "a"], now=2) == [None, "10.0.1.5"]


def test_an_address_that_came_back_while_it_cools_goes_on_cooling() -> None:
    full, empty = supply(eni(0, addresses=["10.0.1.5"])), supply(eni(0))
    ledger = ledger_with(full)
    assign(ledger, ["a"])
    ledger.release(sandbox("a").key, now=10)
    ledger.observe(empty, set(), now=11)
    ledger.observe(full, served(full), now=12)
    assert assign(ledger, ["b"], now=39) == [None]
    assert assign(ledger, ["b"], now=40) == ["10.0.1.5"]


def test_what_cannot_be_remembered_is_not_assigned() -> None:
    memory = Notebook()
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5"])), memory)
    memory.is_full = True
    with pytest.raises(OSError, match="full"):
        ledger.assign(sandbox("a"), 0)
    assert ledger.find(sandbox("a").key) is None
    assert ledger.tally(0).free == 1
    memory.is_full = False
    assert assign(ledger, ["b"]) == ["10.0.1.5"]


def test_a_release_that_cannot_be_remembered_is_not_made() -> None:
    memory = Notebook()
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5"])), memory)
    assign(ledger, ["a"])
    memory.is_full = True
    with pytest.raises(OSError, match="full"):
        ledger.release(sandbox("a").key, now=1)
    assert ledger.find(sandbox("a").key) is not None
    assert ledger.tally(1).cooling == 0


def test_does_not_adopt_an_address_that_has_an_owner() -> None:
    ledger = ledger_with(supply(eni(0, addresses=["10.0.1.5"])))
    assign(ledger, ["a"])
    assert not ledger.adopt(held(sandbox("b"), "10.0.1.5", eni_id="eni-0"))
    assert ledger.owner("10.0.1.5") == sandbox("a").key


def test_a_prefix_that_leaves_with_pods_is_told_of_until_it_is_taken_back() -> None:
    staying, leaving = supply(eni(0, prefixes=["10.0.1.0/28"])), [("10.0.1.0/28", "t1")]
    marked = supply(eni(0, prefixes=["10.0.1.0/28"], releasing=leaving))
    ledger = ledger_with(staying)
    assign(ledger, ["a", "b", "c"])
    ledger.release(sandbox("c").key, now=0)
    ledger.observe(marked, served(marked), now=1)
    assert ledger.tally(1).leaving == (Leaving(cidr="10.0.1.0/28", token="t1", held=3),)
    ledger.observe(staying, served(staying), now=2)
    assert ledger.tally(2).leaving == ()
    assert assign(ledger, ["d"], now=2) == ["10.0.1.3"]


def test_an_ipv6_prefix_on_its_way_out_is_let_go_of_at_once() -> None:
    ledger = ledger_with(supply(eni(1, releasing=[("2001:db8::/80", "t1")])))
    assert [entry.cidr for entry in ledger.tally(0).released] == ["2001:db8::/80"]


def test_an_excluded_eni_keeps_its_pods_and_gets_no_new_ones() -> None:
    before = supply(eni(1, addresses=["10.0.1.5", "10.0.1.6"]))
    after = supply(eni(1, addresses=["10.0.1.5", "10.0.1.6"], excluded="subnet-1 is tagged kubernetes.io/role/cni=0"))
    ledger = ledger_with(before)
    assign(ledger, ["a"])
    ledger.observe(after, served(after), now=1)
    assert assign(ledger, ["a", "b"], now=1) == ["10.0.1.5", None]
    assert (ledger.tally(1).free, ledger.tally(1).idle) == (0, ("10.0.1.6/32",))


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (EniRole.PRIMARY, "10.0.1.5"),
        (EniRole.SECONDARY, "10.0.1.5"),
        (EniRole.EFA, "10.0.1.5"),
        (EniRole.EFA_ONLY, None),
        (EniRole.TRUNK, None),
        (EniRole.UNMANAGED, None),
    ],
)
def test_only_serving_roles_serve(role: EniRole, expected: str | None) -> None:
    ledger = ledger_with(supply(eni(1, role=role, addresses=["10.0.1.5"])))
    assert ledger.tally(0).idle == (("10.0.1.5/32",) if expected else ())
    assert assign(ledger, ["a"]) == [expected]


def test_counts_other_cards_by_themselves_too() -> None:
    seen = supply(
        eni(0, addresses=["10.0.1.5"]),
        eni(0, card=1, addresses=["10.0.2.5", "10.0.2.6"]),
        eni(0, card=2, role=EniRole.EFA_ONLY),
        eni(1, card=3, role=EniRole.EFA),
    )
    ledger = ledger_with(seen)
    assert assign(ledger, ["a", "b", "c"]) == ["10.0.1.5", "10.0.2.5", "10.0.2.6"]
    ledger.release(sandbox("c").key, now=0)
    tally = ledger.tally(1)
    assert (tally.assigned, tally.cooling) == (2, 1)
    assert tally.cards == (CardUsage(network_card=1, assigned=1, cooling=1), CardUsage(network_card=3))


def test_counts_every_address_once() -> None:
    seen = supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"]), eni(1, prefixes=["10.0.2.0/28", "10.0.2.16/28"]))
    ledger = ledger_with(seen)
    assign(ledger, ["a", "b"])
    ledger.release(sandbox("b").key, now=0)
    tally = ledger.tally(1)
    assert (tally.assigned, tally.cooling, tally.free, tally.cards) == (1, 1, 32, ())


def test_the_supplys_cooldown_is_taken_over_at_once() -> None:
    long = supply(eni(0, addresses=["10.0.1.5"]), cooldown_seconds=600)
    ledger = ledger_with(long)
    assign(ledger, ["a"])
    ledger.release(sandbox("a").key, now=0)
    ledger.observe(supply(eni(0, addresses=["10.0.1.5"]), cooldown_seconds=5), served(long), now=1)
    assert assign(ledger, ["b"], now=5) == ["10.0.1.5"]


def test_replay_keeps_cooling_addresses_cooling() -> None:
    ledger = Ledger(Notebook())
    ledger.rest({"10.0.1.6": 20.0, "10.0.1.5": 10.0})
    seen = supply(eni(0, addresses=["10.0.1.5", "10.0.1.6"]))
    ledger.observe(seen, served(seen), now=21)
    assert ledger.tally(21).cooling == 2
    assert ledger.next_cooled() == 40
    assert assign(ledger, ["a", "b"], now=40) == ["10.0.1.5", None]
