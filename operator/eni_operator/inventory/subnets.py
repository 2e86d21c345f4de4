"""What we believe of subnets: their blocks, free addresses and reservations as last told, and which rest for a while.

Decides when an answer is too old and how long a subnet rests after it refused; whether one is needed at all is the
caller's, what is taken from which is ``planning``'s. One question for all who ask at the same time.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Subnet
from eni_operator.ec2.api import MANY
from eni_operator.ec2.errors import DeniedError, Ec2Error
from eni_operator.inventory.source import SubnetSource

log = logging.getLogger(__name__)

REST_SECONDS: Final = 120.0
"""VPC CNI's back-off after InsufficientFreeAddressesInSubnet and InsufficientCidrBlocks."""
FREE_SECONDS: Final = 60.0
"""A count of free addresses older than this is refreshed before an ENI is made; a missing subnet is asked for again."""
FIND_SECONDS: Final = 600.0
"""A list of subnets older than this is asked for again where a pool grows."""
CONFIRM_SECONDS: Final = 5.0
"""A known subnet that an answer lacks is gone when an answer at least this much later lacks it too."""
RESERVATION_SECONDS: Final = 3600.0
"""Reservations are asked for this often, and so long after a denial."""

_NEVER: Final = -math.inf

Query = tuple[str, str, tuple[tuple[str, str], ...]]
"""VPC, zone, tags."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to a query."""

    subnets: tuple[SubnetId, ...]
    asked_at: float


