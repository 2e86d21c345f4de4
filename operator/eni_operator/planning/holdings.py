"""What the pool holds: the world's ENIs by what can be done with them, their CIDRs by state of the handshake.

Decides which ENIs serve this pool, and which have been given up for good. Does not decide what
should change (``capacity``, ``release``, ``placement``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX, AttachmentState, Eni
from eni_operator.domain.instance import Instance
from eni_operator.domain.pool import Handover, World

SERVING_STATES = (AttachmentState.ATTACHING, AttachmentState.ATTACHED)


def size(cidr: str) -> int:
    """Returns how many pod addresses a CIDR of a pool has: one for a /32, sixteen for a /28."""
    return 1 if cidr.endswith("/32") else ADDRESSES_PER_PREFIX


def cidrs_of(eni: Eni) -> tuple[str, ...]:
    """Returns the ENI's secondary addresses as /32 and its prefixes."""
    return (*(f"{address}/32" for address in eni.addresses), *eni.prefixes)


def is_ours(eni: Eni, instance: Instance) -> bool:
    """Tells whether we made this ENI for this instance, so that we may also delete it."""
    return eni.tags.get(TAG_INSTANCE) == instance.id and not _is_hands_off(eni)


def is_managed(eni: Eni, instance: Instance) -> bool:
    """Tells whether pods may use this ENI: on our instance's card 0 and not tagged ``no_manage``.

    An attached ENI without our tag is managed, as with VPC CNI's MANAGE_UNTAGGED_ENI=true, but never deleted.
    """
    return _is_here(eni, instance) and (eni.is_primary or not _is_hands_off(eni))


def _is_hands_off(eni: Eni) -> bool:
    return eni.tags.get(TAG_NO_MANAGE) == "true"


def _is_here(eni: Eni, instance: Instance) -> bool:
    attachment = eni.attachment
    return attachment is not None and attachment.instance_id == instance.id and attachment.network_card == 0


@dataclass(frozen=True, slots=True)
class Holding:
    """One ENI that serves the pool, attached or being attached."""

    eni: Eni
    device_index: int
    ours: bool
    slots: int
    """Slots it has for pods."""
    kept: tuple[str, ...]
    """CIDRs that are not in a handshake: pods may have them."""
    handshakes: tuple[Handover, ...]
    """Handshakes under way for CIDRs that are still on the ENI."""
    let_go: frozenset[str]
    """CIDRs the agent has let go in answer to the current token: from here there is no way back."""
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
        """Counts slots that are free once every handshake is over."""
        return max(0, self.slots - len(self.kept))

    def taking_back(self, cidrs: frozenset[str]) -> "Holding":
        """Returns the ENI with the handshakes of these CIDRs cancelled."""
        if not cidrs:
            return self
        still = tuple(handover for handover in self.handshakes if handover.cidr not in cidrs)
        kept = tuple(cidr for cidr in cidrs_of(self.eni) if cidr in cidrs or cidr in self.kept)
        return replace(self, kept=kept, handshakes=still, draining=False)

    def giving_up(self, handovers: tuple[Handover, ...]) -> "Holding":
        """Returns the ENI with these handshakes begun."""
        if not handovers:
            return self
        gone = {handover.cidr for handover in handovers}
        return replace(
            self,
            kept=tuple(cidr for cidr in self.kept if cidr not in gone),
            idle=tuple(cidr for cidr in self.idle if cidr not in gone),
            handshakes=(*self.handshakes, *handovers),
        )


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything on or for one instance."""

    serving: tuple[Holding, ...]
    """By device index."""
    given_up: tuple[Eni, ...]
    """ENIs whose drain is complete: nothing on them can be handed out, so they only go."""
    devices_taken: frozenset[int]
    """Device indexes in use on card 0, by anybody."""

    @property
    def addresses(self) -> int:
        """Counts every address held, those in a handshake and on departing ENIs included."""
        return sum(eni.pod_addresses for eni in (*(holding.eni for holding in self.serving), *self.given_up))

    @property
    def addresses_kept(self) -> int:
        """Counts the addresses that are in no handshake."""
        return sum(size(cidr) for holding in self.serving for cidr in holding.kept)

    @property
    def staying(self) -> tuple[Holding, ...]:
        """Returns the serving ENIs that are not on their way out."""
        return tuple(holding for holding in self.serving if not holding.draining)

    def replacing(self, changed: Iterable[Holding]) -> "Holdings":
        """Returns the holdings with these ENIs in place of their former selves."""
        by_id = {holding.eni.id: holding for holding in changed}
        return replace(self, serving=tuple(by_id.get(holding.eni.id, holding) for holding in self.serving))


def sort(world: World) -> Holdings:
    """Returns the world's ENIs by what can be done with them."""
    serving: list[Holding] = []
    given_up: list[Eni] = []
    for eni in world.enis:
        if not is_managed(eni, world.instance):
            continue
        if _is_given_up(eni, world):
            given_up.append(eni)
        elif eni.attachment is not None and eni.attachment.state in SERVING_STATES:
            serving.append(_holding(eni, eni.attachment.device_index, world))
    return Holdings(
        serving=tuple(sorted(serving, key=lambda holding: holding.device_index)),
        given_up=tuple(given_up),
        devices_taken=frozenset(
            e.attachment.device_index for e in world.enis if e.attachment is not None and _is_here(e, world.instance)
        ),
    )


def answered(eni: Eni, world: World) -> frozenset[str]:
    """Returns the ENI's CIDRs that the agent has let go in answer to the token of the handshake under way."""
    here = set(cidrs_of(eni))
    return frozenset(h.cidr for h in world.releasing.get(eni.id, ()) if h.cidr in here and h in world.usage.released)


def _is_given_up(eni: Eni, world: World) -> bool:
    return eni.id in world.draining and answered(eni, world) == frozenset(cidrs_of(eni))


def _holding(eni: Eni, device_index: int, world: World) -> Holding:
    cidrs = cidrs_of(eni)
    handshakes = tuple(h for h in world.releasing.get(eni.id, ()) if h.cidr in cidrs)
    busy = {handover.cidr for handover in handshakes}
    kept = tuple(cidr for cidr in cidrs if cidr not in busy)
    return Holding(
        eni=eni,
        device_index=device_index,
        ours=is_ours(eni, world.instance),
        slots=world.instance.limits.slots_per_eni,
        kept=kept,
        handshakes=handshakes,
        let_go=answered(eni, world),
        idle=tuple(cidr for cidr in world.usage.idle if cidr in kept),
        draining=eni.id in world.draining and not kept,
    )
