"""Any order of ADD, DEL, kill, restart, passing time, supply changes and handshakes, on a real journal."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import Supply, SupplyEni
from eni_node_agent.ledger.addresses import addresses_of
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_testing.supplies import eni, supply

COOLDOWN_SECONDS = 30
SINGLES = [f"10.0.1.{last}" for last in range(4, 8)]
PREFIXES = ["10.0.2.0/28", "10.0.2.16/28"]
ENIS = [(SINGLES[:2], PREFIXES[:1]), (SINGLES[2:], PREFIXES[1:])]
CIDRS = [*(f"{address}/32" for address in SINGLES), *PREFIXES]
NAMES = st.sampled_from([f"container-{number}" for number in range(12)])


class LedgerMachine(RuleBasedStateMachine):
    """Models, in plain dictionaries, who holds what and when each address was released last."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="eni-ledger-")
        self.now = 0.0
        self.owners: dict[str, str] = {}
        self.released_at: dict[str, float] = {}
        self.cidrs: set[str] = set(CIDRS)
        self.releasing: dict[str, str] = {}
        self.unserved: set[str] = set()
        self.excluded: set[int] = set()
        self.tokens = 0
        self.start()

    def start(self) -> None:
        self.journal = Journal(Path(self.folder.name) / "ledger.db")
        self.ledger = Ledger(self.journal)
        replay = self.journal.replay()
        for holding in replay.holdings:
            assert self.ledger.adopt(holding)
        self.ledger.rest(replay.released)
        self.observe()

    def supply(self) -> Supply:
        def part(index: int, addresses: list[str], prefixes: list[str]) -> SupplyEni:
            kept = [address for address in addresses if f"{address}/32" in self.cidrs]
            blocks = [prefix for prefix in prefixes if prefix in self.cidrs]
            all_of_it = {*(f"{address}/32" for address in kept), *blocks}
            leaving = [(cidr, token) for cidr, token in self.releasing.items() if cidr in all_of_it]
            excluded = "out of use" if index in self.excluded else None
            return eni(index, addresses=kept, prefixes=blocks, releasing=leaving, excluded=excluded)

        return supply(*(part(index, *cidrs) for index, cidrs in enumerate(ENIS)), cooldown_seconds=COOLDOWN_SECONDS)

    def observe(self) -> None:
        seen = self.supply()
        served = {cidr for each in seen.enis for cidr in cidrs_of(each)} - self.unserved
        self.ledger.observe(seen, served, self.now)

    def available(self) -> set[str]:
        usable = self.cidrs - set(self.releasing) - self.unserved
        for index in self.excluded:
            singles, prefixes = ENIS[index]
            usable -= {*(f"{address}/32" for address in singles), *prefixes}
        return {
            address
            for cidr in usable
            for address in addresses_of(cidr)
            if address not in self.owners and not self.cools(address)
        }

    def cools(self, address: str) -> bool:
        return self.now < self.released_at.get(address, float("-inf")) + COOLDOWN_SECONDS

    @rule(name=NAMES)
    def add(self, name: str) -> None:
        mine = next((address for address, owner in self.owners.items() if owner == name), None)
        available = self.available()
        holding = self.ledger.assign(Sandbox(SandboxKey("eni", name, "eth0")), self.now)
        if mine is not None:
            assert holding is not None
            assert holding.address == mine
        elif holding is None:
            assert not available
        else:
            assert holding.address in available
            self.owners[holding.address] = name

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        mine = next((address for address, owner in self.owners.items() if owner == name), None)
        holding = self.ledger.release(SandboxKey("eni", name, "eth0"), self.now)
        assert (holding.address if holding else None) == mine
        if mine is not None:
            del self.owners[mine]
            self.released_at[mine] = self.now

    @rule()
    def kill_and_restart(self) -> None:
        self.journal.close()
        self.start()

    @rule(seconds=st.sampled_from([0.5, 10.0, 29.0, 31.0]))
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

    @precondition(lambda self: self.ledger.tally(self.now).released)
    @rule(data=st.data())
    def unassign_what_was_confirmed(self, data: st.DataObject) -> None:
        confirmed = data.draw(st.sampled_from(self.ledger.tally(self.now).released))
        assert self.releasing[confirmed.cidr] == confirmed.token
        del self.releasing[confirmed.cidr]
        self.cidrs.discard(confirmed.cidr)
        self.observe()

    @rule(cidr=st.sampled_from(CIDRS))
    def lose(self, cidr: str) -> None:
        """Somebody takes a CIDR away behind everybody's back."""
        self.cidrs.discard(cidr)
        self.releasing.pop(cidr, None)
        self.observe()

    @rule(cidr=st.sampled_from(CIDRS))
    def gain(self, cidr: str) -> None:
        self.cidrs.add(cidr)
        self.observe()

    @rule(cidr=st.sampled_from(CIDRS), is_served=st.booleans())
    def change_host_network(self, cidr: str, *, is_served: bool) -> None:
        (self.unserved.discard if is_served else self.unserved.add)(cidr)
        self.observe()

    @rule(index=st.sampled_from([0, 1]), is_excluded=st.booleans())
    def exclude(self, index: int, *, is_excluded: bool) -> None:
        (self.excluded.add if is_excluded else self.excluded.discard)(index)
        self.observe()

    def held_of(self, cidr: str) -> int:
        return sum(1 for address in addresses_of(cidr) if address in self.owners or self.cools(address))

    @invariant()
    def every_address_has_one_owner_and_the_right_one(self) -> None:
        held = [(holding.address, holding.sandbox.key.container_id) for holding in self.ledger.holdings()]
        assert len({address for address, _ in held}) == len(held)
        assert dict(held) == self.owners

    @invariant()
    def counts_are_right(self) -> None:
        tally = self.ledger.tally(self.now)
        assert tally.assigned == len(self.owners)
        assert tally.free == len(self.available())
        assert tally.cooling == sum(self.cools(address) for address in self.released_at if address not in self.owners)
        touched = {
            address for address in (*self.owners, *self.released_at) if address in self.owners or self.cools(address)
        }
        assert set(tally.idle) == {cidr for cidr in self.cidrs if touched.isdisjoint(addresses_of(cidr))}

    @invariant()
    def every_handshake_is_answered_once_with_its_own_token(self) -> None:
        tally = self.ledger.tally(self.now)
        asked = {cidr: token for cidr, token in self.releasing.items() if cidr in self.cidrs}
        held = {cidr: self.held_of(cidr) for cidr in asked}
        assert {entry.cidr: entry.token for entry in tally.released} == {c: t for c, t in asked.items() if not held[c]}
        assert {entry.cidr: (entry.token, entry.held) for entry in tally.leaving} == {
            cidr: (token, held[cidr]) for cidr, token in asked.items() if held[cidr]
        }

    @invariant()
    def a_pod_that_lost_its_address_in_supply_is_told_of(self) -> None:
        known = {address for cidr in self.cidrs for address in addresses_of(cidr)}
        assert {holding.address for holding in self.ledger.lost()} == set(self.owners) - known

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestLedgerAndJournal = LedgerMachine.TestCase