class Subnets:
    """The subnets seen so far; shared by all instances of a process."""

    def __init__(self, source: SubnetSource, clock: Callable[[], float], spare: SubnetSource | None = None) -> None:
        self._source = source
        self._spare = spare
        """Asked for the blocks of subnets where IAM denies the source: metadata knows those in use."""
        self._clock = clock
        self._subnets: dict[SubnetId, Subnet] = {}
        self._asked_at: dict[SubnetId, float] = {}
        self._missing: dict[SubnetId, float] = {}
        """Since when answers have lacked a subnet."""
        self._found: dict[Query, Found] = {}
        self._reservations_at: dict[SubnetId, float] = {}
        """When to ask for a subnet's reservations next."""
        self._denied_until = _NEVER
        self._asking = asyncio.Lock()

    def get(self, subnet_id: SubnetId) -> Subnet:
        """Returns a subnet that was looked up before and exists."""
        return self._subnets[subnet_id]

    def known(self) -> dict[SubnetId, Subnet]:
        """Returns every subnet looked up so far that exists."""
        return dict(self._subnets)

    def stale(self, subnet_ids: Iterable[SubnetId]) -> tuple[SubnetId, ...]:
        """Returns those whose count of free addresses is too old to make an ENI by, or was never told."""
        return tuple(i for i in subnet_ids if self._age(i) > FREE_SECONDS)

    def _age(self, subnet_id: SubnetId) -> float:
        return self._clock() - self._asked_at.get(subnet_id, _NEVER)

    async def look_up(self, subnet_ids: Iterable[SubnetId], *, again: bool = False) -> None:
        """Asks for the subnets not known yet, or for all of them again; those that do not exist stay unknown."""
        wanted_at = self._clock()

        def is_due(subnet_id: SubnetId) -> bool:
            if again:
                return self._asked_at.get(subnet_id, _NEVER) < wanted_at
            return subnet_id not in self._subnets and self._age(subnet_id) > FREE_SECONDS

        await self._ask(set(subnet_ids), is_due)

    async def refresh(self, subnet_ids: Iterable[SubnetId]) -> None:
        """Asks again for those that are stale."""
        await self._ask(set(subnet_ids), lambda subnet_id: self._age(subnet_id) > FREE_SECONDS)

    async def _ask(self, subnet_ids: set[SubnetId], is_due: Callable[[SubnetId], bool]) -> None:
        if not any(map(is_due, subnet_ids)):
            return
        async with self._asking:  # who waited here may find it answered
            due = sorted(filter(is_due, subnet_ids))
            for start in range(0, len(due), MANY):
                asked, asked_at = due[start : start + MANY], self._clock()
                answers = await self._describe(asked)
                self._take(answers, asked_at)
                self._note_missing(set(asked) - {subnet.id for subnet in answers}, asked_at)

    async def _describe(self, subnet_ids: list[SubnetId]) -> list[Subnet]:
        try:
            return await self._source.describe_subnets(subnet_ids)
        except DeniedError:
            told = await self._spare.describe_subnets(subnet_ids) if self._spare is not None else []
            if not told:
                raise
            return told

    def _take(self, answers: Iterable[Subnet], asked_at: float) -> None:
        for subnet in answers:
            old = self._subnets.get(subnet.id, subnet)
            self._asked_at[subnet.id] = asked_at
            self._missing.pop(subnet.id, None)
            self._subnets[subnet.id] = replace(
                subnet,
                exhausted_until=old.exhausted_until,
                fragmented_until=old.fragmented_until,
                reservations=old.reservations,
            )

    def _note_missing(self, subnet_ids: Iterable[SubnetId], asked_at: float) -> None:
        for subnet_id in subnet_ids:
            self._asked_at[subnet_id] = asked_at
            if asked_at - self._missing.setdefault(subnet_id, asked_at) >= CONFIRM_SECONDS:
                self._subnets.pop(subnet_id, None)

    async def find(
        self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None, growing: bool = False
    ) -> tuple[SubnetId, ...]:
        """Returns the VPC's subnets in a zone (any: empty) with all these tags; an empty value matches any.

        EC2 is asked the first time, after one of them refused, and with ``growing`` when the answer is old.
        """
        query = (vpc_id, zone, tuple(sorted((tags or {}).items())))
        lasts = FIND_SECONDS if growing else math.inf
        if (found := self._recent(query, lasts)) is not None:
            return found.subnets
        async with self._asking:  # who waited here may find it answered
            found = self._recent(query, lasts)
            if found is None:
                asked_at = self._clock()
                answers = await self._source.find_subnets(vpc_id, zone=zone, tags=tags)
                self._take(answers, asked_at)
                found = self._found[query] = Found(tuple(sorted(subnet.id for subnet in answers)), asked_at)
            return found.subnets

    def _recent(self, query: Query, lasts: float) -> Found | None:
        found = self._found.get(query)
        return found if found is not None and self._clock() - found.asked_at < lasts else None

    def refused_address(self, subnet_id: SubnetId) -> None:
        """EC2 had no address to give: nothing is asked of this subnet for a while."""
        if (subnet := self._refused(subnet_id)) is not None:
            self._subnets[subnet_id] = replace(subnet, exhausted_until=self._clock() + REST_SECONDS)

    def refused_prefix(self, subnet_id: SubnetId) -> None:
        """EC2 had no /28 to give; single addresses may still be had."""
        if (subnet := self._refused(subnet_id)) is not None:
            self._subnets[subnet_id] = replace(subnet, fragmented_until=self._clock() + REST_SECONDS)

    def _refused(self, subnet_id: SubnetId) -> Subnet | None:
        """What was told of it is wrong by now, and others may have been added beside it."""
        self._asked_at.pop(subnet_id, None)
        for query, found in self._found.items():
            if subnet_id in found.subnets:
                self._found[query] = replace(found, asked_at=_NEVER)
        return self._subnets.get(subnet_id)

    async def look_up_reservations(self, subnet_ids: Iterable[SubnetId]) -> None:
        """Asks for the reservations of known subnets, at most once an hour; where EC2 does not tell they stay unknown.

        They are asked for one by one, so never on a timer: before a pool decides by them.
        """
        due = [subnet_id for subnet_id in subnet_ids if self._is_reservation_due(subnet_id)]
        if not due:
            return
        async with self._asking:
            for subnet_id in filter(self._is_reservation_due, due):
                self._reservations_at[subnet_id] = self._clock() + FREE_SECONDS
                await self._ask_reservations(subnet_id)

    def _is_reservation_due(self, subnet_id: SubnetId) -> bool:
        due_at = max(self._denied_until, self._reservations_at.get(subnet_id, _NEVER))
        return subnet_id in self._subnets and self._clock() >= due_at

    async def _ask_reservations(self, subnet_id: SubnetId) -> None:
        now = self._clock()
        try:
            reservations = await self._source.describe_reservations(subnet_id)
        except DeniedError as error:
            self._denied_until = now + RESERVATION_SECONDS
            log.info("EC2 does not tell of subnet reservations", extra={"error": str(error)})
        except Ec2Error as error:
            log.warning("EC2 could not be asked for reservations", extra={"error": str(error), "subnet": subnet_id})
        else:
            self._reservations_at[subnet_id] = now + RESERVATION_SECONDS
            self._subnets[subnet_id] = replace(self._subnets[subnet_id], reservations=reservations)
