"""Who leads: the rules of a Lease (coordination.k8s.io/v1), client-go's. Pure; ``controllers.leader`` asks and writes.

Decides when a process may take the lead and until when it may believe that it has it. Clocks of two processes are never
compared: a candidate waits until a record has stood unchanged for a whole lease *on its own clock*, and a leader counts
from before it sent the renewal. Every write names the version it read, so that of two that take one gets it.

Safe while two clocks run at rates that differ by less than ``lease_seconds / renew_seconds`` and nobody deletes the
Lease by hand (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last, in seconds."""

    lease_seconds: float
    """A record that has stood so long unchanged may be taken."""
    renew_seconds: float
    """A leader that has not renewed for so long leads no more; well below ``lease_seconds``."""
    retry_seconds: float
    """How often a leader renews."""
    look_seconds: float
    """How often a candidate looks."""


CLUSTER: Final = Terms(lease_seconds=15, renew_seconds=10, retry_seconds=2, look_seconds=2)
"""Client-go's own: two or three candidates, and pods wait for the next leader."""
NODES: Final = Terms(lease_seconds=120, renew_seconds=60, retry_seconds=15, look_seconds=120)
"""As many candidates as nodes, and nothing that hurries: 1,000 of them ask 8 times a second in all."""


@dataclass(frozen=True, slots=True)
class Record:
    """The Lease as read: who holds it, in which version."""

    holder: str
    """Empty once it was given up."""
    version: str
    """metadata.resourceVersion: another one after every write."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when, on our clock, the record has been as it is; None: there is no Lease."""

    record: Record | None
    at: float


@dataclass(frozen=True, slots=True)
class Take:
    """Write ourselves in, over this version; over none: create the Lease."""

    version: str | None


@dataclass(frozen=True, slots=True)
class Renew:
    """Write ourselves in again, over this version."""

    version: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else holds it, and may until this instant."""

    until: float


def decide(me: str, seen: Seen, now: float, terms: Terms) -> Take | Renew | Wait:
    """Returns what a candidate does about what it has seen."""
    record = seen.record
    if record is None:
        return Take(None)
    if record.holder == me:
        return Renew(record.version)
    if not record.holder or now >= seen.at + terms.lease_seconds:
        return Take(record.version)
    return Wait(seen.at + terms.lease_seconds)


class Candidacy:
    """What one process knows of the lead. ``me`` is never the name of another process, nor of a former one."""

    def __init__(self, me: str, terms: Terms) -> None:
        self.me = me
        self._terms = terms
        self._seen: Seen | None = None
        self._leads_until: float | None = None

    def saw(self, record: Record | None, now: float) -> Take | Renew | Wait:
        """Takes the Lease as read in; returns what to do."""
        if self._seen is None or self._seen.record != record:
            self._seen = Seen(record, now)
        if record is None or record.holder != self.me:
            self._leads_until = None
        return decide(self.me, self._seen, now, self._terms)

    def wrote(self, record: Record, sent_at: float, now: float) -> None:
        """Notes that our write got through: we lead, counted from before it was sent."""
        self._seen = Seen(record, now)
        self._leads_until = max(self._leads_until or sent_at, sent_at + self._terms.renew_seconds)

    def resign(self) -> bool:
        """Leads no more; tells whether there is something to give up, so that the next one need not wait."""
        self._leads_until = None
        record = self._seen.record if self._seen is not None else None
        return record is not None and record.holder == self.me

    def left(self, now: float) -> float:
        """Returns for how many seconds we lead yet; zero: we do not."""
        return 0.0 if self._leads_until is None else max(0.0, self._leads_until - now)
