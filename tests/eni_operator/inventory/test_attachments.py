"""The belief about ENIs against answers that are too old, too short, or late."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    EniId,
    InstanceId,
    SecurityGroupId,
    SubnetId,
)
from eni_operator.ec2.api import Assigned
from eni_operator.inventory.attachments import CONFIRM_SECONDS, GRACE_SECONDS, Attachments

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = EniId("eni-1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def belief(clock: Clock) -> Attachments:
    return Attachments(clock)


def attachment(state: AttachmentState = AttachmentState.ATTACHED, *, dies: bool = True) -> Attachment:
    return Attachment(AttachmentId("eni-attach-1"), InstanceId("i-1"), 1, 0, state, dies)


def eni(*addresses: str, attached: Attachment | None = None) -> Eni:
    return Eni(ONE, "02:00:00:00:00:01", SubnetId("subnet-1"), "10.0.0.4", addresses=addresses, attachment=attached)


def only(belief: Attachments) -> Eni:
    [found] = belief.enis
    return found


def test_what_one_answer_lacks_stays_and_is_looked_at_again(belief: Attachments, clock: Clock) -> None:
    belief.observe([eni("10.0.0.5", "10.0.0.6", attached=attachment())])
    belief.observe([eni("10.0.0.5", attached=attachment())])
    assert only(belief).addresses == ("10.0.0.5", "10.0.0.6")
    assert belief.look_again_at() == clock.now + CONFIRM_SECONDS


def test_what_a_later_answer_lacks_too_is_gone(belief: Attachments, clock: Clock) -> None:
    belief.observe([eni("10.0.0.5", "10.0.0.6", attached=attachment())])
    belief.observe([])
    assert only(belief).addresses == ("10.0.0.5", "10.0.0.6")
    clock.now += CONFIRM_SECONDS - 1
    belief.observe([])
    assert len(belief.enis) == 1
    clock.now += 1
    belief.observe([])
    assert not belief.enis
    assert belief.look_again_at() is None


def test_what_shows_up_again_meanwhile_starts_anew(belief: Attachments, clock: Clock) -> None:
    whole, short = eni("10.0.0.5", attached=attachment()), eni(attached=attachment())
    belief.observe([whole])
    belief.observe([short])
    belief.observe([whole])
    clock.now += CONFIRM_SECONDS
    belief.observe([short])
    assert only(belief).addresses == ("10.0.0.5",)


def test_an_address_we_gave_back_does_not_return_with_an_old_answer(belief: Attachments, clock: Clock) -> None:
    whole = eni("10.0.0.5", "10.0.0.6", attached=attachment())
    belief.observe([whole])
    belief.unassigned(ONE, ["10.0.0.6"])
    belief.observe([whole])
    assert only(belief).addresses == ("10.0.0.5",)
    clock.now += GRACE_SECONDS
    belief.observe([whole])
    assert only(belief).addresses == ("10.0.0.5", "10.0.0.6")


def test_an_address_that_ec2_gives_anew_counts_at_once(belief: Attachments) -> None:
    belief.observe([eni("10.0.0.5", attached=attachment())])
    belief.unassigned(ONE, ["10.0.0.5"])
    belief.assigned(ONE, Assigned(addresses=("10.0.0.5",)))
    belief.observe([eni("10.0.0.5", attached=attachment())])
    assert only(belief).addresses == ("10.0.0.5",)


def test_an_answer_is_not_doubled_by_our_own_note_of_it(belief: Attachments) -> None:
    belief.observe([eni("10.0.0.5", attached=attachment())])
    belief.assigned(ONE, Assigned(addresses=("10.0.0.5", "10.0.0.6"), prefixes=("10.0.0.16/28",)))
    assert only(belief).addresses == ("10.0.0.5", "10.0.0.6")
    assert only(belief).prefixes == ("10.0.0.16/28",)


def test_a_deleted_eni_never_comes_back(belief: Attachments) -> None:
    belief.observe([eni()])
    belief.deleted(ONE)
    belief.observe([eni()])
    assert belief.enis == ()


def test_an_old_answer_does_not_undo_an_attachment(belief: Attachments) -> None:
    belief.created(eni())
    belief.attaching(ONE, attachment(AttachmentState.ATTACHING, dies=False))
    belief.attached(ONE)
    belief.observe([eni()])
    belief.observe([eni(attached=attachment(AttachmentState.ATTACHING, dies=False))])
    assert only(belief).attachment == attachment()


def test_an_attachment_that_ends_elsewhere_is_believed_in_the_end(belief: Attachments, clock: Clock) -> None:
    belief.observe([eni(attached=attachment())])
    belief.observe([eni()])
    clock.now += CONFIRM_SECONDS
    belief.observe([eni()])
    assert only(belief).attachment is None


def test_detaching_by_somebody_else_is_believed_at_once(belief: Attachments) -> None:
    belief.observe([eni(attached=attachment())])
    belief.observe([eni(attached=attachment(AttachmentState.DETACHING))])
    assert only(belief).attachment == attachment(AttachmentState.DETACHING)


def test_an_eni_we_detach_is_not_served_again_by_an_old_answer(belief: Attachments) -> None:
    belief.observe([eni(attached=attachment())])
    belief.detaching(ONE)
    belief.observe([eni(attached=attachment())])
    assert only(belief).attachment == attachment(AttachmentState.DETACHING)
    belief.observe([eni()])
    assert only(belief).attachment is None


def test_a_refused_detachment_is_undone(belief: Attachments) -> None:
    before = eni(attached=attachment())
    belief.observe([before])
    belief.detaching(ONE)
    belief.still_attached(before)
    belief.observe([before])
    assert only(belief) == before


def test_an_eni_in_transit_is_looked_at_soon(belief: Attachments, clock: Clock) -> None:
    belief.observe([eni(attached=attachment(AttachmentState.ATTACHING))])
    assert belief.look_again_at() == clock.now + 1


def test_every_change_is_counted(belief: Attachments) -> None:
    seen = [belief.version]
    changes: list[Callable[[], None]] = [
        lambda: belief.observe([eni(attached=attachment())]),
        lambda: belief.assigned(ONE, Assigned(addresses=("10.0.0.9",))),
        lambda: belief.unassigned(ONE, ["10.0.0.9"]),
        lambda: belief.attached(ONE),
        lambda: belief.detaching(ONE),
        lambda: belief.deleted(ONE),
        lambda: belief.created(eni()),
    ]
    for change in changes:
        change()
        seen.append(belief.version)
    assert seen == sorted(set(seen))


def test_enis_come_by_device_index_and_unattached_last(belief: Attachments) -> None:
    second = replace(eni(attached=replace(attachment(), device_index=2)), id=EniId("eni-2"))
    loose = replace(eni(), id=EniId("eni-0"))
    belief.observe([loose, second, eni(attached=attachment())])
    assert [e.id for e in belief.enis] == ["eni-1", "eni-2", "eni-0"]


def test_an_ipv6_prefix_is_dropped_by_the_second_answer_that_lacks_it(belief: Attachments, clock: Clock) -> None:
    whole = replace(eni(attached=attachment()), ipv6_prefixes=("2600:1f13::/80",))
    belief.observe([whole])
    belief.observe([eni(attached=attachment())])
    assert only(belief).ipv6_prefixes == ("2600:1f13::/80",)
    clock.now += CONFIRM_SECONDS
    belief.observe([eni(attached=attachment())])
    assert only(belief).ipv6_prefixes == ()


def test_groups_and_tags_we_set_outlive_an_old_answer_and_yield_to_a_later_one(
    belief: Attachments, clock: Clock
) -> None:
    before = replace(eni(attached=attachment()), security_groups=(SecurityGroupId("sg-1"),), tags={"a": "1", "b": "1"})
    belief.observe([before])
    belief.groups_set(ONE, [SecurityGroupId("sg-2")])
    belief.tags_set(ONE, {"a": "2"})
    belief.observe([replace(before, tags={"a": "1", "b": "3"})])
    assert only(belief).security_groups == ("sg-2",)
    assert only(belief).tags == {"a": "2", "b": "3"}
    assert belief.look_again_at() == clock.now + GRACE_SECONDS
    clock.now += GRACE_SECONDS
    belief.observe([before])
    assert only(belief) == before
    assert belief.look_again_at() is None


def test_an_answer_that_contradicts_what_we_gave_back_is_looked_into(belief: Attachments, clock: Clock) -> None:
    whole = eni("10.0.0.5", attached=attachment())
    belief.observe([whole])
    belief.unassigned(ONE, ["10.0.0.5"])
    belief.observe([whole])
    assert belief.look_again_at() == clock.now + GRACE_SECONDS
    belief.observe([eni(attached=attachment())])
    assert belief.look_again_at() is None


def test_what_we_made_ourselves_is_not_dropped_by_answers_that_stay_old(belief: Attachments, clock: Clock) -> None:
    belief.created(eni())
    belief.attaching(ONE, attachment())
    belief.assigned(ONE, Assigned(addresses=("10.0.0.5",)))
    for _ in range(int(GRACE_SECONDS) - 1):
        clock.now += 1
        belief.observe([])
    assert only(belief).addresses == ("10.0.0.5",)
    assert belief.look_again_at() == clock.now + 1


def test_an_eni_that_we_detach_is_not_looked_at_again_and_again(belief: Attachments) -> None:
    belief.observe([eni(attached=attachment())])
    belief.detaching(ONE)
    assert belief.look_again_at() is None


def test_what_a_predecessor_may_have_given_back_counts_when_a_later_answer_shows_it_too(
    belief: Attachments, clock: Clock
) -> None:
    belief.took_over([(ONE, "10.0.0.5")])
    belief.observe([eni("10.0.0.5", "10.0.0.6", attached=attachment())])
    assert (only(belief).addresses, belief.is_unsure) == (("10.0.0.5",), True)
    assert belief.look_again_at() == clock.now + CONFIRM_SECONDS
    clock.now += CONFIRM_SECONDS
    belief.observe([eni("10.0.0.5", "10.0.0.6", attached=attachment())])
    assert (only(belief).addresses, belief.is_unsure) == (("10.0.0.5", "10.0.0.6"), False)


def test_what_we_assign_ourselves_counts_though_no_predecessor_wrote_it(belief: Attachments) -> None:
    belief.took_over([])
    belief.observe([eni(attached=attachment())])
    belief.assigned(ONE, Assigned(addresses=("10.0.0.6",)))
    belief.observe([eni("10.0.0.6", attached=attachment())])
    assert (only(belief).addresses, belief.is_unsure) == (("10.0.0.6",), False)
