"""Groups and tags of attached ENIs, on a c5.xlarge. That ENIs die with the instance is tested with placement."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_operator.domain.actions import Action, SetSecurityGroups, SetTags
from eni_operator.domain.eni import AttachmentState, Eni, InterfaceType, SecurityGroupId
from eni_operator.domain.pool import Usage
from eni_operator.planning.plan import plan
from eni_testing.instances import attached, attachment_of, instance_of
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")
ONE, TWO, OLD = SecurityGroupId("sg-1"), SecurityGroupId("sg-2"), SecurityGroupId("sg-9")
PRIMARY = attached(C5, 0, addresses=1)
TAGS = {TAG_INSTANCE: "i-1", "team": "blue"}


def actions(*enis: Eni, paused: bool = False, **fields: Any) -> tuple[Action, ...]:
    """Returns what is done on an instance whose primary is as it should be."""
    primary = replace(PRIMARY, security_groups=(OLD,), tags=TAGS)
    world = world_of("c5.xlarge", primary, *enis, usage=Usage(assigned=1, reported=True))
    fields = {"security_groups": (ONE, TWO), "tags": TAGS} | fields
    return plan(replace(world, **fields), policy_of(warmIPs=0, paused=paused, releaseAfterSeconds=9), 0.0, "n").actions


def second(groups: tuple[SecurityGroupId, ...], **fields: Any) -> Eni:
    return replace(attached(C5, 1, addresses=1, tags=TAGS), security_groups=groups, **fields)


def test_groups_that_differ_are_set_where_they_follow() -> None:
    assert actions(second((OLD,)), groups_follow=True) == (SetSecurityGroups(second(()).id, (ONE, TWO)),)
    assert actions(second((OLD,)), groups_follow=False) == ()


def test_groups_in_another_order_do_not_differ() -> None:
    assert actions(second((TWO, ONE)), groups_follow=True) == ()


def test_no_group_is_taken_away_while_none_is_known() -> None:
    assert actions(second((OLD,)), groups_follow=True, security_groups=()) == ()


@pytest.mark.parametrize("type_", [InterfaceType.TRUNK, InterfaceType.EFA_ONLY, "branch"])
def test_groups_of_interfaces_that_serve_no_pods_are_left(type_: str) -> None:
    assert actions(second((OLD,), interface_type=type_), groups_follow=True) == ()


def test_an_efa_and_a_foreign_eni_get_the_groups_too() -> None:
    for eni in (second((OLD,), interface_type=InterfaceType.EFA), second((OLD,), tags={})):
        assert actions(eni, groups_follow=True) == (SetSecurityGroups(eni.id, (ONE, TWO)),)


def test_missing_and_different_tags_are_set_in_one_call_and_others_stay() -> None:
    tags = {TAG_INSTANCE: "i-1", "team": "red", "owner": "someone"}
    assert actions(second((ONE,), tags=tags)) == (SetTags(second(()).id, {"team": "blue"}),)


def test_the_primary_is_tagged_too() -> None:
    assert actions(tags={**TAGS, "stage": "test"}) == (SetTags(PRIMARY.id, {"stage": "test"}),)


@pytest.mark.parametrize("tags", [{}, {TAG_INSTANCE: "i-2"}, {TAG_INSTANCE: "i-1", TAG_NO_MANAGE: "true"}])
def test_an_eni_that_is_not_ours_is_not_tagged(tags: dict[str, str]) -> None:
    """Our instance tag would make it ours."""
    assert actions(second((ONE,), tags=tags)) == ()


def test_nothing_is_kept_up_while_attaching_paused_or_leaving() -> None:
    wrong = second((OLD,), tags={TAG_INSTANCE: "i-1"})
    coming = replace(wrong, attachment=attachment_of(C5, 1, AttachmentState.ATTACHING))
    assert actions(coming, groups_follow=True) == ()
    assert actions(wrong, groups_follow=True, paused=True) == ()
    assert actions(wrong, groups_follow=True, leaving=True) == ()
    assert len(actions(wrong, groups_follow=True, unschedulable=True)) == 2
