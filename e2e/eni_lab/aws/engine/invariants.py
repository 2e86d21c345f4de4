"""What must hold in every state of a Region; a breach is a fault of the stand-in, never of its user."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from eni_lab.aws.engine.addresses import BLOCK
from eni_lab.aws.engine.model import Eni, Subnet
from eni_lab.aws.engine.region import Region, slot_of


def breaches(region: Region) -> list[str]:
    """Returns a sentence for each law that does not hold."""
    found = [text for subnet in region.subnets.values() for text in _subnet_breaches(region, subnet)]
    return [*found, *_attachment_breaches(region)]


def _subnet_breaches(region: Region, subnet: Subnet) -> Iterator[str]:
    owners = Counter(address for eni in region.enis.values() if eni.subnet_id == subnet.id for address in _owned(eni))
    network = IPv4Network(subnet.cidr)
    for address, times in owners.items():
        if times > 1:
            yield f"address {address} of {subnet.id} is owned {times} times"
        if address not in network:
            yield f"address {address} is owned in {subnet.id} but lies outside of {subnet.cidr}"
    expected = network.num_addresses - 5 - owners.total()
    if region.pools[subnet.id].free != expected:
        yield f"{subnet.id} counts {region.pools[subnet.id].free} free addresses, its ENIs leave {expected}"


def _owned(eni: Eni) -> Iterator[IPv4Address]:
    yield from map(IPv4Address, eni.ipv4_addresses)
    for prefix in map(IPv4Network, eni.prefixes):
        yield from (prefix.network_address + offset for offset in range(BLOCK))


def _attachment_breaches(region: Region) -> Iterator[str]:
    for instance in region.instances.values():
        enis, kind = region.enis_of(instance.id), region.types[instance.type]
        if len({slot_of(eni) for eni in enis}) < len(enis):
            yield f"two ENIs of {instance.id} share a device index"
        if len(enis) > kind.maximum_enis:
            yield f"{instance.id} ({kind.name}) has {len(enis)} ENIs, {kind.maximum_enis} are allowed"
        for eni in enis:
            if eni.slots_used > kind.ipv4_per_eni:
                yield f"{eni.id} on {kind.name} uses {eni.slots_used} slots, {kind.ipv4_per_eni} are allowed"
