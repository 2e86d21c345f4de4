"""Everything we believe of one instance: itself, its ENIs, their subnets, its VPC; and when to ask EC2 again.

Decides what is asked when: everything at the start; what is attached, in one call, on a long jittered timer; more when
an answer left something open, when a failure made the belief doubtful, or when a hint says where EC2 differs.
Counterpart: ``execution.executor``, which keeps the belief up to date with what we do ourselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import Flag, auto
from typing import Final

from eni_operator import vpc_cni_metrics
from eni_operator.domain.eni import Eni, EniId, InstanceId
from eni_operator.domain.instance import Instance, InstanceLimits
from eni_operator.ec2.api import Ec2Api, InstanceFacts
from eni_operator.ec2.errors import Ec2Error, UnknownInstanceError
from eni_operator.inventory.attachments import Attachments, Key
from eni_operator.inventory.learned_limits import LearnedLimits
from eni_operator.inventory.region import Region

DOUBT_SECONDS: Final = 0.5
"""How soon after a doubtful failure to ask: EC2 answers with what was true a moment ago."""
LATE_SECONDS: Final = 5.0
"""How soon after a call without an answer, or whose caller died, to ask once more: what it did may show only then."""
LEAST_GAP_SECONDS: Final = 1.0
"""Never ask more often than this, whatever is open."""
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0


class Ask(Flag):
    """What to ask EC2 about an instance; each is one call."""

    ATTACHED = auto()
    AVAILABLE = auto()
    """Unattached ENIs of ours."""
    VPC = auto()
    FACTS = auto()
    """The instance itself, its type's limits, its subnets again."""


