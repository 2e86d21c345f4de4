"""One action of a plan as EC2 calls, one after another, with the belief kept in step.

Decides the order of calls and which refusals mean "done already"; not whether to do it (``planning``) or when to try
again (``execution.executor``). What a pod must never see again is taken out of the belief *before* the call: once
EC2 may have given an address away, no supply may show it.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from eni_crds.names import DESCRIPTION_PREFIX
from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignIpv6Prefix,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    EnsureDeleteOnTermination,
    RemoveEni,
    SetSecurityGroups,
    SetTags,
    Unassign,
)
from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId
from eni_operator.ec2.api import Assigned, Ec2Api, EniRequest
from eni_operator.ec2.errors import BusyError, Ec2Error, IdempotencyMismatchError, NotAssignedError, NotFoundError
from eni_operator.inventory.instance import InstanceInventory

NOT_YET_PAUSES: Final = (0.3, 0.6, 1.2, 2.4)
"""EC2 may not know for a moment what it has just created (eventual consistency)."""
DETACH_SECONDS: Final = 2.0
"""Detaching takes EC2 about this long; deleting before is refused."""
IN_USE_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Detaching took two minutes and more in the field."""

Result = TypeVar("Result")


class Performer:
    """Performs actions on one instance. ``changed`` is called whenever the belief has changed."""

    def __init__(
        self,
        inventory: InstanceInventory,
        ec2: Ec2Api,
        sleep: Callable[[float], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._inventory = inventory
        self._belief = inventory.attachments
        self._ec2 = ec2
        self._sleep = sleep
        self._changed = changed

    async def perform(self, action: Action, own: Callable[[EniId], None]) -> None:
        """Performs an action; ``own`` is told the id of an ENI it creates. Raises the error that stopped it."""
        match action:
            case CreateEni():
                await self._create(action, own)
            case AttachEni():
                await self._attach(action.eni_id, action.device_index, action.network_card)
            case EnsureDeleteOnTermination():
                await self._ensure_delete_on_termination(action.eni_id, action.attachment_id)
            case AssignAddresses() | AssignPrefixes() | AssignIpv6Prefix():
                self._assigned(action.eni_id, await self._assign(action))
            case SetSecurityGroups():
                await self._set_security_groups(action)
            case SetTags():
                await self._set_tags(action)
            case Unassign():
                await self._unassign(action)
            case RemoveEni():
                await self._remove(action)

    async def _assign(self, action: AssignAddresses | AssignPrefixes | AssignIpv6Prefix) -> Assigned:
        match action:
            case AssignAddresses():
                return await self._ec2.assign(action.eni_id, addresses=action.count)
            case AssignPrefixes():
                return await self._ec2.assign(action.eni_id, prefixes=action.count)
            case AssignIpv6Prefix():
                return await self._ec2.assign_ipv6_prefix(action.eni_id)

    def _assigned(self, eni_id: EniId, new: Assigned) -> None:
        self._belief.assigned(eni_id, new)
        self._changed()

    async def _create(self, action: CreateEni, own: Callable[[EniId], None]) -> None:
        request = EniRequest(
            subnet_id=action.subnet_id,
            security_groups=action.security_groups,
            description=f"{DESCRIPTION_PREFIX}{self._inventory.id}",
            tags=action.tags,
            client_token=action.client_token,
            addresses=action.addresses,
            prefixes=action.prefixes,
            ipv6_prefixes=action.ipv6_prefixes,
        )
        known = frozenset(eni.id for eni in self._belief.enis)
        eni = await self._ec2.create_eni(request)
        if eni.id in known:
            # A predecessor's, which the plan took into account: attached elsewhere, adopted, or on its way out.
            detail = f"client token {action.client_token} names {eni.id}, which there is already"
            raise IdempotencyMismatchError("CreateNetworkInterface", detail=detail)
        own(eni.id)
        # A replayed token answers with the ENI as it was when it was made, unattached; it may be attached by now.
        self._belief.created(self._belief.get(eni.id) or eni)
        await self._attach(eni.id, action.device_index, action.network_card)

    async def _attach(self, eni_id: EniId, device_index: int, network_card: int) -> None:
        attachment_id = await self._once_known(
            lambda: self._ec2.attach_eni(eni_id, self._inventory.id, device_index, network_card)
        )
        attachment = Attachment(
            id=attachment_id,
            instance_id=self._inventory.id,
            device_index=device_index,
            network_card=network_card,
            state=AttachmentState.ATTACHING,
            delete_on_termination=False,
        )
        self._belief.attaching(eni_id, attachment)
        self._changed()
        await self._ensure_delete_on_termination(eni_id, attachment_id)

    async def _ensure_delete_on_termination(self, eni_id: EniId, attachment_id: AttachmentId) -> None:
        await self._once_known(lambda: self._ec2.set_delete_on_termination(eni_id, attachment_id))
        self._belief.attached(eni_id)
        self._changed()

    async def _once_known(self, call: Callable[[], Awaitable[Result]]) -> Result:
        for pause in NOT_YET_PAUSES:
            try:
                return await call()
            except NotFoundError:
                await self._sleep(pause)
        return await call()

    async def _set_security_groups(self, action: SetSecurityGroups) -> None:
        await self._ec2.set_security_groups(action.eni_id, action.security_groups)
        self._belief.groups_set(action.eni_id, action.security_groups)
        self._changed()

    async def _set_tags(self, action: SetTags) -> None:
        await self._ec2.set_tags(action.eni_id, action.tags)
        self._belief.tags_set(action.eni_id, action.tags)
        self._changed()

    async def _unassign(self, action: Unassign) -> None:
        before = self._belief.get(action.eni_id)
        self._belief.unassigned(action.eni_id, (*action.addresses, *action.prefixes))
        self._changed()
        try:
            await self._ec2.unassign(action.eni_id, addresses=action.addresses, prefixes=action.prefixes)
        except NotAssignedError:
            await self._unassign_one_by_one(action)
        except NotFoundError:  # the ENI is gone, and all of it with it
            return
        except Ec2Error as error:
            if not error.ambiguous:
                self._restore(before, action)
            raise

    async def _unassign_one_by_one(self, action: Unassign) -> None:
        """One that is gone already fails the whole call, so the rest is still there."""
        for address in action.addresses:
            with suppress(NotFoundError):
                await self._ec2.unassign(action.eni_id, addresses=(address,))
        for prefix in action.prefixes:
            with suppress(NotFoundError):
                await self._ec2.unassign(action.eni_id, prefixes=(prefix,))

    def _restore(self, before: Eni | None, action: Unassign) -> None:
        if before is not None:
            kept = Assigned(
                addresses=tuple(a for a in before.addresses if a in action.addresses),
                prefixes=tuple(p for p in before.prefixes if p in action.prefixes),
            )
            self._assigned(action.eni_id, kept)

    async def _remove(self, action: RemoveEni) -> None:
        if action.attachment_id is not None:
            await self._detach(action.eni_id, action.attachment_id)
        await self._delete(action.eni_id)
        self._belief.deleted(action.eni_id)
        self._changed()

    async def _detach(self, eni_id: EniId, attachment_id: AttachmentId) -> None:
        before = self._belief.get(eni_id)
        self._belief.detaching(eni_id)
        self._changed()
        try:
            with suppress(NotFoundError, BusyError):  # detached or detaching already
                await self._ec2.detach_eni(attachment_id)
        except Ec2Error as error:
            if not error.ambiguous and before is not None:
                self._belief.still_attached(before)
                self._changed()
            raise
        await self._sleep(DETACH_SECONDS)

    async def _delete(self, eni_id: EniId) -> None:
        for pause in IN_USE_PAUSES:
            if await self._is_deleted(eni_id):
                return
            await self._sleep(pause)
        raise BusyError("DeleteNetworkInterface", detail=f"{eni_id} is still in use long after it was detached")

    async def _is_deleted(self, eni_id: EniId) -> bool:
        try:
            await self._ec2.delete_eni(eni_id)
        except NotFoundError:
            return True
        except BusyError:
            return False
        return True
