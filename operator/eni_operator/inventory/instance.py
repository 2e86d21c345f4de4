"""Everything we believe of one instance: itself, its ENIs, their subnets, its VPC; and when to ask EC2 again.

Asks at the start, then on a long jittered timer, when an answer left something open, and when a failure made the belief
doubtful. Counterpart: ``execution.executor``, which keeps the belief up to date with what we do ourselves.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from eni_operator.domain.eni import Eni, EniId, InstanceId, SubnetId
from eni_operator.domain.instance import Instance, InstanceLimits
from eni_operator.ec2.errors import Ec2Error, UnknownInstanceError
from eni_operator.inventory.attachments import Attachments
from eni_operator.inventory.region import Region

if TYPE_CHECKING:
    from eni_operator.ec2.api import InstanceFacts

DOUBT_SECONDS: Final = 0.5
"""How soon after a doubtful failure to ask: EC2 answers with what was true a moment ago."""
LEAST_GAP_SECONDS: Final = 1.0
"""Never ask more often than this, whatever is open."""
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0


class InstanceInventory:
    """The belief about one instance; empty until the first ``look``."""

    def __init__(
        self,
        instance_id: InstanceId,
        region: Region,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        resync_seconds: float,
    ) -> None:
        self.id = instance_id
        self.attachments = Attachments(clock)
        self.subnets = region.subnets
        self._region = region
        self._ec2 = region.ec2
        self._clock = clock
        self._jitter = jitter
        self._resync_seconds = resync_seconds
        self._failed = 0
        self._retry_at = 0.0
        self._facts: InstanceFacts | None = None
        self._limits: InstanceLimits | None = None
        self._looked_at = -LEAST_GAP_SECONDS
        self._resync_at = 0.0
        self._doubt_at: float | None = None

    @property
    def known(self) -> bool:
        """Tells whether EC2 has answered at least once."""
        return self._facts is not None

    @property
    def vpc_cidrs(self) -> tuple[str, ...]:
        """Returns the VPC's blocks."""
        return self._region.vpcs.cidrs(self._facts.vpc_id) if self._facts else ()

    def look_at(self) -> float:
        """Returns when EC2 is to be asked next."""
        if not self.known:
            return self._retry_at
        times = [self._resync_at, self._doubt_at, self.attachments.look_again_at()]
        earliest = min(t for t in times if t is not None)
        return max(earliest, self._looked_at + LEAST_GAP_SECONDS, self._retry_at)

    def doubt(self) -> None:
        """Notes that a call failed such that EC2 may differ from our belief."""
        self._doubt_at = self._clock() + DOUBT_SECONDS

    @property
    def doubtful(self) -> bool:
        """Tells whether EC2 must be asked before anything more is done there."""
        return self._doubt_at is not None

    async def look(self) -> None:
        """Asks EC2 when it is time to; the belief is unchanged when it fails, with an error of ``ec2.errors``."""
        if self._clock() < self.look_at():
            return
        try:
            await self._look()
        except Ec2Error:
            self._failed += 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (self._failed - 1), LAST_RETRY_SECONDS)
            self._retry_at = self._clock() + delay * self._jitter()
            raise
        self._failed = 0
        self._retry_at = 0.0

    async def _look(self) -> None:
        now, doubt = self._clock(), self._doubt_at
        self._looked_at = now
        if self._facts is None or now >= self._resync_at:
            await self._look_at_everything()
            self._resync_at = now + self._resync_seconds * self._jitter()
        else:
            await self._look_at_enis()
        if self._doubt_at == doubt:  # a doubt that came up meanwhile is not settled by this answer
            self._doubt_at = None

    async def _look_at_everything(self) -> None:
        known = await self._ec2.describe_instances([self.id])
        if not known:
            raise UnknownInstanceError(
                "DescribeInstances", "InvalidInstanceID.NotFound", f"there is no instance {self.id}"
            )
        facts = known[0]
        self._limits, _, _ = await asyncio.gather(
            self._region.types.limits(facts.type),
            self._region.vpcs.look_up(facts.vpc_id),
            self._look_at_enis(facts.subnet_id),
        )
        self._facts = facts

    async def _look_at_enis(self, *own_subnet: SubnetId) -> None:
        attached, available = await asyncio.gather(
            self._ec2.describe_attached([self.id]), self._ec2.describe_available([self.id])
        )
        seen: dict[EniId, Eni] = {eni.id: eni for eni in (*available, *attached)}
        used = {*own_subnet, *(eni.subnet_id for eni in seen.values())}
        await self.subnets.look_up(used, again=bool(own_subnet))
        self.attachments.observe(seen.values())

    def instance(self, maximum_pods: int | None) -> Instance:
        """Returns the instance as a plan needs it; ``look`` must have succeeded once.

        ``maximum_pods`` is the kubelet's limit; without one it is what the type can address, as AWS counts it.
        """
        facts, limits = self._facts, self._limits
        if facts is None or limits is None:
            raise RuntimeError("the instance is not known before the first look")
        return Instance(
            id=facts.id,
            type=facts.type,
            zone=facts.zone,
            vpc_id=facts.vpc_id,
            subnet_id=facts.subnet_id,
            security_groups=facts.security_groups,
            limits=limits,
            maximum_pods=maximum_pods or limits.enis * limits.slots_per_eni + 2,
        )
