"""Stands for election and performs a duty while it leads. The rules are in ``controllers.election``.

Decides nothing about the lead; asks the API server at the pace the terms say, cancels the duty before anybody else
may lead, and gives the Lease up on an orderly stop so that the next one need not wait.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from eni_crds.names import LEASE, LEASE_NAMESPACE
from eni_operator.controllers.election import Candidacy, Record, Terms, Wait
from eni_operator.controllers.kube import KubeError, KubeObject, LeaseApi

log = logging.getLogger(__name__)

Duty = Callable[[], Awaitable[None]]
"""Runs for ever; cancelled when the lead is lost, and then has ``lease - renew`` seconds to end."""

BROKEN_SECONDS: Final = 5.0
"""A duty that ended by itself is started again after so long."""


@dataclass(frozen=True, slots=True)
class LeaderSeams:
    """What a process has and a test brings."""

    clock: Callable[[], float]
    """Seconds that never go back; not those of a calendar."""
    wall: Callable[[], float]
    """Unix seconds, for people who read the Lease; decides nothing."""
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    """A factor around one."""


class Leader:
    """One process's part in the election."""

    def __init__(self, kube: LeaseApi, identity: str, terms: Terms, seams: LeaderSeams) -> None:
        self._kube = kube
        self._terms = terms
        self._seams = seams
        self._candidacy = Candidacy(identity, terms)
        self._elected = asyncio.Event()

    def leads(self) -> bool:
        """Tells whether we lead at this instant: to be asked again before what must not be done twice."""
        return self._candidacy.left(self._seams.clock()) > 0

    async def run(self, duty: Duty) -> None:
        """Runs for ever; when cancelled, ends the duty first and gives the Lease up then."""
        campaign = asyncio.create_task(self._campaign(), name="election")
        try:
            while True:
                await self._elected.wait()
                await self._perform(duty)
        finally:
            campaign.cancel()
            await asyncio.gather(campaign, return_exceptions=True)
            await self._resign()

    # The duty

    async def _perform(self, duty: Duty) -> None:
        log.info("leading", extra={"lease": LEASE, "identity": self._candidacy.me})
        work = asyncio.ensure_future(duty())
        try:
            while not work.done() and (left := self._candidacy.left(self._seams.clock())) > 0:
                await self._first(work, left)
        finally:
            failure = await _end(work)
        if self.leads():
            log.error("the leader's duty ended and is started again", exc_info=failure)
            await self._seams.sleep(BROKEN_SECONDS)
        else:
            self._elected.clear()
            log.warning("leading no more", extra={"lease": LEASE, "identity": self._candidacy.me})

    async def _first(self, work: asyncio.Future[None], seconds: float) -> None:
        """Waits for the work or the time, whichever is first."""
        alarm = asyncio.ensure_future(self._seams.sleep(seconds))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(alarm)

    # The campaign

    async def _campaign(self) -> None:
        while True:
            pause = self._terms.retry_seconds
            try:
                async with asyncio.timeout(self._terms.renew_seconds / 2):
                    pause = await self._turn()
            except (KubeError, TimeoutError) as error:
                log.warning("the Lease could not be read or written", extra={"error": str(error)})
            await self._seams.sleep(pause * self._seams.jitter())

    async def _turn(self) -> float:
        """Reads the Lease and does what is to be done; returns for how long to leave it alone then."""
        lease = await self._kube.get_lease()
        if isinstance(self._candidacy.saw(_record(lease), self._seams.clock()), Wait):
            return self._terms.look_seconds
        if await self._write(lease):
            self._elected.set()
        return self._terms.retry_seconds

    async def _write(self, found: KubeObject | None) -> bool:
        """Writes us in over what was found; False when somebody was faster."""
        sent_at = self._seams.clock()
        lease = _lease(found, self._candidacy.me, self._terms, self._seams.wall())
        try:
            written = await (self._kube.create_lease(lease) if found is None else self._kube.update_lease(lease))
        except KubeError as error:
            if error.status in (404, 409):
                return False
            raise
        record = _record(written)
        assert record is not None
        self._candidacy.wrote(record, sent_at, self._seams.clock())
        return True

    async def _resign(self) -> None:
        """Gives the Lease up if it is ours. Without an answer it runs out by itself."""
        if not self._candidacy.resign():
            return
        with contextlib.suppress(KubeError, TimeoutError):
            async with asyncio.timeout(self._terms.retry_seconds):
                lease = await self._kube.get_lease()
                record = _record(lease)
                if lease is not None and record is not None and record.holder == self._candidacy.me:
                    await self._kube.update_lease(_lease(lease, "", self._terms, self._seams.wall()))
                    log.info("gave the lead up", extra={"lease": LEASE})


async def _end(work: asyncio.Future[None]) -> BaseException | None:
    """Cancels and waits; returns what it failed of, if it had failed by itself."""
    work.cancel()
    [outcome] = await asyncio.gather(work, return_exceptions=True)
    return outcome if isinstance(outcome, Exception) else None


def _record(lease: KubeObject | None) -> Record | None:
    if lease is None:
        return None
    return Record(lease.get("spec", {}).get("holderIdentity") or "", lease["metadata"]["resourceVersion"])


def _lease(found: KubeObject | None, holder: str, terms: Terms, wall: float) -> KubeObject:
    """Returns the Lease to write; times are for people, the version is what guards it."""
    spec = dict((found or {}).get("spec", {}))
    now = datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if spec.get("holderIdentity") != holder:
        changes = {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= changes if holder else {}
    spec |= {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": int(terms.lease_seconds) or 1}
    metadata = {"name": LEASE, "namespace": LEASE_NAMESPACE}
    if found is not None:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
