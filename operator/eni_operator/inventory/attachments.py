"""What we believe of an instance's ENIs: learnt from EC2, kept by our own writes, looked at again now and then.

Decides how a fresh Describe changes the belief; makes no call (``inventory.instance``) and no plan (``planning``).
EC2 is eventually consistent both ways: what was just made may be missing from an answer, what was just removed may
still be in it. So nothing is dropped on one negative answer, and nothing we did ourselves is undone for a while.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from eni_operator.domain.eni import Attachment, AttachmentState, Eni, EniId, SecurityGroupId
from eni_operator.ec2.api import Assigned

CONFIRM_SECONDS: Final = 5.0
"""What one answer lacks is dropped when an answer at least this much later lacks it too."""
GRACE_SECONDS: Final = 60.0
"""For so long after our own change an answer that does not show it is taken as old."""
TRANSIENT_SECONDS: Final = 1.0
"""How soon to look again while an ENI attaches or detaches."""

_ENI: Final = "eni"
_ATTACHMENT: Final = "attachment"
_GROUPS: Final = "groups"
_TAG: Final = "tag "

Key = tuple[EniId, str]
"""An ENI and a part of it: a CIDR, ``attachment``, ``groups``, a tag's key behind ``tag``, or ``eni`` for the whole."""


class Attachments:
    """The belief about one instance's ENIs."""

    def __init__(self, clock: Callable[[], float], confirm_seconds: float = CONFIRM_SECONDS) -> None:
        self._clock = clock
        self._confirm_seconds = confirm_seconds
        self._enis: dict[EniId, Eni] = {}
        self._missing: dict[Key, float] = {}
        """Since when answers have lacked what we believe."""
        self._open: dict[Key, float] = {}
        """When a fresh answer settles what the last one put in question."""
        self._made: dict[Key, float] = {}
        self._removed: dict[Key, float] = {}
        self._moved_at = clock()
        self._written: frozenset[Key] | None = None
        """What a predecessor wrote down; None: there is no telling, and none is needed."""
        self._sure_at = 0.0
        self.is_unsure = False
        """True while something is left out until a later answer shows it too."""
        self.version = 0
        """Counts what was taken in; a plan made of an older belief must not be performed."""

    @property
    def enis(self) -> tuple[Eni, ...]:
        """Returns the ENIs by device index, unattached ones last."""
        return tuple(sorted(self._enis.values(), key=_order))

    @property
    def primary(self) -> Eni | None:
        """Returns the instance's primary ENI; None before it was seen."""
        return next((eni for eni in self._enis.values() if eni.is_primary), None)

    def get(self, eni_id: EniId) -> Eni | None:
        """Returns one ENI."""
        return self._enis.get(eni_id)

    @property
    def wants_unattached(self) -> bool:
        """Tells whether a list of attached ENIs alone would not settle what is open."""
        loose = any(eni.attachment is None for eni in self._enis.values())
        return loose or any(part in {_ENI, _ATTACHMENT} for _, part in self._open)

    def look_again_at(self) -> float | None:
        """Returns when a fresh answer would settle something; None when nothing is open."""
        times = list(self._open.values())
        if any(self._is_moving(eni) for eni in self._enis.values()):
            times.append(self._moved_at + TRANSIENT_SECONDS)
        return min(times, default=None)

    def _is_moving(self, eni: Eni) -> bool:
        """An ENI we detach is followed by who detaches it, who is told when it is over."""
        if eni.attachment is None or eni.attachment.state is AttachmentState.ATTACHED:
            return False
        return self._clock() - self._removed.get((eni.id, _ATTACHMENT), float("-inf")) >= GRACE_SECONDS

    # What EC2 says

    def observe(self, seen: Iterable[Eni], *, attached_only: bool = False) -> None:
        """Takes in a fresh answer that should list every ENI of the instance and every unattached one of ours.

        With ``attached_only`` it says nothing of unattached ones: no ENI is dropped as a whole, only doubted.
        """
        now = self._clock()
        self.version += 1
        self._moved_at = now
        self._removed = {key: at for key, at in self._removed.items() if now - at < GRACE_SECONDS}
        self._made = {key: at for key, at in self._made.items() if now - at < GRACE_SECONDS}
        missing, self._missing, self._open, self.is_unsure = self._missing, {}, {}, False
        answers = {eni.id: eni for eni in seen if not self._is_old((eni.id, _ENI))}
        believed, self._enis = self._enis, {}
        for eni_id in believed.keys() | answers.keys():
            old, new = believed.get(eni_id), answers.get(eni_id)
            if new is not None:
                self._enis[eni_id] = self._merge(old, new, missing, now)
            elif old is not None and self._stays(old, missing, now, attached_only=attached_only):
                self._enis[eni_id] = old

    def _stays(self, old: Eni, missing: dict[Key, float], now: float, *, attached_only: bool) -> bool:
        if not attached_only:
            return self._still_believed((old.id, _ENI), missing, now)
        if old.attachment is not None and not self._still_believed((old.id, _ENI), missing, now):
            self._doubt((old.id, _ENI), now, now)
        return True

    def _merge(self, old: Eni | None, new: Eni, missing: dict[Key, float], now: float) -> Eni:
        if old is None:
            old = replace(new, addresses=(), prefixes=(), ipv6_prefixes=(), attachment=None)
        return replace(
            new,
            attachment=self._merge_attachment(old, new, missing, now),
            addresses=self._merge_cidrs(new.id, old.addresses, new.addresses, missing, now),
            prefixes=self._merge_cidrs(new.id, old.prefixes, new.prefixes, missing, now),
            ipv6_prefixes=self._merge_cidrs(new.id, old.ipv6_prefixes, new.ipv6_prefixes, missing, now),
            security_groups=self._merge_groups(old, new),
            tags=self._merge_tags(old, new),
        )

    def _merge_cidrs(
        self, eni_id: EniId, old: tuple[str, ...], new: tuple[str, ...], missing: dict[Key, float], now: float
    ) -> tuple[str, ...]:
        fresh = (cidr for cidr in new if not self._is_old((eni_id, cidr)))
        shown = tuple(cidr for cidr in fresh if cidr in old or not self._may_be_old((eni_id, cidr), now))
        lacking = (cidr for cidr in old if cidr not in new)
        return shown + tuple(cidr for cidr in lacking if self._still_believed((eni_id, cidr), missing, now))

    def _merge_attachment(self, old: Eni, new: Eni, missing: dict[Key, float], now: float) -> Attachment | None:
        before, after, key = old.attachment, new.attachment, (old.id, _ATTACHMENT)
        if before is None or before == after:
            return after
        if key in self._removed:
            return before if after is not None and after.id == before.id and self._is_old(key) else after
        if after is None:
            return before if self._still_believed(key, missing, now) else None
        if before.id != after.id or before.state is not AttachmentState.ATTACHED:
            return after
        older = after.state is AttachmentState.ATTACHING
        kept = replace(before, state=before.state if older else after.state)
        return replace(kept, delete_on_termination=before.delete_on_termination or after.delete_on_termination)

    def _merge_groups(self, old: Eni, new: Eni) -> tuple[SecurityGroupId, ...]:
        if set(old.security_groups) == set(new.security_groups) or not self._is_ours((new.id, _GROUPS)):
            return new.security_groups
        return old.security_groups

    def _merge_tags(self, old: Eni, new: Eni) -> Mapping[str, str]:
        differing = {key: value for key, value in old.tags.items() if new.tags.get(key) != value}
        return {**new.tags, **{k: v for k, v in differing.items() if self._is_ours((new.id, _TAG + k))}}

    def _still_believed(self, key: Key, missing: dict[Key, float], now: float) -> bool:
        since = missing.get(key, now)
        settles_at = max(since + self._confirm_seconds, self._made.get(key, now - GRACE_SECONDS) + GRACE_SECONDS)
        if now >= settles_at:
            return False
        self._doubt(key, since, settles_at)
        return True

    def _doubt(self, key: Key, since: float, settles_at: float) -> None:
        self._missing[key] = since
        self._open[key] = settles_at

    def _is_old(self, key: Key) -> bool:
        """Tells whether an answer that shows this is older than our removal of it."""
        return self._differs(key, self._removed)

    def _may_be_old(self, key: Key, now: float) -> bool:
        """Tells whether a predecessor may have given this back, and forgotten it, a moment before it died."""
        if self._written is None or key in self._written or now >= self._sure_at:
            return False
        self._open[key] = self._sure_at
        self.is_unsure = True
        return True

    def _is_ours(self, key: Key) -> bool:
        """Tells whether an answer that shows this otherwise is older than our own change of it."""
        return self._differs(key, self._made)

    def _differs(self, key: Key, done: dict[Key, float]) -> bool:
        if key not in done:
            return False
        self._open[key] = done[key] + GRACE_SECONDS
        return True

    def took_over(self, written: Iterable[Key]) -> None:
        """A process begins, and its predecessor wrote these CIDRs down: others count when answers go on showing them.

        EC2 may still list what the predecessor gave back; a pod must never get that.
        """
        self._written = frozenset(written)
        self._sure_at = self._clock() + CONFIRM_SECONDS

    # What we did ourselves

    def created(self, eni: Eni) -> None:
        """An ENI was created, or an own one found."""
        self.version += 1
        self._enis[eni.id] = eni
        self._did(eni.id, _ENI, *eni.addresses, *eni.prefixes, *eni.ipv6_prefixes)

    def attaching(self, eni_id: EniId, attachment: Attachment) -> None:
        """EC2 accepted an attachment."""
        self._moved_at = self._clock()
        self._did(eni_id, _ENI, _ATTACHMENT)
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
        self._did(eni_id, *new.addresses, *new.prefixes, *new.ipv6_prefixes)
        self._change(
            eni_id,
            addresses=_joined(eni.addresses, new.addresses),
            prefixes=_joined(eni.prefixes, new.prefixes),
            ipv6_prefixes=_joined(eni.ipv6_prefixes, new.ipv6_prefixes),
        )

    def unassigned(self, eni_id: EniId, cidrs: Iterable[str]) -> None:
        """Addresses or prefixes were given back."""
        gone = frozenset(cidrs)
        eni = self._enis.get(eni_id)
        if eni is None:
            return
        self._undid(eni_id, *gone)
        self._change(
            eni_id,
            addresses=tuple(a for a in eni.addresses if a not in gone),
            prefixes=tuple(p for p in eni.prefixes if p not in gone),
            ipv6_prefixes=tuple(p for p in eni.ipv6_prefixes if p not in gone),
        )

    def groups_set(self, eni_id: EniId, security_groups: Iterable[SecurityGroupId]) -> None:
        """An ENI's security groups were replaced."""
        self._did(eni_id, _GROUPS)
        self._change(eni_id, security_groups=tuple(security_groups))

    def tags_set(self, eni_id: EniId, tags: Mapping[str, str]) -> None:
        """Tags were added or changed; the others stay."""
        eni = self._enis.get(eni_id)
        if eni is not None:
            self._did(eni_id, *(_TAG + key for key in tags))
            self._change(eni_id, tags={**eni.tags, **tags})

    def detaching(self, eni_id: EniId) -> None:
        """EC2 accepted to detach an ENI."""
        eni = self._enis.get(eni_id)
        if eni is not None and eni.attachment is not None:
            self._undid(eni_id, _ATTACHMENT)
            self._change(eni_id, attachment=replace(eni.attachment, state=AttachmentState.DETACHING))

    def still_attached(self, before: Eni) -> None:
        """EC2 refused to detach an ENI: it is as it was."""
        self._removed.pop((before.id, _ATTACHMENT), None)
        self._change(before.id, attachment=before.attachment)

    def deleted(self, eni_id: EniId) -> None:
        """An ENI is gone for good: ids are never used again."""
        self.version += 1
        self._enis.pop(eni_id, None)
        self._open = {key: at for key, at in self._open.items() if key[0] != eni_id}
        self._undid(eni_id, _ENI)

    def _did(self, eni_id: EniId, *parts: str) -> None:
        keys = [(eni_id, part) for part in parts]
        self._note(keys, forget=self._removed)
        self._made |= dict.fromkeys(keys, self._clock())

    def _undid(self, eni_id: EniId, *parts: str) -> None:
        keys = [(eni_id, part) for part in parts]
        self._note(keys, forget=self._made)
        self._removed |= dict.fromkeys(keys, self._clock())

    def _note(self, keys: Iterable[Key], *, forget: dict[Key, float]) -> None:
        """What was open about these is settled by our own doing."""
        for key in keys:
            forget.pop(key, None)
            self._missing.pop(key, None)
            self._open.pop(key, None)

    def _change(self, eni_id: EniId, **parts: object) -> None:
        eni = self._enis.get(eni_id)
        self.version += 1
        if eni is not None:
            self._enis[eni_id] = replace(eni, **parts)  # type: ignore[arg-type] # the callers above name Eni's fields


def _joined(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return (*old, *(cidr for cidr in new if cidr not in old))


def _order(eni: Eni) -> tuple[bool, int, int, str]:
    if eni.attachment is None:
        return True, 0, 0, eni.id
    return False, eni.attachment.network_card, eni.attachment.device_index, eni.id
