"""Addresses of a CIDR. Decides their order; knows nothing of who holds them (``ledger.ledger`` does)."""

import functools
import ipaddress


@functools.lru_cache(maxsize=4096)
def addresses_of(cidr: str) -> tuple[str, ...]:
    """Returns every address of a CIDR, lowest first; a bare address is a CIDR of one.

    All 16 addresses of a /28 prefix serve pods, the first and the last too: on an ENI a prefix is not a subnet
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html).

    Raises:
        ValueError: not a CIDR, or bits are set beyond its mask.
    """
    return tuple(str(address) for address in ipaddress.ip_network(cidr))


@functools.lru_cache(maxsize=4096)
def single(address: str) -> str:
    """Returns an address as the CIDR that the release handshake speaks of: ``10.0.1.7`` as ``10.0.1.7/32``."""
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


@functools.lru_cache(maxsize=4096)
def number_of(address: str) -> int:
    """Returns an address as the number it is, for ranges too large to list."""
    return int(ipaddress.ip_address(address))


def is_ipv6(address: str) -> bool:
    """Tells the family of an address or CIDR."""
    return ":" in address
