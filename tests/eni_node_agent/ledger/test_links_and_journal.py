"""Any order of ADD, DEL, restart, time, handshakes and changes of families where sandboxes hold many addresses."""

import ipaddress
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_crds.nodeippool import Family, Supply
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.ledger.ranges import is_node_local
from eni_testing.supplies import eni, supply

COOLDOWN_SECONDS = 30
CARDS = {
    (0, 0): (["10.0.1.4", "10.0.1.5"], ["2001:db8:0:1:1::/80"]),
    (0, 1): (["10.0.2.4", "10.0.2.5"], ["2001:db8:0:1:2::/80"]),
    (1, 0): (["10.0.3.4", "10.0.3.5", "10.0.3.6"], ["2001:db8:0:1:3::/80"]),
}
CIDRS = [cidr for singles, blocks in CARDS.values() for cidr in (*(f"{a}/32" for a in singles), *blocks)]
FAMILIES = [(Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6)]
NAMES = st.sampled_from([f"container-{number}" for number in range(8)])


class LinksMachine(RuleBasedStateMachine):
    """Models who holds what, and when each address was released last."""

    @initialize(families=st.sampled_from(FAMILIES))
    def begin(self, families: tuple[Family, ...]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="eni-ledger-")
        self.now = 0.0
        self.families = families
        self.held: dict[str, Holding] = {}
        self.released_at: dict[str, float] = {}
        self.releasing: dict[str, str] = {}
        self.tokens = 0
        self.start()

    def start(self) -> None:
        self.journal = Journal(Path(self.folder.name) / "ledger.db")
        self.ledger = Ledger(self.journal, egress=(Family.IPV4, Family.IPV6))
        replay = self.journal.replay()
        for holding in replay.holdings:
            assert self.ledger.adopt(holding)
        self.ledger.rest(replay.released)
        self.observe()

    def supply(self) -> Supply:
        enis = [
            eni(
                index,
                card=card,
                addresses=singles,
                ipv6_prefixes=blocks,
                releasing=[(c, t) for c, t in self.releasing.items() if c in (*(f"{a}/32" for a in singles), *blocks)],
            )
            for (card, index), (singles, blocks) in CARDS.items()
        ]
        return supply(*enis, cooldown_seconds=COOLDOWN_SECONDS, families=self.families)

    def observe(self) -> None:
        seen = self.supply()
        self.ledger.observe(seen, {cidr for each in seen.enis for cidr in cidrs_of(each)}, self.now)

    def is_busy(self, address: str) -> bool:
        is_held = any(address in holding.all_addresses for holding in self.held.values())
        return is_held or self.now < self.released_at.get(address, float("-inf")) + COOLDOWN_SECONDS

    def busy_of(self, cidr: str) -> int:
        network = ipaddress.ip_network(cidr)
        known = {*self.released_at, *(a for holding in self.held.values() for a in holding.all_addresses)}
        return sum(self.is_busy(address) for address in known if ipaddress.ip_address(address) in network)

    def open_enis(self) -> list[tuple[int, int]]:
        """Returns the ENIs that could serve a link now."""
        return [place for place, cidrs in CARDS.items() if self.serves(*cidrs)]

    def serves(self, singles: list[str], blocks: list[str]) -> bool:
        four = any(f"{address}/32" not in self.releasing and not self.is_busy(address) for address in singles)
        six = any(block not in self.releasing for block in blocks)
        return (Family.IPV4 not in self.families or four) and (Family.IPV6 not in self.families or six)

    @rule(name=NAMES, every_card=st.booleans())
    def add(self, name: str, *, every_card: bool) -> None:
        cards = {card for card, _ in self.open_enis()}
        before = {address for address in self.released_at if self.is_busy(address)}
        holding = self.ledger.assign(Sandbox(SandboxKey("eni", name, "eth0"), every_card=every_card), self.now)
        if name in self.held:
            assert holding is not None
            assert holding.links == self.held[name].links
        elif holding is None:
            assert cards != {0, 1} if every_card else not cards
        else:
            assert not any(self.is_busy(address) for address in holding.all_addresses)
            assert not before.intersection(holding.all_addresses)
            self.is_whole(holding, every_card=every_card)
            self.held[name] = holding

    def is_whole(self, holding: Holding, *, every_card: bool) -> None:
        assert len(holding.links) == (2 if every_card else 1)
        for number, link in enumerate(holding.links):
            assert [":" in address for address in link.addresses] == [f is Family.IPV6 for f in self.families]
            assert link.eni_id == self.eni_of(link)
            assert bool(link.egress) == (number == 0 and len(self.families) == 1)
            assert not link.egress or (
                is_node_local(link.egress) and (":" in link.egress) != (":" in link.addresses[0])
            )

    def eni_of(self, link: PodLink) -> str:
        """Returns the one ENI that all addresses of a link are on."""
        [place] = {
            place
            for place, (singles, blocks) in CARDS.items()
            for address in link.addresses
            if address in singles or any(ipaddress.ip_address(address) in ipaddress.ip_network(b) for b in blocks)
        }
        return eni(place[1], card=place[0]).id

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        holding = self.ledger.release(SandboxKey("eni", name, "eth0"), self.now)
        expected = self.held.pop(name, None)
        assert (holding and holding.links) == (expected and expected.links)
        if holding is not None:
            self.released_at.update(dict.fromkeys(holding.all_addresses, self.now))

    @rule()
    def kill_and_restart(self) -> None:
        self.journal.close()
        self.start()

    @rule(seconds=st.sampled_from([0.5, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(cidr=st.sampled_from(CIDRS))
    def mark(self, cidr: str) -> None:
        self.tokens += 1
        self.releasing[cidr] = f"t{self.tokens}"
        self.observe()

    @rule(cidr=st.sampled_from(CIDRS))
    def cancel(self, cidr: str) -> None:
        self.releasing.pop(cidr, None)
        self.observe()

    @rule(families=st.sampled_from(FAMILIES))
    def change_families(self, families: tuple[Family, ...]) -> None:
        self.families = families
        self.observe()

    @invariant()
    def every_sandbox_holds_what_it_was_given_and_nobody_shares(self) -> None:
        links = {holding.sandbox.key.container_id: holding.links for holding in self.ledger.holdings()}
        assert links == {name: holding.links for name, holding in self.held.items()}
        addresses = [address for holding in self.held.values() for address in holding.all_addresses]
        assert len(set(addresses)) == len(addresses)
        assert self.ledger.lost() == ()

    @invariant()
    def counts_are_of_one_family(self) -> None:
        ipv6 = Family.IPV4 not in self.families
        held = {address for holding in self.held.values() for address in holding.addresses}
        tally = self.ledger.tally(self.now)
        assert tally.assigned == sum((":" in address) is ipv6 for address in held)
        cooling = {a for a in self.released_at if a not in held and self.is_busy(a) and not is_node_local(a)}
        assert tally.cooling == sum((":" in address) is ipv6 for address in cooling)
        assert sum(card.assigned for card in tally.cards) <= tally.assigned
        assert set(tally.idle) == {cidr for cidr in CIDRS if not self.busy_of(cidr)}

    @invariant()
    def a_handshake_is_answered_when_nobody_has_an_address_of_it(self) -> None:
        tally = self.ledger.tally(self.now)
        held = {cidr: self.busy_of(cidr) for cidr in self.releasing}
        assert {entry.cidr: entry.token for entry in tally.released} == {
            cidr: token for cidr, token in self.releasing.items() if not held[cidr]
        }
        assert {entry.cidr: entry.held for entry in tally.leaving} == {c: count for c, count in held.items() if count}

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()


LinksMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestLinksAndJournal = LinksMachine.TestCase
