"""What an instance type allows, checked when an ENI grows and when it is attached.

Counterpart: ``instance_type`` holds the numbers; quotas of the account are in ``knobs``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eni_lab.aws.engine.errors import (
    Ec2Error,
    address_limit,
    invalid_combination,
    invalid_value,
    no_addresses_on_efa_only,
)
from eni_lab.aws.engine.holdings import Wanted
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.model import Eni, Instance
from eni_lab.aws.engine.region import Region, slot_of


def type_of(region: Region, eni: Eni) -> InstanceType | None:
    """Returns the type of the instance an ENI is attached to, or None."""
    if eni.attachment is None:
        return None
    return region.types[region.instance(eni.attachment.instance_id).type]


def check_growth(region: Region, eni: Eni, wanted: Wanted) -> None:
    """Raises when an ENI may not hold so many more IPv4 addresses and prefixes."""
    if not eni.has_network:
        raise no_addresses_on_efa_only("NetworkInterfaceId")
    kind = type_of(region, eni)
    if kind is not None and wanted.wants_prefixes:
        require_prefix_support(kind)
    limit = kind.ipv4_per_eni if kind is not None else region.knobs.unattached_address_limit
    if eni.slots_used + wanted.slots > limit:
        raise address_limit()


def check_ipv6_growth(region: Region, eni: Eni, wanted: Wanted) -> None:
    """Raises when an ENI may not hold so many more IPv6 addresses and prefixes."""
    if not eni.has_network:
        raise no_addresses_on_efa_only("NetworkInterfaceId")
    kind = type_of(region, eni)
    if kind is not None and wanted.wants_prefixes:
        require_prefix_support(kind)
    limit = kind.ipv6_per_eni if kind is not None else region.knobs.unattached_address_limit
    if eni.ipv6_slots_used + wanted.slots > limit:
        raise address_limit()


def require_prefix_support(kind: InstanceType) -> None:
    """Raises for a type that is not built on Nitro (the code is documented nowhere; assumed)."""
    if not kind.prefixes_supported:
        raise invalid_value(f"Prefixes are not supported for instance type {kind.name}.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an ENI sits or shall sit on an instance."""

    card: int
    device_index: int
    is_efa: bool = False
    has_network: bool = True


def check_place(kind: InstanceType, present: Sequence[Place], place: Place, instance: str) -> None:
    """Raises when a type has no room for an ENI at a place, beside those that are present.

    EFA: one a network card (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa.html#efa-limits); an EFA-only ENI
    is never the primary one. ``instance`` is the id, for the sentence.
    """
    if any((place.card, place.device_index) == (other.card, other.device_index) for other in present):
        text = f"Instance '{instance}' already has an interface attached at device index '{place.device_index}'."
        raise invalid_value(text)
    if place.card >= len(kind.cards):
        raise invalid_value(f"Network card index {place.card} exceeds the limit for {kind.name}.")
    on_card = [other for other in present if other.card == place.card]
    if len(on_card) >= kind.cards[place.card] or len(present) >= kind.maximum_enis:
        text = f"Interface count {len(present) + 1} exceeds the limit for {kind.name}"
        raise Ec2Error("AttachmentLimitExceeded", text)
    if place.is_efa:
        _check_efa(kind, on_card, place)


def check_attach(region: Region, eni: Eni, instance: Instance, slot: tuple[int, int]) -> None:
    """Raises when an instance's type has no room for an ENI, its addresses or its slot (card, device index)."""
    kind = region.types[instance.type]
    present = [_place(other, slot_of(other)) for other in region.enis_of(instance.id)]
    check_place(kind, present, _place(eni, slot), instance.id)
    if eni.slots_used > kind.ipv4_per_eni or eni.ipv6_slots_used > kind.ipv6_per_eni:
        raise address_limit()
    if eni.prefixes or eni.ipv6_prefixes:
        require_prefix_support(kind)


def check_fit(kind: InstanceType, ipv4: Wanted, ipv6: Wanted) -> None:
    """Raises when a type's ENI may not be launched with so many addresses and prefixes beside its primary address."""
    if ipv4.wants_prefixes or ipv6.wants_prefixes:
        require_prefix_support(kind)
    if 1 + ipv4.slots > kind.ipv4_per_eni or ipv6.slots > kind.ipv6_per_eni:
        raise address_limit()


def _place(eni: Eni, slot: tuple[int, int]) -> Place:
    return Place(*slot, is_efa=eni.is_efa, has_network=eni.has_network)


def _check_efa(kind: InstanceType, on_card: Sequence[Place], place: Place) -> None:
    if not kind.efa:
        raise invalid_combination(f"EFA is not supported on instance type {kind.name}.")
    if any(other.is_efa for other in on_card):
        text = f"Network card {place.card} has an EFA already; one may be attached to each network card."
        raise Ec2Error("AttachmentLimitExceeded", text)
    if not place.has_network and (place.card, place.device_index) == (0, 0):
        raise invalid_combination("An EFA-only network interface cannot be the primary network interface.")
