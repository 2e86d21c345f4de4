"""A model of Amazon VPC CNI's daemon (v1.23): its timers, its calls in their order, its retries. Not its code.

Decides as ipamd does from its constants and measured call order: describe at start, a pool loop of 5 s, one step in
each, six calls for a new ENI. Left out, all to its favour: kubelet's waiting between failed ADDs, shrinking (nothing
here is surplus to it), metadata latency beyond the link's. Counterpart: ``ours``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.fleet.account import THROTTLED, Account
from benchmarks.fleet.progress import Progress
from benchmarks.fleet.scenarios import PODS, Scenario

from eni_lab.aws.engine.errors import Ec2Error
from eni_testing.virtual_loop import now

PREFIX: Final = 16
OWN_START_SECONDS: Final = 1.3
"""Measured: 2.3 s to SERVING less the calls; most of it is the first read of its Node."""
SDK_ATTEMPTS: Final = 3
"""AWS SDK for Go v2, standard mode: throttles wait a random part of 2, then of 4 seconds."""
HALF_LOOP_SECONDS: Final = 2.5
RECONCILE_SECONDS: Final = 60.0
DESCRIBE_TRIES: Final = 12
TAG_TRIES: Final = 5
SETUP_TRIES: Final = 6
SETUP_PAUSE_SECONDS: Final = 10.0
DETACH_PAUSE_SECONDS: Final = 2.0
REMOVE_TRIES: Final = 12
LONGEST_PAUSE_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 3600.0
SWEEP_SPREAD_SECONDS: Final = 299.0
METADATA_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
CRASH_PAUSES: Final = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Kubelet's, after a container has ended."""
TAG: Final = "node.k8s.amazonaws.com/instance_id"


@dataclass(frozen=True, slots=True)
class Targets:
    """VPC CNI's settings; zero is not set."""

    warm_ips: int = 0
    minimum_ips: int = 0


DEFAULT: Final = Targets()
"""WARM_ENI_TARGET=1, or WARM_PREFIX_TARGET=1 with prefixes."""
TUNED: Final = Targets(warm_ips=1, minimum_ips=PODS + 1)
"""The least calls and the fewest idle addresses there are for just these pods."""


class FatalError(Exception):
    """The daemon ends; kubelet starts it again."""


@dataclass(slots=True)
class _Eni:
    id: str
    cidrs: int


