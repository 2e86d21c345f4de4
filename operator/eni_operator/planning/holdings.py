"""What the pool holds: the world's ENIs by what can be done with them, their CIDRs by state of the handshake.

Decides which ENIs serve this pool, what the others are to us, and which have been given up for good. Does not decide
what counts as supply (``supply``) or what should change (``capacity``, ``release``, ``placement``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_crds.nodeippool import SERVING_ROLES, EniRole
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX, AttachmentState, Eni, InterfaceType
from eni_operator.domain.instance import Instance
from eni_operator.domain.pool import Handover, World

SERVING_STATES = (AttachmentState.ATTACHING, AttachmentState.ATTACHED)
_ROLES: Mapping[str, EniRole] = {
    InterfaceType.INTERFACE: EniRole.SECONDARY,
    InterfaceType.EFA: EniRole.EFA,
    InterfaceType.EFA_ONLY: EniRole.EFA_ONLY,
    InterfaceType.TRUNK: EniRole.TRUNK,
}
"""What an interface type can be to us; one that is not here is somebody else's."""


def size(cidr: str) -> int:
    """Returns how many pod addresses a CIDR of a pool has: one for a /32, sixteen for a /28."""
    return 1 if cidr.endswith("/32") else ADDRESSES_PER_PREFIX


def cidrs_of(eni: Eni) -> tuple[str, ...]:
    """Returns the ENI's secondary addresses as /32 and its prefixes."""
    return (*(f"{address}/32" for address in eni.addresses), *eni.prefixes)


def role(eni: Eni, world: World) -> EniRole:
    """Returns what an ENI of the instance is to us; one that is not on the instance is nobody's.

    The primary is always ours to use. An attached ENI without our tag is too, as with VPC CNI's
    MANAGE_UNTAGGED_ENI=true, but it is never deleted.
    """
    if not _is_here(eni, world.instance):
        return EniRole.UNMANAGED
    if eni.is_primary:
        return EniRole.PRIMARY
    can_be = _ROLES.get(eni.interface_type, EniRole.UNMANAGED)
    if can_be in SERVING_ROLES and (eni.network_card not in world.cards or not _may_be_used(eni, world)):
        return EniRole.UNMANAGED
    return can_be


def is_managed(eni: Eni, world: World) -> bool:
    """Tells whether pods may use this ENI; see ``role``."""
    return role(eni, world) in SERVING_ROLES


def is_ours(eni: Eni, instance: Instance) -> bool:
    """Tells whether we made this ENI for this instance, so that we may also delete it; we make no EFA and no trunk."""
    tagged = eni.tags.get(TAG_INSTANCE) == instance.id and not _is_hands_off(eni)
    return tagged and eni.interface_type == InterfaceType.INTERFACE


def _is_hands_off(eni: Eni) -> bool:
    return eni.tags.get(TAG_NO_MANAGE) == "true"


def _may_be_used(eni: Eni, world: World) -> bool:
    """VPC CNI's order: the tag ``no_manage`` with any value, then our own tag, then MANAGE_UNTAGGED_ENI."""
    if TAG_NO_MANAGE in eni.tags:
        return not _is_hands_off(eni)
    return world.manage_untagged or eni.tags.get(TAG_INSTANCE) == world.instance.id


def _is_here(eni: Eni, instance: Instance) -> bool:
    return eni.attachment is not None and eni.attachment.instance_id == instance.id


