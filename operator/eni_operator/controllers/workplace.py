"""One instance as the loop works on it: what is believed of it, what is done to it, and what EC2 refused to tell.

Decides when subnets are asked for; the rest of the asking is timed by ``inventory.instance``, the doing by
``execution.executor``. A node that comes back as another instance gets another workplace: nothing is shared.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from eni_operator.controllers.refusals import Refusal
from eni_operator.controllers.worlds import Believed
from eni_operator.domain.eni import InstanceId, SubnetId
from eni_operator.domain.instance import Instance, Subnet
from eni_operator.ec2.api import Ec2Api
from eni_operator.ec2.errors import DeniedError, Ec2Error
from eni_operator.execution.executor import Executor
from eni_operator.inventory.hints import Hints
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.metadata import Metadata
from eni_operator.inventory.region import Region
from eni_operator.planning.sourcing import Question

log = logging.getLogger(__name__)

ASK_AGAIN_SECONDS: Final = 15.0
"""Least wait after EC2 would not tell of subnets."""
DENIED_SECONDS: Final = 300.0
"""A missing permission is not mended by asking."""


@dataclass(frozen=True, slots=True)
class Seams:
    """What a process has and a test brings: time, chance, and the instance's own knowledge of itself."""

    clock: Callable[[], float]
    """Unix seconds."""
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    """A factor around one."""
    nonce: Callable[[], str]
    """Never the same twice, in this process or another."""
    own_instance: Callable[[], Awaitable[InstanceId]]
    """Asks the metadata service; raises MetadataError."""


class Workplace:
    """Belief and executor of one instance. ``changed`` is called when something in EC2 has ended."""

    def __init__(
        self,
        instance_id: InstanceId,
        region: Region,
        ec2: Ec2Api,
        seams: Seams,
        *,
        resync_seconds: float,
        changed: Callable[[], None],
    ) -> None:
        self.instance_id = instance_id
        self._region = region
        self._seams = seams
        self.inventory = InstanceInventory(
            instance_id, region, clock=seams.clock, jitter=seams.jitter, resync_seconds=resync_seconds
        )
        self.executor = Executor(
            self.inventory, ec2, clock=seams.clock, sleep=seams.sleep, jitter=seams.jitter, changed=changed
        )
        self._asked: Question | None = None
        self._found: tuple[SubnetId, ...] = ()
        self._hints: Hints | None = None
        self._look_failure: Refusal | None = None
        self._subnet_failure: Refusal | None = None

    @property
    def refusals(self) -> list[Refusal]:
        """Returns everything EC2 refuses at the moment."""
        asking = [failure for failure in (self._look_failure, self._subnet_failure) if failure is not None]
        return [*asking, *(Refusal(f.error, f.action, f.retry_at) for f in self.executor.failures)]

    def again_at(self) -> float:
        """Returns when to work again though nothing changes."""
        times = (self.inventory.look_at(), self.executor.retry_at(), self._subnets_at())
        return min(time for time in times if time is not None)

    def _subnets_at(self) -> float | None:
        return self._subnet_failure.retry_at if self._subnet_failure is not None else None

    @property
    def believed(self) -> Believed:
        """Returns the ENIs and the subnets as believed now."""
        return Believed(self.inventory.attachments.enis, self._region.subnets.known())

    async def is_hinted(self, metadata: Metadata) -> bool:
        """Asks metadata when it is time to; tells whether EC2 is worth a look now."""
        if self._hints is None:
            self._hints = Hints(metadata, self.inventory, clock=self._seams.clock, jitter=self._seams.jitter)
        return await self._hints.poll()

    async def look(self) -> None:
        """Asks EC2 for the instance and its ENIs when it is time to; keeps the refusal where it refuses."""
        if self._seams.clock() < self.inventory.look_at():
            return
        try:
            await self.inventory.look()
        except Ec2Error as error:
            log.warning("EC2 could not be asked", extra={"error": str(error), "instance": self.instance_id})
            self._look_failure = Refusal(error, None, self.inventory.look_at())
        else:
            self._look_failure = None

    async def subnets(self, question: Question, instance: Instance, *, growing: bool) -> tuple[Subnet, ...]:
        """Returns the answer to a question about subnets: EC2's last one where it does not answer now.

        Where subnet discovery is denied that is the instance's own subnet, as VPC CNI promises. ``growing`` means
        that the pool makes ENIs, so that an old list will not do.
        """
        if question != self._asked:
            self._asked, self._found, self._subnet_failure = question, (), None
        waits = self._subnets_at()
        if waits is None or waits <= self._seams.clock():
            await self._ask(question, instance, growing=growing)
        known = self._region.subnets.known()
        return tuple(known[subnet_id] for subnet_id in self._found if subnet_id in known)

    async def refresh_subnets(self, subnet_ids: Iterable[SubnetId]) -> bool:
        """Asks for free counts and reservations where they are old; tells whether anything is new now."""
        before = self._region.subnets.known()
        try:
            await self._region.subnets.refresh(self._region.subnets.stale(subnet_ids))
            await self._region.subnets.look_up_reservations(subnet_ids)
        except Ec2Error as error:
            log.info("free counts of subnets are old", extra={"error": str(error)})
        return self._region.subnets.known() != before

    async def _ask(self, question: Question, instance: Instance, *, growing: bool) -> None:
        subnets = self._region.subnets
        try:
            if question.ids:
                await subnets.look_up(question.ids)
                self._found = question.ids
            elif question.zone:
                self._found = await subnets.find(
                    instance.vpc_id, zone=question.zone, tags=question.tags, growing=growing
                )
        except Ec2Error as error:
            self._refused(question, instance, error)
        else:
            self._subnet_failure = None

    def _refused(self, question: Question, instance: Instance, error: Ec2Error) -> None:
        log.warning("EC2 does not tell of subnets", extra={"error": str(error), "instance": instance.id})
        denied = isinstance(error, DeniedError)
        is_discovery = not question.ids and not question.tags
        if is_discovery and not self._found:
            self._found = (instance.subnet_id,)
        delay = DENIED_SECONDS if denied else ASK_AGAIN_SECONDS
        retry_at = self._seams.clock() + delay * self._seams.jitter()
        self._subnet_failure = Refusal(error, None, retry_at, only_narrows=is_discovery)

    async def close(self) -> None:
        """Abandons what is under way in EC2."""
        await self.executor.close()
        self._region.forget(self.instance_id)