class Ipamd:
    """One node's daemon."""

    def __init__(
        self, account: Account, scenario: Scenario, node: str, instance_id: str, targets: Targets, progress: Progress
    ) -> None:
        self._account = account
        self._node = node
        self._instance_id = instance_id
        self._targets = targets
        self._progress = progress
        self._maximum_pods = scenario.maximum_pods
        self._unit = PREFIX if scenario.prefixes else 1
        limits = account.engine.region.instance_type(scenario.instance_type)
        self._slots, self._maximum_enis = limits.ipv4_per_eni - 1, limits.maximum_enis
        self._random = random.Random(account.random.random())
        self._enis: list[_Eni] = []
        self._unknown: list[_Eni] = []
        """Attached, but their setup failed: found at the next reconciliation."""
        self._is_serving = False
        self._tagged = False
        self._acted_at = 0.0

    async def run(self) -> None:
        """Runs for ever."""
        crashes = 0
        while not self._is_serving:
            await asyncio.sleep(OWN_START_SECONDS)
            try:
                await self._start()
            except FatalError:
                self._enis.clear()
                await asyncio.sleep(CRASH_PAUSES[min(crashes, len(CRASH_PAUSES) - 1)])
                crashes += 1
        await asyncio.gather(self._pool_loop(), self._sweep_loop())

    # EC2

    async def _ec2(self, action: str, **args: Any) -> Any:
        for attempt in range(1, SDK_ATTEMPTS):
            try:
                return await self._account.call(action, args)
            except Ec2Error as error:
                if error.code != THROTTLED:
                    raise
            await asyncio.sleep(self._random.random() * 2**attempt)
        return await self._account.call(action, args)

    async def _insist(self, tries: int, pause: float, call: Callable[[], Awaitable[Any]]) -> Any:
        for attempt in range(tries - 1):
            try:
                return await call()
            except Ec2Error:
                await asyncio.sleep(min(pause * 2**attempt, LONGEST_PAUSE_SECONDS))
        return await call()

    # Start

    async def _start(self) -> None:
        try:
            await self._describe_all()
            await self._tag()
        except Ec2Error as error:
            raise FatalError from error
        for eni in self._account.enis(self._instance_id):
            await self._set_up_patiently(_Eni(eni.id, len(eni.prefixes if self._unit > 1 else eni.addresses)))
        await self._write_groups()
        await self._prescale()
        self._is_serving = True
        self._note()

    async def _describe_all(self) -> None:
        ids = [eni.id for eni in self._account.enis(self._instance_id)]
        for attempt in range(1, DESCRIBE_TRIES):
            try:
                await self._ec2("DescribeNetworkInterfaces", NetworkInterfaceIds=ids)
            except Ec2Error:
                await asyncio.sleep(attempt * 0.01)
            else:
                return
        await self._ec2("DescribeNetworkInterfaces", NetworkInterfaceIds=ids)

    async def _tag(self) -> None:
        if self._tagged:
            return
        [primary, *_] = self._account.enis(self._instance_id)
        tags = [{"Key": TAG, "Value": self._instance_id}]
        await self._insist(TAG_TRIES, 0.5, lambda: self._ec2("CreateTags", Resources=[primary.id], Tags=tags))
        self._tagged = True

    async def _set_up_patiently(self, eni: _Eni) -> None:
        for _ in range(SETUP_TRIES):
            try:
                await self._set_up(eni)
            except Ec2Error:
                await asyncio.sleep(SETUP_PAUSE_SECONDS)
            else:
                return
        self._unknown.append(eni)

    async def _set_up(self, eni: _Eni) -> None:
        await self._describe_subnets()
        self._enis.append(eni)

    async def _write_groups(self) -> None:
        for eni in self._account.enis(self._instance_id):
            try:
                await self._ec2("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni.id, Groups=list(eni.groups))
            except Ec2Error:
                continue  # only logged

    async def _prescale(self) -> None:
        if not self._is_low():
            return
        try:
            await self._grow()
        except Ec2Error as error:
            if error.code == THROTTLED and self._has_room():
                raise FatalError from error

    # The pool

    @property
    def _total(self) -> int:
        return sum(eni.cidrs for eni in self._enis) * self._unit

    @property
    def _assigned(self) -> int:
        return min(PODS, self._total) if self._is_serving else 0

    @property
    def _short(self) -> int:
        free = self._total - self._assigned
        return max(self._targets.warm_ips - free, self._targets.minimum_ips - self._total, 0)

    @property
    def _has_targets(self) -> bool:
        return bool(self._targets.warm_ips or self._targets.minimum_ips)

    def _is_low(self) -> bool:
        if self._total >= self._maximum_pods:
            return False
        if self._has_targets:
            return self._short > 0
        return self._total - self._assigned < (PREFIX if self._unit > 1 else self._slots)

    def _has_room(self) -> bool:
        return any(eni.cidrs < self._slots for eni in self._enis)

    def _wanted(self) -> int:
        """Returns the CIDRs one step asks for."""
        if self._unit > 1:
            return max(1, -(-self._short // PREFIX) if self._has_targets else 1)
        return self._short if self._has_targets else self._slots

    async def _pool_loop(self) -> None:
        """Runs until there is nothing to do: pods neither come nor go here, so nothing can come up later."""
        while self._is_low() or self._unknown:
            await asyncio.sleep(HALF_LOOP_SECONDS)
            with suppress(Ec2Error):  # only logged; the next loop tries again
                if self._is_low() and await self._grow():
                    self._acted_at = now()
            self._note()
            await asyncio.sleep(HALF_LOOP_SECONDS)
            if now() - self._acted_at > RECONCILE_SECONDS:
                self._acted_at = now()
                with suppress(Ec2Error):
                    await self._reconcile()
                self._note()

    async def _grow(self) -> bool:
        """Takes one step; tells whether it brought anything."""
        for eni in self._enis:
            if eni.cidrs < self._slots:
                await self._assign(eni, min(self._slots - eni.cidrs, self._wanted()))
                return True
        attached = len(self._account.enis(self._instance_id))
        if attached < self._maximum_enis and self._wanted() > 0:
            return await self._new_eni(min(self._wanted(), self._slots))
        return False

    async def _assign(self, eni: _Eni, count: int) -> None:
        name = "Ipv4PrefixCount" if self._unit > 1 else "SecondaryPrivateIpAddressCount"
        try:
            await self._ec2("AssignPrivateIpAddresses", NetworkInterfaceId=eni.id, **{name: count})
        except Ec2Error:
            count = 1  # tried once more with one
            await self._ec2("AssignPrivateIpAddresses", NetworkInterfaceId=eni.id, **{name: count})
        eni.cidrs += count

    async def _new_eni(self, count: int) -> bool:
        await self._describe_subnets()
        eni_id = await self._create(count)
        attachment_id = await self._attach(eni_id)
        if attachment_id is None or not await self._dies_with_instance(eni_id, attachment_id):
            return False
        await self._wait_for_link(eni_id)
        eni = _Eni(eni_id, count)
        try:
            await self._set_up(eni)
        except Ec2Error:
            self._unknown.append(eni)
            raise
        return True

    async def _create(self, count: int) -> str:
        instance = self._account.engine.region.instance(self._instance_id)
        primary = self._account.enis(self._instance_id)[0]
        name = "Ipv4PrefixCount" if self._unit > 1 else "SecondaryPrivateIpAddressCount"
        tags = [{"ResourceType": "network-interface", "Tags": [{"Key": TAG, "Value": self._instance_id}]}]
        reply = await self._ec2(
            "CreateNetworkInterface",
            SubnetId=instance.subnet_id,
            Groups=list(primary.groups),
            TagSpecifications=tags,
            **{name: count},
        )
        return str(reply["NetworkInterface"]["NetworkInterfaceId"])

    async def _attach(self, eni_id: str) -> str | None:
        try:
            await self._ec2("DescribeInstances", InstanceIds=[self._instance_id])
            index = len(self._account.enis(self._instance_id))
            reply = await self._ec2(
                "AttachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=self._instance_id, DeviceIndex=index
            )
        except Ec2Error:
            await self._delete(eni_id)
            return None
        return str(reply["AttachmentId"])

    async def _dies_with_instance(self, eni_id: str, attachment_id: str) -> bool:
        attachment = {"AttachmentId": attachment_id, "DeleteOnTermination": True}
        try:
            await self._ec2("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni_id, Attachment=attachment)
        except Ec2Error:
            await self._insist(
                REMOVE_TRIES, 0.2, lambda: self._ec2("DetachNetworkInterface", AttachmentId=attachment_id)
            )
            await asyncio.sleep(DETACH_PAUSE_SECONDS)
            await self._delete(eni_id)
            return False
        return True

    async def _delete(self, eni_id: str) -> None:
        await self._insist(REMOVE_TRIES, 0.5, lambda: self._ec2("DeleteNetworkInterface", NetworkInterfaceId=eni_id))

    async def _wait_for_link(self, eni_id: str) -> None:
        for pause in METADATA_PAUSES:
            if self._account.linked(eni_id) <= now():
                return
            await asyncio.sleep(pause)

    async def _describe_subnets(self) -> None:
        region = self._account.engine.region
        subnet = region.subnet(region.instance(self._instance_id).subnet_id)
        filters = [
            {"Name": "vpc-id", "Values": [subnet.vpc_id]},
            {"Name": "availability-zone", "Values": [subnet.zone]},
        ]
        await self._ec2("DescribeSubnets", Filters=filters)

    async def _reconcile(self) -> None:
        """What metadata shows costs EC2 nothing unless there is an ENI the daemon does not know."""
        if self._unknown:
            await self._describe_all()
        while self._unknown:
            await self._set_up(self._unknown[0])
            del self._unknown[0]

    async def _sweep_loop(self) -> None:
        filters = [{"Name": "tag-key", "Values": [TAG]}, {"Name": "status", "Values": ["available"]}]
        while True:
            await asyncio.sleep(self._random.uniform(0, SWEEP_SPREAD_SECONDS))
            with suppress(Ec2Error):
                await self._ec2("DescribeNetworkInterfaces", Filters=filters, MaxResults=1000)
            await asyncio.sleep(SWEEP_SECONDS)

    def _note(self) -> None:
        if self._is_serving and self._total >= PODS:
            self._progress.serves(self._node)