@dataclass(frozen=True, slots=True)
class Holding:
    """One ENI that serves the pool, attached or being attached."""

    eni: Eni
    device_index: int
    removable: bool
    """We made it, so it may leave the instance as a whole."""
    excluded: bool
    """No pod gets a new address of it."""
    slots: int
    """Slots it has for pods."""
    kept: tuple[str, ...]
    """CIDRs that are not in a handshake: pods may have them."""
    handshakes: tuple[Handover, ...]
    """Handshakes under way for CIDRs that are still on the ENI."""
    let_go: frozenset[str]
    """CIDRs the agent has let go in answer to the current token: from here there is no way back."""
    leaving: Mapping[str, int]
    """CIDRs whose handshake the agent has seen and pods hold up: how many addresses of each they have."""
    unseen: frozenset[str]
    """CIDRs that pods had when their handshake was begun, and the agent has not answered: how many is not known."""
    idle: tuple[str, ...]
    """Kept CIDRs without an assigned or cooling address, the least useful first."""
    draining: bool
    """The whole ENI is on its way out."""

    @property
    def slots_free(self) -> int:
        """Counts slots EC2 could fill now."""
        return max(0, self.slots - len(self.kept) - len(self.handshakes))

    @property
    def slots_unkept(self) -> int:
        """Counts slots that are free once every handshake is over that no pod holds up."""
        return max(0, self.slots - len(self.kept) - len(self.leaving))

    @property
    def is_let_go(self) -> bool:
        """Tells whether nothing of it can be handed out any more."""
        return not self.kept and len(self.let_go) == len(self.handshakes)

    def taking_back(self, cidrs: frozenset[str]) -> "Holding":
        """Returns the ENI with the handshakes of these CIDRs cancelled."""
        if not cidrs:
            return self
        return replace(
            self,
            kept=tuple(cidr for cidr in cidrs_of(self.eni) if cidr in cidrs or cidr in self.kept),
            handshakes=tuple(handover for handover in self.handshakes if handover.cidr not in cidrs),
            leaving={cidr: held for cidr, held in self.leaving.items() if cidr not in cidrs},
            unseen=self.unseen - cidrs,
            draining=False,
        )

    def giving_up(self, handovers: tuple[Handover, ...]) -> "Holding":
        """Returns the ENI with these handshakes begun."""
        if not handovers:
            return self
        gone = frozenset(handover.cidr for handover in handovers)
        return replace(
            self,
            kept=tuple(cidr for cidr in self.kept if cidr not in gone),
            idle=tuple(cidr for cidr in self.idle if cidr not in gone),
            unseen=self.unseen | gone.difference(self.idle),
            handshakes=(*self.handshakes, *handovers),
        )


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything on or for one network card of an instance."""

    card: int
    serving: tuple[Holding, ...]
    """By device index."""
    given_up: tuple[Eni, ...]
    """ENIs whose drain is complete: nothing on them can be handed out, so they only go."""
    devices_taken: frozenset[int]
    """Device indexes in use, by anybody."""
    busy: int
    """Addresses that pods have or that cool, as the agent last said."""

    @property
    def addresses(self) -> int:
        """Counts every address held, those in a handshake and on departing ENIs included."""
        return sum(eni.pod_addresses for eni in (*(holding.eni for holding in self.serving), *self.given_up))

    @property
    def addresses_kept(self) -> int:
        """Counts the addresses that are in no handshake, or in one that pods hold up."""
        return sum(size(cidr) for holding in self.serving for cidr in (*holding.kept, *holding.leaving))

    @property
    def staying(self) -> tuple[Holding, ...]:
        """Returns the serving ENIs that are not on their way out."""
        return tuple(holding for holding in self.serving if not holding.draining)

    @property
    def usable(self) -> tuple[Holding, ...]:
        """Returns the ENIs that new addresses may go onto."""
        return tuple(holding for holding in self.staying if not holding.excluded)

    def replacing(self, changed: Iterable[Holding]) -> "Holdings":
        """Returns the holdings with these ENIs in place of their former selves."""
        by_id = {holding.eni.id: holding for holding in changed}
        return replace(self, serving=tuple(by_id.get(holding.eni.id, holding) for holding in self.serving))


def sort(world: World, card: int = 0) -> Holdings:
    """Returns the ENIs by what can be done with them; the world is one card's, see ``cards.world_of``."""
    serving: list[Holding] = []
    given_up: list[Eni] = []
    for eni in world.enis:
        if not is_managed(eni, world):
            continue
        if _is_given_up(eni, world):
            given_up.append(eni)
        elif eni.attachment is not None and eni.attachment.state in SERVING_STATES:
            serving.append(_holding(eni, eni.attachment.device_index, world))
    return Holdings(
        card=card,
        serving=tuple(sorted(serving, key=lambda holding: holding.device_index)),
        given_up=tuple(given_up),
        devices_taken=frozenset(
            e.attachment.device_index for e in world.enis if e.attachment is not None and _is_here(e, world.instance)
        ),
        busy=world.usage.assigned + world.usage.cooling,
    )


def is_removable(eni: Eni, world: World) -> bool:
    """Tells whether the ENI may leave the instance as a whole: no primary, no EFA, and made by us."""
    return role(eni, world) is EniRole.SECONDARY and is_ours(eni, world.instance)


def answered(eni: Eni, world: World) -> frozenset[str]:
    """Returns the ENI's CIDRs that the agent has let go in answer to the token of the handshake under way."""
    return frozenset(h.cidr for h in _under_way(eni, world) if h in world.usage.released)


def _under_way(eni: Eni, world: World) -> tuple[Handover, ...]:
    here = frozenset(cidrs_of(eni))
    return tuple(h for h in world.releasing.get(eni.id, ()) if h.cidr in here)


def _is_given_up(eni: Eni, world: World) -> bool:
    return eni.id in world.draining and answered(eni, world) == frozenset(cidrs_of(eni))


def _holding(eni: Eni, device_index: int, world: World) -> Holding:
    usage = world.usage
    handshakes = _under_way(eni, world)
    given = {handover.cidr for handover in handshakes}
    kept = tuple(cidr for cidr in cidrs_of(eni) if cidr not in given)
    let_go = answered(eni, world)
    excluded = eni.id in world.excluded
    leaving = {h.cidr: usage.leaving[h] for h in handshakes if h in usage.leaving and h.cidr not in let_go}
    return Holding(
        eni=eni,
        device_index=device_index,
        removable=is_removable(eni, world),
        excluded=excluded,
        slots=world.instance.limits.slots_per_eni,
        kept=kept,
        handshakes=handshakes,
        let_go=let_go,
        leaving=leaving,
        unseen=frozenset(given) - let_go - leaving.keys() - frozenset(usage.idle),
        idle=tuple(cidr for cidr in usage.idle if cidr in kept),
        draining=eni.id in world.draining and not kept and not excluded,
    )
