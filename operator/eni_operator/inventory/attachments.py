"""What we believe of an instance's ENIs: learnt from EC2, kept by our own writes, looked at again now and then.

Decides how a fresh Describe changes the belief; makes no call (``inventory.instance``) and no plan (``planning``).
EC2 is eventually consistent both ways: what was just made may be missing from an answer, what was just removed may
still be in it. So nothing is dropped on one negative answer, and nothing we removed ourselves comes back for a while.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from eni_operator.domain.eni import Attachment, AttachmentState, Eni, EniId
from eni_operator.ec2.api import Assigned

CONFIRM_SECONDS: Final = 5.0
"""What one answer lacks is dropped when an answer at least this much later lacks it too."""
GRACE_SECONDS: Final = 60.0
"""For so long after our own removal an answer that still shows the thing is taken as old."""
TRANSIENT_SECONDS: Final = 1.0
"""How soon to look again while an ENI attaches or detaches."""

_ENI: Final = "eni"
_ATTACHMENT: Final = "attachment"

Key = tuple[EniId, str]
"""An ENI and a part of it: an address, a prefix, ``attachment``, or ``eni`` for the whole."""


class Attachments:
    """The belief about one instance's ENIs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._enis: dict[EniId, Eni] = {}
        self._missing: dict[Key, float] = {}
        self._removed: dict[Key, float] = {}
        self.version = 0
        """Counts what was taken in; a plan made of an older belief must not be performed."""

    @property
    def enis(self) -> tuple[Eni, ...]:
        """Returns the ENIs by device index, unattached ones last."""
        return tuple(sorted(self._enis.values(), key=_order))

    def get(self, eni_id: EniId) -> Eni | None:
        """Returns one ENI."""
        return self._enis.get(eni_id)

    def look_again_at(self) -> float | None:
        """Returns when a fresh answer would settle something; None when nothing is open."""
        times = [since + CONFIRM_SECONDS for since in self._missing.values()]
        if any(_in_transit(eni) for eni in self._enis.values()):
            times.append(self._clock() + TRANSIENT_SECONDS)
        return min(times, default=None)

    # What EC2 says

    def observe(self, seen: Iterable[Eni]) -> None:
        """Takes in a fresh answer that should list every ENI of the instance and every unattached one of ours."""
        now = self._clock()
        self.version += 1
        self._removed = {key: at for key, at in self._removed.items() if now - at < GRACE_SECONDS}
        answers = {eni.id: eni for eni in seen if (eni.id, _ENI) not in self._removed}
        believed, self._enis = self._enis, {}
        missing, self._missing = self._missing, {}
        for eni_id in believed.keys() | answers.keys():
            merged = self._merge(believed.get(eni_id), answers.get(eni_id), missing, now)
            if merged is not None:
                self._enis[eni_id] = merged

    def _merge(self, old: Eni | None, new: Eni | None, missing: dict[Key, float], now: float) -> Eni | None:
        if new is None:
            return old if old is not None and self._still_believed((old.id, _ENI), missing, now) else None
        kept = old if old is not None else replace(new, addresses=(), prefixes=(), attachment=None)
        return replace(
            new,
            attachment=self._merge_attachment(kept, new, missing, now),
            addresses=self._merge_cidrs(new.id, kept.addresses, new.addresses, missing, now),
            prefixes=self._merge_cidrs(new.id, kept.prefixes, new.prefixes, missing, now),
        )

    def _merge_cidrs(
        self, eni_id: EniId, old: tuple[str, ...], new: tuple[str, ...], missing: dict[Key, float], now: float
    ) -> tuple[str, ...]:
        shown = tuple(cidr for cidr in new if (eni_id, cidr) not in self._removed)
        lacking = (cidr for cidr in old if cidr not in new)
        return shown + tuple(cidr for cidr in lacking if self._still_believed((eni_id, cidr), missing, now))

    def _merge_attachment(self, old: Eni, new: Eni, missing: dict[Key, float], now: float) -> Attachment | None:
        before, after = old.attachment, new.attachment
        if before is None or before == after:
            return after
        if (old.id, _ATTACHMENT) in self._removed:
            return before if after is not None and after.id == before.id else after
        if after is None:
            return before if self._still_believed((old.id, _ATTACHMENT), missing, now) else None
        if before.id != after.id or before.state is not AttachmentState.ATTACHED:
            return after
        older = after.state is AttachmentState.ATTACHING
        kept = replace(before, state=before.state if older else after.state)
        return replace(kept, delete_on_termination=before.delete_on_termination or after.delete_on_termination)

    def _still_believed(self, key: Key, missing: dict[Key, float], now: float) -> bool:
        since = missing.get(key, now)
        if now - since >= CONFIRM_SECONDS:
            return False
        self._missing[key] = since
        return True

    # What we did ourselves

    def created(self, eni: Eni) -> None:
        """An ENI was created, or an own one found."""
        self.version += 1
        self._enis[eni.id] = eni

    def attaching(self, eni_id: EniId, attachment: Attachment) -> None:
        """EC2 accepted an attachment."""
        self._change(eni_id, attachment=attachment)

    def attached(self, eni_id: EniId) -> None:
        """The attachment stands and ends with the instance. Its link may follow; that is the agent's to wait for."""
        eni = self._enis.get(eni_id)
        if eni is not None and eni.attachment is not None:
            done = replace(eni.attachment, state=AttachmentState.ATTACHED, delete_on_termination=True)
            self._change(eni_id, attachment=done)

    def assigned(self, eni_id: EniId, new: Assigned) -> None:
        """Addresses or prefixes were added."""
        eni = self._enis.get(eni_id)
        if eni is None:
            return
        for cidr in (*new.addresses, *new.prefixes):
            self._removed.pop((eni_id, cidr), None)
        addresses = (*eni.addresses, *(a for a in new.addresses if a not in eni.addresses))
        prefixes = (*eni.prefixes, *(p for p in new.prefixes if p not in eni.prefixes))
        self._change(eni_id, addresses=addresses, prefixes=prefixes)

    def unassigned(self, eni_id: EniId, cidrs: Iterable[str]) -> None:
        """Addresses or prefixes were given back."""
        gone = frozenset(cidrs)
        eni = self._enis.get(eni_id)
        if eni is None:
            return
        self._removed |= {(eni_id, cidr): self._clock() for cidr in gone}
        addresses = tuple(a for a in eni.addresses if a not in gone)
        prefixes = tuple(p for p in eni.prefixes if p not in gone)
        self._change(eni_id, addresses=addresses, prefixes=prefixes)

    def detaching(self, eni_id: EniId) -> None:
        """EC2 accepted to detach an ENI."""
        eni = self._enis.get(eni_id)
        if eni is not None and eni.attachment is not None:
            self._removed[eni_id, _ATTACHMENT] = self._clock()
            self._change(eni_id, attachment=replace(eni.attachment, state=AttachmentState.DETACHING))

    def still_attached(self, before: Eni) -> None:
        """EC2 refused to detach an ENI: it is as it was."""
        self._removed.pop((before.id, _ATTACHMENT), None)
        self._change(before.id, attachment=before.attachment)

    def deleted(self, eni_id: EniId) -> None:
        """An ENI is gone for good: ids are never used again."""
        self.version += 1
        self._enis.pop(eni_id, None)
        self._removed[eni_id, _ENI] = self._clock()

    def _change(self, eni_id: EniId, **parts: object) -> None:
        eni = self._enis.get(eni_id)
        self.version += 1
        if eni is not None:
            self._enis[eni_id] = replace(eni, **parts)  # type: ignore[arg-type] # the callers above name Eni's fields


def _order(eni: Eni) -> tuple[bool, int, int, str]:
    if eni.attachment is None:
        return True, 0, 0, eni.id
    return False, eni.attachment.network_card, eni.attachment.device_index, eni.id


def _in_transit(eni: Eni) -> bool:
    return eni.attachment is not None and eni.attachment.state is not AttachmentState.ATTACHED
