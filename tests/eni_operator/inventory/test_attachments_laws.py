"""Laws of the belief about ENIs under any order of changes and of answers that are up to a minute old."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId, InstanceId, SubnetId
from eni_operator.ec2.api import Assigned
from eni_operator.inventory.attachments import CONFIRM_SECONDS, GRACE_SECONDS, Attachments

ONE = EniId("eni-1")
TIE = Attachment(AttachmentId("eni-attach-1"), InstanceId("i-1"), 1, 0, AttachmentState.ATTACHED, True)  # noqa: FBT003 - a value
BARE = Eni(ONE, "02:00:00:00:00:01", SubnetId("subnet-1"), "10.0.0.4", attachment=TIE)


class History:
    """The truth about one ENI at every instant, and a belief that hears of it late."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.past: list[tuple[float, Eni | None]] = [(-math.inf, BARE)]
        self.belief = Attachments(lambda: self.now)
        self.belief.observe([BARE])
        self.given_back: set[str] = set()

    @property
    def truth(self) -> Eni:
        eni = self.past[-1][1]
        assert eni is not None
        return eni

    def becomes(self, eni: Eni) -> None:
        self.past.append((self.now, eni))

    def assign(self, part: str, cidr: str) -> None:
        self.becomes(replace(self.truth, **{part: (*getattr(self.truth, part), cidr)}))  # type: ignore[arg-type] # part names a field of CIDRs
        self.belief.assigned(ONE, Assigned(**{part: (cidr,)}))

    def unassign(self, part: str, *, by_us: bool) -> None:
        held = getattr(self.truth, part)
        if not held:
            return
        self.becomes(replace(self.truth, **{part: held[1:]}))
        if by_us:
            self.given_back.add(held[0])
            self.belief.unassigned(ONE, held[:1])

    def answer(self, lag: float, *, attached_only: bool) -> None:
        then = [eni for at, eni in self.past if at <= self.now - lag][-1]
        self.belief.observe([then] if then is not None else [], attached_only=attached_only)

    def believed(self) -> set[str]:
        [eni] = self.belief.enis
        return {*eni.addresses, *eni.prefixes, *eni.ipv6_prefixes}

    def true(self) -> set[str]:
        return {*self.truth.addresses, *self.truth.prefixes, *self.truth.ipv6_prefixes}


PARTS = st.sampled_from(("addresses", "prefixes", "ipv6_prefixes"))
STEPS = st.one_of(
    st.tuples(st.just("assign"), PARTS),
    st.tuples(st.just("unassign"), PARTS),
    st.tuples(st.just("taken"), PARTS),
    st.tuples(st.just("answer"), st.floats(0, GRACE_SECONDS - 1), st.booleans()),
    st.tuples(st.just("wait"), st.floats(0, 3 * CONFIRM_SECONDS)),
)


def play(history: History, step: tuple[object, ...], number: int) -> None:
    match step:
        case ("assign", str(part)):
            history.assign(part, f"cidr-{number}")
        case ("unassign", str(part)):
            history.unassign(part, by_us=True)
        case ("taken", str(part)):
            history.unassign(part, by_us=False)
        case ("answer", float(lag), bool(attached_only)):
            history.answer(lag, attached_only=attached_only)
        case ("wait", float(seconds)):
            history.now += seconds


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_no_old_answer_drops_what_we_have_or_brings_back_what_we_gave_up(steps: list[tuple[object, ...]]) -> None:
    history = History()
    for number, step in enumerate(steps):
        play(history, step, number)
        assert history.true() <= history.believed(), "an address that is ours was dropped"
        assert not history.given_back & history.believed(), "an address we gave back is on offer again"


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=30))
def test_fresh_answers_when_asked_for_make_the_belief_true(steps: list[tuple[object, ...]]) -> None:
    history = History()
    for number, step in enumerate(steps):
        play(history, step, number)
    history.now += 1
    history.answer(0.0, attached_only=False)
    looks = 0
    while (at := history.belief.look_again_at()) is not None:
        history.now = max(history.now, at)
        history.answer(0.0, attached_only=not history.belief.wants_unattached)
        looks += 1
        assert looks < 50, "what is open is never settled"
    assert history.believed() == history.true()


@given(st.lists(st.floats(0, 100), max_size=20))
def test_a_list_of_attached_enis_alone_never_drops_one(waits: list[float]) -> None:
    history = History()
    for wait in waits:
        history.now += wait
        history.belief.observe([], attached_only=True)
        assert history.belief.get(ONE) is not None
