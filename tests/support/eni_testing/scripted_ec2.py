"""The executor on an EC2 that answers as a test has scripted it, with a clock set by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eni_operator.domain.actions import Action, CreateEni
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
from eni_operator.ec2.api import Assigned, EniRequest
from eni_operator.execution.executor import Executor
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.region import Region

if TYPE_CHECKING:
    from eni_operator.ec2.errors import Ec2Error

ONE, TWO = EniId("eni-1"), EniId("eni-2")
SUBNET = SubnetId("subnet-1")
GOOD, BAD = SecurityGroupId("sg-good"), SecurityGroupId("sg-bad")


class ScriptedEc2:
    """Answers at once, or fails as scripted, one error for each call of an API; holds calls while ``gate`` is shut."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.requests: list[EniRequest] = []
        self.errors: dict[str, list[Ec2Error]] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def _call(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        await self.gate.wait()
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    async def create_eni(self, request: EniRequest) -> Eni:
        await self._call("create", request.client_token)
        self.requests.append(request)
        return Eni(ONE, "02:00:00:00:00:01", request.subnet_id, "10.0.0.4")

    async def attach_eni(
        self, eni_id: EniId, _instance_id: InstanceId, device_index: int, network_card: int
    ) -> AttachmentId:
        await self._call("attach", eni_id, device_index, network_card)
        return AttachmentId("eni-attach-1")

    async def assign_ipv6_prefix(self, eni_id: EniId) -> Assigned:
        await self._call("assign-ipv6", eni_id)
        return Assigned(ipv6_prefixes=("fd00::/80",))

    async def set_security_groups(self, eni_id: EniId, security_groups: tuple[SecurityGroupId, ...]) -> None:
        await self._call("groups", eni_id, *security_groups)

    async def set_tags(self, eni_id: EniId, tags: dict[str, str]) -> None:
        await self._call("tags", eni_id, *tags.items())

    async def set_delete_on_termination(self, eni_id: EniId, _attachment_id: AttachmentId) -> None:
        await self._call("modify", eni_id)

    async def detach_eni(self, attachment_id: AttachmentId) -> None:
        await self._call("detach", attachment_id)

    async def delete_eni(self, eni_id: EniId) -> None:
        await self._call("delete", eni_id)

    async def assign(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> Assigned:
        await self._call("assign", eni_id, addresses, prefixes)
        return Assigned(addresses=tuple(f"10.0.1.{n}" for n in range(addresses)))

    async def unassign(self, eni_id: EniId, *, addresses: tuple[str, ...] = (), prefixes: tuple[str, ...] = ()) -> None:
        await self._call("unassign", eni_id, *addresses, *prefixes)


class Bench:
    """An executor on a scripted EC2 and a virtual clock; what it would have slept is in ``slept``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.changes = 0
        self.ec2 = ScriptedEc2()
        region = Region(self.ec2, self.clock)  # type: ignore[arg-type] # an executor only writes
        self.inventory = InstanceInventory(
            InstanceId("i-1"), region, clock=self.clock, jitter=lambda: 1.0, resync_seconds=1800
        )
        self.executor = Executor(
            self.inventory,
            region.ec2,
            clock=self.clock,
            sleep=self.sleep,
            jitter=lambda: 1.0,
            changed=self._changed,
        )

    def clock(self) -> float:
        """Returns the virtual time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Takes no time."""
        self.slept.append(seconds)

    def _changed(self) -> None:
        self.changes += 1

    def holds(self, eni_id: EniId, *addresses: str, attached: bool = True) -> Eni:
        """Makes the inventory believe in an ENI of the instance, or in one that is not attached."""
        tie = Attachment(AttachmentId("eni-attach-9"), InstanceId("i-1"), 1, 0, AttachmentState.ATTACHED, True)  # noqa: FBT003 - a value
        eni = Eni(eni_id, "02:00:00:00:00:09", SUBNET, "10.0.0.9", (), addresses, attachment=tie if attached else None)
        self.inventory.attachments.created(eni)
        return eni

    def believed(self, eni_id: EniId) -> Eni | None:
        """Returns what the inventory believes of an ENI."""
        return self.inventory.attachments.get(eni_id)

    async def perform(self, *actions: Action) -> None:
        """Lets the executor work on a plan until it has nothing more to do."""
        self.executor.start(actions)
        await self.executor.settle()


def creation(device: int = 1, card: int = 0, groups: tuple[SecurityGroupId, ...] = ()) -> CreateEni:
    """Returns the creation of a bare ENI with an IPv6 prefix."""
    return CreateEni(
        device, SUBNET, groups, addresses=0, prefixes=0, client_token="t", tags={}, network_card=card, ipv6_prefixes=1
    )
