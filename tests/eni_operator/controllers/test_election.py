"""Never two leaders: proven by a network that delays, loses and repeats, and by clocks nobody set."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eni_operator.controllers.election import CLUSTER, NODES, Candidacy, Record, Renew, Seen, Take, Terms, Wait, decide

ME = "me"


@pytest.mark.parametrize(
    ("record", "age", "expected"),
    [
        (None, 0, Take(None)),
        (Record("", "7"), 0, Take("7")),
        (Record("other", "7"), 0, Wait(115)),
        (Record("other", "7"), 14.9, Wait(115)),
        (Record("other", "7"), 15, Take("7")),
        (Record(ME, "7"), 0, Renew("7")),
        (Record(ME, "7"), 99, Renew("7")),
    ],
)
def test_a_lease_is_taken_when_it_is_free_or_has_stood_still_for_its_time(
    record: Record | None, age: float, expected: object
) -> None:
    assert decide(ME, Seen(record, 100), 100 + age, CLUSTER) == expected


def test_a_renewed_lease_is_waited_for_anew() -> None:
    candidacy = Candidacy(ME, CLUSTER)
    assert candidacy.saw(Record("other", "1"), 0) == Wait(15)
    assert candidacy.saw(Record("other", "2"), 14) == Wait(29)
    assert candidacy.saw(Record("other", "2"), 29) == Take("2")


def test_the_lead_counts_from_before_the_renewal_was_sent() -> None:
    candidacy = Candidacy(ME, CLUSTER)
    candidacy.wrote(Record(ME, "1"), sent_at=100, now=106)
    assert candidacy.left(106) == 4
    assert candidacy.left(110) == 0


def test_who_reads_another_holder_leads_no_more() -> None:
    candidacy = Candidacy(ME, CLUSTER)
    candidacy.wrote(Record(ME, "1"), 100, 100)
    candidacy.saw(Record("other", "2"), 101)
    assert candidacy.left(101) == 0


@pytest.mark.parametrize("terms", [CLUSTER, NODES])
def test_the_lead_ends_well_before_the_lease_may_be_taken(terms: Terms) -> None:
    assert terms.lease_seconds >= 1.5 * terms.renew_seconds
    assert terms.renew_seconds > 2 * terms.retry_seconds


def test_a_thousand_candidates_ask_eight_times_a_second() -> None:
    assert 1000 / NODES.look_seconds < 8.5


@dataclass
class Write:
    """A write on its way. Its answer tells whether it counted."""

    over: str | None
    holder: str
    sent_at: float
    arrived: bool = False
    written: Record | None = None


@dataclass
class Process:
    """One candidate with a clock of its own, and what it waits for: the answer to a question, or to a write."""

    candidacy: Candidacy
    offset: float
    rate: float
    asked: Seen | None = None
    writing: Write | None = None

    def now(self, true_time: float) -> float:
        return self.offset + self.rate * true_time


@dataclass
class Server:
    """What the API server does: a write counts only over the version it names."""

    record: Record | None = None
    version: int = 0

    def apply(self, write: Write) -> None:
        write.arrived = True
        if (self.record.version if self.record else None) == write.over:
            self.version += 1
            self.record = write.written = Record(write.holder, str(self.version))


CLOCKS = ((0.0, 1.0), (5000.0, 1.2), (-70.0, 0.85))
"""Offset and rate: what one calls ten seconds is eight to twelve."""
WHICH = st.sampled_from(range(len(CLOCKS)))


class Election(RuleBasedStateMachine):
    """Three processes, one Lease, and everything that may go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.time = 0.0
        self.started = 0
        self.abandoned: list[Write] = []
        self.processes = [self._start(offset, rate) for offset, rate in CLOCKS]

    def _start(self, offset: float, rate: float) -> Process:
        self.started += 1
        return Process(Candidacy(f"process-{self.started}", CLUSTER), offset, rate)

    @rule(seconds=st.sampled_from([1, 7, 11, 18]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(which=WHICH)
    def a_process_goes_a_step_on(self, which: int) -> None:
        """Asks; hears the answer, as old as it may be, and writes; the write arrives; its answer does."""
        process = self.processes[which]
        now = process.now(self.time)
        if process.writing is not None and not process.writing.arrived:
            self.server.apply(process.writing)
        elif process.writing is not None:
            if process.writing.written is not None:
                process.candidacy.wrote(process.writing.written, process.writing.sent_at, now)
            process.writing = None
        elif process.asked is not None:
            self._hear(process, process.asked.record, now)
        else:
            process.asked = Seen(self.server.record, now)

    def _hear(self, process: Process, record: Record | None, now: float) -> None:
        process.asked = None
        decision = process.candidacy.saw(record, now)
        if not isinstance(decision, Wait):
            process.writing = Write(decision.version, process.candidacy.me, now)

    @rule(which=WHICH)
    def all_goes_well_for_a_process(self, which: int) -> None:
        for _ in range(4):
            self.a_process_goes_a_step_on(which)

    def _give_up_waiting(self, process: Process) -> None:
        """Its question is forgotten; its write may arrive all the same, whenever."""
        if process.writing is not None:
            self.abandoned.append(process.writing)
        process.asked = process.writing = None

    @precondition(lambda self: self.abandoned)
    @rule()
    def a_late_write_arrives(self) -> None:
        self.server.apply(self.abandoned.pop(0))

    @rule(which=WHICH, what=st.sampled_from(["waits no longer", "resigns", "is killed, and another starts"]))
    def a_process_changes_its_mind(self, which: int, what: str) -> None:
        process = self.processes[which]
        self._give_up_waiting(process)
        if what == "resigns" and process.candidacy.resign():
            found = self.server.record
            if found is not None and found.holder == process.candidacy.me:
                self.abandoned.append(Write(found.version, "", process.now(self.time)))
        elif what.startswith("is killed"):
            self.processes[which] = self._start(*CLOCKS[which])

    @invariant()
    def never_two_lead(self) -> None:
        leaders = [p.candidacy.me for p in self.processes if p.candidacy.left(p.now(self.time)) > 0]
        assert len(leaders) <= 1, leaders


TestElection = Election.TestCase
TestElection.settings = settings(max_examples=600, stateful_step_count=30, deadline=None)
