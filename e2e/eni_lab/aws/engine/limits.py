"""What an instance type allows, checked when an ENI grows and when it is attached.

Counterpart: ``instance_type`` holds the numbers; quotas of the account are in ``knobs``.
"""

from collections.abc import Sequence

from eni_lab.aws.engine.errors import Ec2Error, address_limit, invalid_value
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
    kind = type_of(region, eni)
    if kind is not None and wanted.wants_prefixes:
        require_prefix_support(kind)
    limit = kind.ipv4_per_eni if kind is not None else region.knobs.unattached_address_limit
    if eni.slots_used + wanted.slots > limit:
        raise address_limit()


def check_ipv6_growth(region: Region, eni: Eni, wanted: Wanted) -> None:
    """Raises when an ENI may not hold so many more IPv6 addresses and prefixes."""
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


def check_attach(region: Region, eni: Eni, instance: Instance, slot: tuple[int, int]) -> None:
    """Raises when an instance's type has no room for an ENI, its addresses or its slot (card, device index)."""
    kind, present = region.types[instance.type], region.enis_of(instance.id)
    card, device_index = slot
    if slot in map(slot_of, present):
        raise invalid_value(
            f"Instance '{instance.id}' already has an interface attached at device index '{device_index}'."
        )
    if card >= len(kind.cards):
        raise invalid_value(f"Network card index {card} exceeds the limit for {kind.name}.")
    _check_count(kind, present, card)
    if eni.slots_used > kind.ipv4_per_eni or eni.ipv6_slots_used > kind.ipv6_per_eni:
        raise address_limit()
    if eni.prefixes or eni.ipv6_prefixes:
        require_prefix_support(kind)


def _check_count(kind: InstanceType, present: Sequence[Eni], card: int) -> None:
    on_card = sum(slot_of(eni)[0] == card for eni in present)
    if on_card >= kind.cards[card] or len(present) >= kind.maximum_enis:
        text = f"Interface count {len(present) + 1} exceeds the limit for {kind.name}"
        raise Ec2Error("AttachmentLimitExceeded", text)