_NOTHING: Final = Ask(0)
_EVERYTHING: Final = Ask.ATTACHED | Ask.AVAILABLE | Ask.VPC | Ask.FACTS


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
        self.attachments = Attachments(clock, region.confirm_seconds)
        self.subnets = region.subnets
        self._region = region
        self._clock = clock
        self._jitter = jitter
        self._resync_seconds = resync_seconds
        self._failed = 0
        self._retry_at = 0.0
        self._facts: InstanceFacts | None = None
        self._limits: InstanceLimits | None = None
        self._learned = LearnedLimits()
        self._looked_at = -LEAST_GAP_SECONDS
        self._resync_at = 0.0
        self._wanted = _EVERYTHING
        self._wanted_at = 0.0
        self._late_at: float | None = None
        """When to ask once more for what a call may have done whose answer nobody got."""
        self._doubts = 0
        self._settled_doubts = 0

    @property
    def patient_ec2(self) -> Ec2Api:
        """Returns the process's client: its calls let those of whom pods wait for go first."""
        return self._region.ec2

    @property
    def known(self) -> bool:
        """Tells whether EC2 has answered at least once."""
        return self._facts is not None

    @property
    def vpc_cidrs(self) -> tuple[str, ...]:
        """Returns the VPC's IPv4 blocks."""
        return self._region.vpcs.cidrs(self._facts.vpc_id) if self._facts else ()

    @property
    def vpc_ipv6_cidrs(self) -> tuple[str, ...]:
        """Returns the VPC's IPv6 blocks."""
        return self._region.vpcs.ipv6_cidrs(self._facts.vpc_id) if self._facts else ()

    def took_over(self, written: Iterable[Key] | None) -> None:
        """A process begins; ``written`` is what its predecessor wrote down, None where it wrote nothing.

        It may have died of any call, so what there is then is asked for once more.
        """
        self.attachments.took_over(written or ())
        if written is not None:
            self._late_at = self._clock() + LATE_SECONDS

    # When to ask, and what

    def look_at(self) -> float:
        """Returns when EC2 is to be asked next."""
        if not self.known:
            return self._retry_at
        wanted_at = self._wanted_at if self._wanted else None
        times = (self._resync_at, wanted_at, self._late_at, self.attachments.look_again_at())
        earliest = min(t for t in times if t is not None)
        return max(earliest, self._looked_at + LEAST_GAP_SECONDS, self._retry_at)

    def doubt(self, *, unanswered: bool = False) -> None:
        """Notes that a call failed such that EC2 may differ from our belief, now or, without an answer, later too."""
        self._doubts += 1
        self.hinted(Ask.ATTACHED | Ask.AVAILABLE)
        if unanswered:
            self._late_at = self._clock() + LATE_SECONDS

    @property
    def doubtful(self) -> bool:
        """Tells whether EC2 must be asked before anything more is done there."""
        return self._doubts > self._settled_doubts or self.attachments.is_unsure

    def hinted(self, what: Ask) -> None:
        """Notes that EC2 seems to differ from our belief; what is under way may go on meanwhile."""
        self._wanted |= what
        self._wanted_at = self._clock() + DOUBT_SECONDS

    def learned_limit(self, card: int) -> None:
        """EC2 takes no more ENIs on a network card than there are.

        Where the type's limits are known, more is attached than we know of or the type is another by now: ask for both.
        """
        if self._limits is None and card == 0:
            self._learned.refused_eni(self.attachments.enis)
        self.doubt()
        self.hinted(Ask.FACTS)

    def learned_address_limit(self, eni_id: EniId, asked: int = 1) -> None:
        """EC2 did not take so many more addresses or prefixes on an ENI, or not the ENI with those it has."""
        eni = self.attachments.get(eni_id)
        if self._limits is None and eni is not None:
            self._learned.refused_addresses(eni, asked)
        self.doubt()

    # Ask

    async def look(self) -> None:
        """Asks EC2 when it is time to; the belief is unchanged when it fails, with an error of ``ec2.errors``."""
        if self._clock() < self.look_at():
            return
        wanted, self._wanted = self._wanted, _NOTHING
        try:
            await self._look(wanted)
        except BaseException as error:
            self._wanted |= wanted
            if isinstance(error, Ec2Error):
                self._failed += 1
                delay = min(FIRST_RETRY_SECONDS * 2 ** (self._failed - 1), LAST_RETRY_SECONDS)
                self._retry_at = self._clock() + delay * self._jitter()
            raise
        self._failed = 0
        self._retry_at = 0.0

    async def _look(self, wanted: Ask) -> None:
        now, doubts = self._clock(), self._doubts
        self._looked_at = now
        what = self._due(wanted, now)
        facts = self._facts
        if facts is None or Ask.FACTS in what:
            facts = await self._ask_facts()
        answers = await asyncio.gather(
            self._look_at_limits(facts),
            self._look_at_vpc(facts, what),
            self._look_at_enis(facts, what),
            return_exceptions=True,
        )
        for failure in answers:
            if failure is not None:
                raise failure
        self._facts = facts
        if self._is_late(now):
            self._late_at = None
        self._settled_doubts = doubts  # one that came up meanwhile is not settled by these answers

    def _due(self, wanted: Ask, now: float) -> Ask:
        again_at = self.attachments.look_again_at()
        if now >= self._resync_at or (again_at is not None and now >= again_at):
            wanted |= Ask.ATTACHED
        if self._is_late(now):
            wanted |= Ask.ATTACHED | Ask.AVAILABLE
        if Ask.ATTACHED in wanted and self.attachments.wants_unattached:
            wanted |= Ask.AVAILABLE
        if self._facts is not None and self._region.vpcs.age(self._facts.vpc_id) > self._region.vpc_seconds:
            wanted |= Ask.VPC
        return wanted

    def _is_late(self, now: float) -> bool:
        return self._late_at is not None and now >= self._late_at

    async def _ask_facts(self) -> InstanceFacts:
        for facts in await self._region.instances.of(self.id):
            return facts
        raise UnknownInstanceError("DescribeInstances", "InvalidInstanceID.NotFound", f"there is no instance {self.id}")

    async def _look_at_limits(self, facts: InstanceFacts) -> None:
        self._limits = await self._region.types.limits(facts.type)

    async def _look_at_vpc(self, facts: InstanceFacts, what: Ask) -> None:
        if Ask.VPC in what:
            await self._region.vpcs.look_up(facts.vpc_id)

    async def _look_at_enis(self, facts: InstanceFacts, what: Ask) -> None:
        if Ask.ATTACHED not in what:
            return
        now = self._clock()
        attached, available = await _both(
            self._region.attached.of(self.id), self._region.available.of(self.id) if Ask.AVAILABLE in what else None
        )
        seen: dict[EniId, Eni] = {eni.id: eni for eni in (*available, *attached)}
        used = {facts.subnet_id, *(eni.subnet_id for eni in seen.values())}
        await self.subnets.look_up(used, again=Ask.FACTS in what)
        before = self.attachments.enis
        self.attachments.observe(seen.values(), attached_only=Ask.AVAILABLE not in what)
        vpc_cni_metrics.observed(before, self.attachments.enis)
        self._resync_at = self._region.resync_at(now, self._resync_seconds, self._jitter)

    def instance(self, maximum_pods: int | None) -> Instance:
        """Returns the instance as a plan needs it; ``look`` must have succeeded once.

        ``maximum_pods`` is the kubelet's limit; without one it is what the type can address, as AWS counts it.
        """
        facts = self._facts
        if facts is None:
            raise RuntimeError("the instance is not known before the first look")
        primary = self.attachments.primary
        limits = self._limits or self._learned.limits(self.attachments.enis)
        return Instance(
            id=facts.id,
            type=facts.type,
            zone=facts.zone,
            vpc_id=facts.vpc_id,
            subnet_id=facts.subnet_id,
            security_groups=primary.security_groups if primary is not None else facts.security_groups,
            limits=limits,
            maximum_pods=maximum_pods or limits.enis * limits.slots_per_eni + 2,
        )


async def _both(attached: Awaitable[list[Eni]], available: Awaitable[list[Eni]] | None) -> tuple[list[Eni], list[Eni]]:
    if available is None:
        return await attached, []
    first, second = await asyncio.gather(attached, available)
    return first, second
