"""Keeps ENIs as they should be beside their addresses: groups, tags, and that none outlives its instance.

Decides what differs and is ours to change; adds and takes no address. Counterpart: ``execution`` makes the calls.
"""

from collections.abc import Iterator

from eni_crds.nodeippool import EniRole
from eni_operator.domain.actions import Action, EnsureDeleteOnTermination, RemoveEni, SetSecurityGroups, SetTags
from eni_operator.domain.eni import Attachment, Eni, EniId, SecurityGroupId
from eni_operator.domain.pool import World
from eni_operator.planning.holdings import SERVING_STATES, is_ours, role

_FOLLOWING = (EniRole.SECONDARY, EniRole.EFA)
"""Roles whose groups follow; the primary's are the node's own."""


def upkeep(world: World) -> Iterator[Action]:
    """Yields what brings attached ENIs to the groups and tags they should have."""
    for eni in world.enis:
        if not eni.is_attached:
            continue
        if _groups_differ(eni, world):
            yield SetSecurityGroups(eni.id, tuple(SecurityGroupId(group) for group in world.security_groups))
        if missing := _tags_missing(eni, world):
            yield SetTags(eni.id, missing)


def outliving(world: World, adopted: frozenset[EniId]) -> Iterator[Action]:
    """Yields what keeps ENIs of ours from outliving the instance.

    Args:
        world: what there is.
        adopted: unattached ENIs that get attached.
    """
    for eni in world.enis:
        if not is_ours(eni, world.instance):
            continue
        if eni.attachment is None and eni.id not in adopted:
            yield RemoveEni(eni.id, None)
        elif eni.attachment is not None and _would_outlive(eni, eni.attachment, world):
            yield EnsureDeleteOnTermination(eni.id, eni.attachment.id)


def _would_outlive(eni: Eni, attachment: Attachment, world: World) -> bool:
    is_here = attachment.instance_id == world.instance.id and attachment.state in SERVING_STATES
    return is_here and not eni.is_primary and not attachment.delete_on_termination


def _groups_differ(eni: Eni, world: World) -> bool:
    if not world.groups_follow or not world.security_groups or role(eni, world) not in _FOLLOWING:
        return False
    return frozenset(eni.security_groups) != frozenset(world.security_groups)


def _tags_missing(eni: Eni, world: World) -> dict[str, str]:
    """Returns the tags to set; never on an ENI that is not ours, for our instance tag would make it ours."""
    if role(eni, world) is not EniRole.PRIMARY and not _is_ours_and_used(eni, world):
        return {}
    return {key: value for key, value in world.tags.items() if eni.tags.get(key) != value}


def _is_ours_and_used(eni: Eni, world: World) -> bool:
    return is_ours(eni, world.instance) and role(eni, world) is EniRole.SECONDARY
