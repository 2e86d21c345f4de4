"""What may leave, and how: the operator's half of the release handshake.

Decides which CIDRs enter the handshake, which are taken back, which are unassigned and which ENIs go as a whole.
Does not decide how much is surplus (``capacity``). Counterpart: the agent's ledger, which stops handing a CIDR out
while it is in ``releasing`` and echoes its token once no pod has it and none of it cools.

Law: a CIDR is unassigned, and an ENI removed, only when the agent has echoed the token that is current in
``status.supply``; and a CIDR whose token has been echoed is never taken back, because EC2 may already have it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from eni_operator.domain.actions import Action, RemoveEni, Unassign
from eni_operator.domain.eni import AttachmentState, Eni, EniId
from eni_operator.domain.pool import Handover
from eni_operator.planning import capacity, supply
from eni_operator.planning.capacity import Target
from eni_operator.planning.grain import Grain
from eni_operator.planning.holdings import Holding, Holdings, size


def take_back(holdings: Holdings, target: Target, grain: Grain) -> Holdings:
    """Returns the holdings with handshakes cancelled: those a pod slipped into, and as many as the need asks for.

    The most useful CIDRs come back first; never one that pods must leave. An ENI on its way out goes on waiting for a
    pod that slipped in, but stays when its addresses are needed or its slots are for the next burst.
    """
    holdings = holdings.replacing(_piece_by_piece(holding, grain) for holding in holdings.serving)
    holdings = holdings.replacing(holding.taking_back(_slipped_into(holding, grain)) for holding in holdings.staying)
    missing = target.wanted - supply.most(holdings, grain)
    back: set[str] = set()
    for holding in sorted(holdings.serving, key=_usefulness, reverse=True):
        for handover in holding.handshakes:
            if missing <= 0:
                break
            if _may_come_back(holding, handover.cidr, grain):
                back.add(handover.cidr)
                missing -= size(handover.cidr) - _counted(holding, handover.cidr)
    taken = holdings.replacing(holding.taking_back(_unanswered(holding) & back) for holding in holdings.serving)
    return _keep_for_burst(taken, target, grain)


def _piece_by_piece(holding: Holding, grain: Grain) -> Holding:
    """Returns an ENI that pods of the former mode are on as one that stays: what they leave goes back meanwhile."""
    return replace(holding, draining=False) if any(map(grain.is_wrong, holding.leaving)) else holding


def _slipped_into(holding: Holding, grain: Grain) -> frozenset[str]:
    """Returns CIDRs that were a mere surplus when their handshake was begun, and are none any more."""
    return frozenset(cidr for cidr in holding.leaving if _may_come_back(holding, cidr, grain))


def _may_come_back(holding: Holding, cidr: str, grain: Grain) -> bool:
    return cidr not in holding.let_go and not supply.is_unwanted(holding, cidr, grain)


def _counted(holding: Holding, cidr: str) -> int:
    return holding.leaving.get(cidr, size(cidr) if cidr in holding.unseen else 0)


def _unanswered(holding: Holding) -> frozenset[str]:
    return frozenset(handover.cidr for handover in holding.handshakes) - holding.let_go


def _keep_for_burst(holdings: Holdings, target: Target, grain: Grain) -> Holdings:
    for holding in holdings.serving:
        if holding.draining and capacity.spare_slots(holdings, grain, target) < target.burst_slots:
            holdings = holdings.replacing((replace(holding, draining=False),))
    return holdings


def excluded(holdings: Holdings) -> tuple[str, ...]:
    """Returns what pods must leave because its ENI is excluded, idle or not, the idle ones first."""
    barred = [holding for holding in holdings.serving if holding.excluded]
    idle = [cidr for holding in barred for cidr in holding.idle]
    return (*idle, *(cidr for holding in barred for cidr in holding.kept if cidr not in idle))


def surplus(holdings: Holdings, target: Target, grain: Grain, *, room: int) -> tuple[str, ...]:
    """Returns the CIDRs that the pool holds beyond ``wanted``, the most useless first.

    Args:
        holdings: what is held, handshakes already taken back.
        target: how much to hold.
        grain: what slots are filled with.
        room: ENIs that can still be attached; without any, wrong CIDRs leave early to make slots free.
    """
    return (*_wrong(holdings, target, grain, room=room), *_right(holdings, target, grain))


def _right(holdings: Holdings, target: Target, grain: Grain) -> Iterator[str]:
    have = supply.least(holdings, grain)
    for holding, cidr in _idle_by_usefulness(holdings):
        floor = target.wanted if size(cidr) == 1 else target.wanted_in_prefixes
        if not supply.is_unwanted(holding, cidr, grain) and have - size(cidr) >= floor:
            have -= size(cidr)
            yield cidr


def _wrong(holdings: Holdings, target: Target, grain: Grain, *, room: int) -> Iterator[str]:
    """Yields CIDRs of the wrong kind: all once the right kind suffices, and before that idle ones that are in its way.

    Waiting pods may still get one of them, so that many addresses stay.
    """
    missing = target.wanted - supply.least(holdings, grain)
    wrong = [cidr for holding, cidr in _idle_by_usefulness(holdings) if not holding.excluded and grain.is_wrong(cidr)]
    if missing <= 0:
        yield from wrong
        yield from (cidr for h in holdings.serving if not h.excluded for cidr in _wrong_in_use(h, grain))
        return
    slots_lacking = 0 if room else grain.slots(missing) - sum(holding.slots_unkept for holding in holdings.usable)
    over = 0 if target.maximum_ips is None else holdings.addresses_kept + grain.whole(missing) - target.maximum_ips
    spare = sum(size(cidr) for cidr in wrong) - target.pending
    for cidr in wrong:
        if (slots_lacking > 0 or over > 0) and size(cidr) <= spare:
            slots_lacking, over, spare = slots_lacking - 1, over - size(cidr), spare - size(cidr)
            yield cidr


def _wrong_in_use(holding: Holding, grain: Grain) -> Iterator[str]:
    idle = frozenset(holding.idle)
    yield from (cidr for cidr in holding.kept if grain.is_wrong(cidr) and cidr not in idle)


def _idle_by_usefulness(holdings: Holdings) -> Iterator[tuple[Holding, str]]:
    """Yields idle CIDRs, those of the emptiest ENI with the highest device index first: so pods end up on few ENIs."""
    for holding in sorted(holdings.serving, key=_usefulness):
        for cidr in holding.idle:
            yield holding, cidr


def _usefulness(holding: Holding) -> tuple[bool, bool, int, int]:
    """Orders ENIs: those on their way out, then secondary ones from empty to full; the primary never leaves."""
    in_use = len(holding.kept) - len(holding.idle)
    return not holding.draining, holding.eni.is_primary, in_use, -holding.device_index


def empty_enis(holdings: Holdings, target: Target, grain: Grain) -> frozenset[EniId]:
    """Returns ENIs of ours that hold nothing to keep and whose slots neither the need nor the burst asks for.

    One that pods must leave, and are on, goes as soon as it is let go: what it holds goes back piece by piece before.
    """
    spare = capacity.spare_slots(holdings, grain, target)
    leaving: set[EniId] = set()
    for holding in reversed(holdings.staying):
        if holding.kept or not holding.removable or not holding.eni.is_attached:
            continue
        if not holding.is_let_go and (holding.excluded or holding.leaving or holding.unseen):
            continue
        if holding.excluded:
            leaving.add(holding.eni.id)
        elif spare - holding.slots >= target.burst_slots:
            spare -= holding.slots
            leaving.add(holding.eni.id)
    return frozenset(leaving)


def begin(holdings: Holdings, cidrs: Iterable[str], nonce: str) -> Holdings:
    """Returns the holdings with a handshake begun for each of these CIDRs, under a token never used before."""
    given = frozenset(cidrs)
    return holdings.replacing(
        holding.giving_up(tuple(Handover(cidr, _token(nonce, cidr)) for cidr in holding.kept if cidr in given))
        for holding in holdings.serving
    )


def drain(holdings: Holdings, enis: frozenset[EniId]) -> Holdings:
    """Returns the holdings with these ENIs on their way out."""
    return holdings.replacing(replace(h, draining=True) for h in holdings.serving if h.eni.id in enis)


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
