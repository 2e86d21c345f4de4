"""Which addresses and prefixes a request asks for, and taking them from their subnet all or nothing.

Shared by Create- and RunInstances-made ENIs and by the Assign calls, which have the same four exclusive parameters per
family. Counterpart: ``addresses`` and ``ipv6_addresses`` decide what is free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from eni_lab.aws.engine.errors import exclusive, invalid_value
from eni_lab.aws.engine.model import Eni, Subnet
from eni_lab.aws.engine.region import Args, Region


@dataclass(frozen=True, slots=True)
class Wanted:
    """Addresses and prefixes of one family, by name or by number."""

    addresses: tuple[str, ...] = ()
    count: int = 0
    prefixes: tuple[str, ...] = ()
    prefix_count: int = 0

    @property
    def slots(self) -> int:
        """Counts what it will cost against the limit per ENI."""
        return len(self.addresses) + self.count + len(self.prefixes) + self.prefix_count

    @property
    def wants_prefixes(self) -> bool:
        """Tells whether it asks for prefixes at all."""
        return bool(self.prefixes or self.prefix_count)

    @classmethod
    def of(cls, args: Args, names: Sequence[str]) -> Self:
        """Reads the four parameters of a family, given by name in the order of the fields.

        Raises:
            Ec2Error: when more than one is given, or a number is negative.
        """
        given = [name for name in names if args.get(name)]
        if len(given) > 1:
            raise exclusive(given)
        addresses, count, prefixes, prefix_count = (args.get(name) for name in names)
        for name, number in zip(names[1::2], (count, prefix_count), strict=True):
            if number is not None and number < 0:
                raise invalid_value(f"Value ({number}) for parameter {name} is invalid. It must not be negative.")
        return cls(_plain(addresses or []), count or 0, _plain(prefixes or []), prefix_count or 0)


IPV4_OF_CREATE = ("SecondaryAddresses", "SecondaryPrivateIpAddressCount", "Ipv4Prefixes", "Ipv4PrefixCount")
IPV4_OF_ASSIGN = ("PrivateIpAddresses", "SecondaryPrivateIpAddressCount", "Ipv4Prefixes", "Ipv4PrefixCount")
IPV6 = ("Ipv6Addresses", "Ipv6AddressCount", "Ipv6Prefixes", "Ipv6PrefixCount")

Taken = tuple[tuple[str, ...], tuple[str, ...]]
"""Addresses and prefixes taken for one request."""


def take_ipv4(region: Region, subnet: Subnet, wanted: Wanted) -> Taken:
    """Takes IPv4 addresses and prefixes; the caller holds the pool's ``all_or_nothing``."""
    pool, knobs = region.pools[subnet.id], region.knobs
    named = [pool.take_address(address) for address in wanted.addresses]
    picked = [pool.pick_address(knobs.address_choice) for _ in range(wanted.count)]
    prefixes = [pool.take_prefix(prefix) for prefix in wanted.prefixes]
    fall_back = knobs.prefix_reservation_fallback
    prefixes += [pool.pick_prefix(knobs.prefix_choice, fall_back=fall_back) for _ in range(wanted.prefix_count)]
    return (*named, *picked), tuple(prefixes)


def take_ipv6(region: Region, subnet: Subnet, wanted: Wanted) -> Taken:
    """Takes IPv6 addresses and prefixes, all or nothing."""
    if not wanted.slots:
        return (), ()
    pool = region.ipv6_pools.get(subnet.id)
    if pool is None:
        raise invalid_value(f"The subnet '{subnet.id}' does not have an IPv6 CIDR block associated with it.")
    with pool.all_or_nothing():
        named = [pool.take_address(address) for address in wanted.addresses]
        picked = [pool.pick_address() for _ in range(wanted.count)]
        prefixes = [pool.take_prefix(prefix) for prefix in wanted.prefixes]
        prefixes += [pool.pick_prefix() for _ in range(wanted.prefix_count)]
    return (*named, *picked), tuple(prefixes)


def release_all(region: Region, eni: Eni) -> None:
    """Gives every address and prefix of an ENI back to its subnet."""
    pool = region.pools[eni.subnet_id]
    for address in eni.ipv4_addresses:
        pool.release_address(address)
    for prefix in eni.prefixes:
        pool.release_prefix(prefix)
    for address in eni.ipv6_addresses:
        region.ipv6_pools[eni.subnet_id].release_address(address)
    for prefix in eni.ipv6_prefixes:
        region.ipv6_pools[eni.subnet_id].release_prefix(prefix)


def _plain(items: Sequence[str | Mapping[str, Any]]) -> tuple[str, ...]:
    """Flattens what is a list of strings in some calls and of one-member structures in others."""
    return tuple(item if isinstance(item, str) else str(next(iter(item.values()))) for item in items)
