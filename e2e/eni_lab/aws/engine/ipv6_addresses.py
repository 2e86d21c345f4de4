"""The IPv6 addresses of one subnet (always a /64): single addresses and /80 prefixes.

Counterpart: ``addresses`` for IPv4. Assumed: the /80s with the subnet's first and last addresses are not handed out.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Network

from eni_lab.aws.engine.errors import Ec2Error, invalid_value, no_free_blocks

PREFIX_BITS = 48
"""Host bits of a /80."""

_LAST_PREFIX = (1 << 16) - 1


class Ipv6SubnetPool:
    """Taken addresses and /80s as offsets."""

    def __init__(self, cidr: IPv6Network, rng: random.Random) -> None:
        self.cidr = cidr
        self._base = int(cidr.network_address)
        self._rng = rng
        self._addresses: set[int] = set()
        self._prefixes = {0, _LAST_PREFIX}

    def take_address(self, wanted: str) -> str:
        """Takes the address a request names."""
        try:
            offset = int(IPv6Address(wanted)) - self._base
        except ValueError:
            raise invalid_value(f"invalid value for parameter address: {wanted}") from None
        if not 4 <= offset < self.cidr.num_addresses - 1:
            raise invalid_value(f"Address {wanted} does not fall within the subnet's IPv6 address range")
        in_prefix = offset >> PREFIX_BITS in self._prefixes - {0, _LAST_PREFIX}
        if offset in self._addresses or in_prefix:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        return self._take(offset)

    def pick_address(self) -> str:
        """Takes a free address at random."""
        while True:
            offset = self._rng.randrange(1 << 64)
            if offset not in self._addresses and offset >> PREFIX_BITS not in self._prefixes:
                return self._take(offset)

    def release_address(self, address: str) -> None:
        """Frees an address that was taken."""
        self._addresses.remove(int(IPv6Address(address)) - self._base)

    def take_prefix(self, wanted: str) -> str:
        """Takes the /80 a request names."""
        try:
            network = IPv6Network(wanted)
        except ValueError:
            raise invalid_value(f"The prefix {wanted} is not a valid IPv6 CIDR block.") from None
        if network.prefixlen != 80 or not network.subnet_of(self.cidr):
            raise invalid_value(f"The prefix {wanted} is not a /80 within the subnet's address range {self.cidr}.")
        index = (int(network.network_address) - self._base) >> PREFIX_BITS
        if index in self._prefixes or index in self._indexes_of_addresses():
            raise invalid_value(f"The prefix {wanted} overlaps with addresses that are in use.")
        return self._take_prefix(index)

    def pick_prefix(self) -> str:
        """Takes a wholly free /80 at random."""
        start = self._rng.randrange(1 << 16)
        busy = self._prefixes | self._indexes_of_addresses()
        for index in (*range(start, 1 << 16), *range(start)):
            if index not in busy:
                return self._take_prefix(index)
        raise no_free_blocks()

    def release_prefix(self, prefix: str) -> None:
        """Frees a prefix that was taken."""
        self._prefixes.remove((int(IPv6Network(prefix).network_address) - self._base) >> PREFIX_BITS)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Gives back what the body took when it ends with an error of EC2."""
        addresses, prefixes = set(self._addresses), set(self._prefixes)
        try:
            yield
        except Ec2Error:
            self._addresses, self._prefixes = addresses, prefixes
            raise

    def _take(self, offset: int) -> str:
        self._addresses.add(offset)
        return str(IPv6Address(self._base + offset))

    def _take_prefix(self, index: int) -> str:
        self._prefixes.add(index)
        return f"{IPv6Address(self._base + (index << PREFIX_BITS))}/80"

    def _indexes_of_addresses(self) -> set[int]:
        return {offset >> PREFIX_BITS for offset in self._addresses}
