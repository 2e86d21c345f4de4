"""What may leave, and how: the operator's half of the release handshake.

Decides which CIDRs enter the handshake, which are taken back, which are unassigned and which ENIs go as a whole.
Does not decide how much is surplus (``capacity``). Counterpart: the agent's ledger, which stops handing a CIDR out
while it is in ``releasing`` and echoes its token once no pod has it and none of it cools.

Law: a CIDR is unassigned, and an ENI removed, only when the agent has echoed the token that is current in
``status.supply``; and a CIDR whose token has been echoed is never taken back, because EC2 may already have it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from eni_operator.domain.actions import Action, RemoveEni, Unassign
from eni_operator.domain.eni import AttachmentState, Eni, EniId
from eni_operator.domain.pool import Handover
from eni_operator.planning import capacity
from eni_operator.planning.capacity import Grain, Target
from eni_operator.planning.holdings import Holding, Holdings, size


@dataclass(frozen=True, slots=True)
class Surplus:
    """What could leave now."""

    cidrs: frozenset[str] = frozenset()
    enis: frozenset[EniId] = frozenset()

    def __bool__(self) -> bool:
        """Tells whether there is any."""
        return bool(self.cidrs or self.enis)


def take_back(holdings: Holdings, target: Target, grain: Grain) -> Holdings:
    """Returns the holdings with as many handshakes cancelled as the need asks for, the most useful CIDRs first.

    An ENI on its way out also stays when its slots are needed for the next burst.
    """
    missing = target.wanted - capacity.supply(holdings, grain)
    back: set[str] = set()
    for holding in sorted(holdings.serving, key=_usefulness, reverse=True):
        for handover in holding.handshakes:
            if missing <= 0:
                break
            if handover.cidr not in holding.let_go and not grain.is_wrong(handover.cidr):
                back.add(handover.cidr)
                missing -= size(handover.cidr)
    taken = holdings.replacing(holding.taking_back(_unanswered(holding) & back) for holding in holdings.serving)
    return _keep_for_burst(taken, target, grain)


def _unanswered(holding: Holding) -> frozenset[str]:
    return frozenset(handover.cidr for handover in holding.handshakes) - holding.let_go


def _keep_for_burst(holdings: Holdings, target: Target, grain: Grain) -> Holdings:
    for holding in holdings.serving:
        if holding.draining and capacity.spare_slots(holdings, grain, target) < target.burst_slots:
            holdings = holdings.replacing((replace(holding, draining=False),))
    return holdings


def choose(holdings: Holdings, target: Target, grain: Grain, *, room: int) -> Surplus:
    """Returns the idle CIDRs and the empty ENIs that the pool holds beyond ``wanted``.

    Args:
        holdings: what is held, handshakes already taken back.
        target: how much to hold.
        grain: what slots are filled with.
        room: ENIs that can still be attached; without any, wrong CIDRs leave early to make slots free.
    """
    cidrs = frozenset((*_right(holdings, target, grain), *_wrong(holdings, target, grain, room=room)))
    after = holdings.replacing(
        holding.giving_up(tuple(Handover(cidr, "") for cidr in holding.kept if cidr in cidrs))
        for holding in holdings.serving
    )
    return Surplus(cidrs, _empty_enis(after, target, grain))


def _right(holdings: Holdings, target: Target, grain: Grain) -> Iterator[str]:
    surplus = capacity.supply(holdings, grain) - target.wanted
    for cidr in _idle_by_usefulness(holdings):
        if not grain.is_wrong(cidr) and size(cidr) <= surplus:
            surplus -= size(cidr)
            yield cidr


def _wrong(holdings: Holdings, target: Target, grain: Grain, *, room: int) -> Iterator[str]:
    """Yields idle CIDRs of the wrong kind: all once the right kind suffices, and before that as many as are in its way.

    Waiting pods may still get one of them, so that many addresses stay.
    """
    missing = target.wanted - capacity.supply(holdings, grain)
    wrong = [cidr for cidr in _idle_by_usefulness(holdings) if grain.is_wrong(cidr)]
    if missing <= 0:
        yield from wrong
        return
    slots_lacking = 0 if room else grain.slots(missing) - sum(holding.slots_unkept for holding in holdings.staying)
    over = 0 if target.maximum_ips is None else holdings.addresses_kept + grain.whole(missing) - target.maximum_ips
    spare = sum(size(cidr) for cidr in wrong) - target.pending
    for cidr in wrong:
        if (slots_lacking > 0 or over > 0) and size(cidr) <= spare:
            slots_lacking, over, spare = slots_lacking - 1, over - size(cidr), spare - size(cidr)
            yield cidr


def _idle_by_usefulness(holdings: Holdings) -> Iterator[str]:
    """Yields idle CIDRs, those of the emptiest ENI with the highest device index first: so pods end up on few ENIs."""
    for holding in sorted(holdings.serving, key=_usefulness):
        yield from holding.idle


def _usefulness(holding: Holding) -> tuple[bool, bool, int, int]:
    """Orders ENIs: those on their way out, then secondary ones from empty to full; the primary never leaves."""
    in_use = len(holding.kept) - len(holding.idle)
    return not holding.draining, holding.eni.is_primary, in_use, -holding.device_index


def _empty_enis(holdings: Holdings, target: Target, grain: Grain) -> frozenset[EniId]:
    """Returns ENIs of ours that hold nothing to keep and whose slots neither the need nor the burst asks for."""
    spare = capacity.spare_slots(holdings, grain, target)
    leaving: set[EniId] = set()
    for holding in reversed(holdings.staying):
        if holding.kept or not holding.ours or holding.eni.is_primary or not holding.eni.is_attached:
            continue
        if spare - holding.slots >= target.burst_slots:
            spare -= holding.slots
            leaving.add(holding.eni.id)
    return frozenset(leaving)


def begin(holdings: Holdings, surplus: Surplus, nonce: str) -> Holdings:
    """Returns the holdings with a handshake begun for every CIDR of the surplus, under a token never used before."""
    return holdings.replacing(
        replace(
            holding.giving_up(tuple(Handover(c, _token(nonce, c)) for c in holding.kept if c in surplus.cidrs)),
            draining=holding.draining or holding.eni.id in surplus.enis,
        )
        for holding in holdings.serving
    )


def _token(nonce: str, cidr: str) -> str:
    return hashlib.sha256(f"{nonce} {cidr}".encode()).hexdigest()[:16]


def finish(holdings: Holdings, *, growing: frozenset[EniId]) -> tuple[Action, ...]:
    """Returns what ends handshakes in EC2: an Unassign per ENI, a RemoveEni for an ENI whose drain is complete.

    An ENI that is assigned to in the same plan (``growing``) waits for its turn: EC2 could give the same address back
    at once, and it would look like one that was never unassigned. CIDRs of a draining ENI leave with it.
    """
    unassign = (_unassign(h) for h in holdings.staying if h.let_go and h.eni.id not in growing)
    return (*unassign, *(_remove(eni) for eni in holdings.given_up))


def _unassign(holding: Holding) -> Unassign:
    gone = sorted(holding.let_go)
    return Unassign(
        holding.eni.id,
        addresses=tuple(cidr.removesuffix("/32") for cidr in gone if size(cidr) == 1),
        prefixes=tuple(cidr for cidr in gone if size(cidr) > 1),
    )


def _remove(eni: Eni) -> RemoveEni:
    """Names no attachment once EC2 is detaching: then only the deletion is left to do."""
    attachment = eni.attachment
    if attachment is None or attachment.state is AttachmentState.DETACHING:
        return RemoveEni(eni.id, None)
    return RemoveEni(eni.id, attachment.id)
