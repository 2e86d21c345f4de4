"""The IPv4 addresses of one subnet: which are taken, and which one EC2 would hand out next.

First four and last address are AWS's own, prefixes are wholly free aligned /28s, and ranges people reserved are left
to what they are reserved for (subnet-sizing.html, subnet-cidr-reservation.html in AWS's VPC user guide).
Does not know who holds an address. Counterpart: ``ipv6_addresses`` for the other family.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from eni_lab.aws.engine.errors import Ec2Error, invalid_value, no_free_addresses, no_free_blocks

BLOCK = 16
"""Addresses of a /28."""

FIRST_USABLE = 4
"""Network, router, DNS and one kept for the future are not handed out."""


@dataclass(frozen=True, slots=True)
class _Range:
    """A reserved range as offsets into the subnet, end excluded."""

    cidr: IPv4Network
    start: int
    end: int
    kind: str


class SubnetPool:
    """Taken addresses as offsets, and how many are taken in each /28."""

    def __init__(self, cidr: IPv4Network, rng: random.Random) -> None:
        self.cidr = cidr
        self._base = int(cidr.network_address)
        self._size = cidr.num_addresses
        self._rng = rng
        self._taken = {*range(FIRST_USABLE), self._size - 1}
        self._occupancy = [0] * (self._size // BLOCK)
        for offset in self._taken:
            self._occupancy[offset // BLOCK] += 1
        self._reserved: list[_Range] = []
        self._claimed: list[int] = []

    @property
    def free(self) -> int:
        """Counts free addresses as AvailableIpAddressCount does: a prefix costs 16, a reservation nothing."""
        return self._size - len(self._taken)

    @property
    def free_blocks(self) -> int:
        """Counts the /28s that could still be handed out as prefixes, reserved ones included."""
        return self._occupancy.count(0)

    # --- reservations

    def reserve(self, cidr: IPv4Network, kind: str) -> None:
        """Keeps a range for prefixes (``prefix``) or for requests that name an address (``explicit``)."""
        start = int(cidr.network_address) - self._base
        self._reserved.append(_Range(cidr, start, start + cidr.num_addresses, kind))

    def unreserve(self, cidr: IPv4Network) -> None:
        """Gives a reserved range back to general use."""
        self._reserved = [held for held in self._reserved if held.cidr != cidr]

    # --- single addresses

    def take_address(self, wanted: str) -> str:
        """Takes the address a request names, inside a reservation or not."""
        offset = self._offset(wanted)
        if offset in self._taken:
            raise Ec2Error("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        return self._take(offset)

    def pick_address(self, choice: str) -> str:
        """Takes a free address outside of all reservations; ``choice`` is ``random`` or ``packed``."""
        start = self._rng.randrange(self._size) if choice == "random" else 0
        for offset in chain(range(start, self._size), range(start)):
            if offset not in self._taken and self._reservation(offset) is None:
                return self._take(offset)
        raise no_free_addresses()

    def release_address(self, address: str) -> None:
        """Frees an address that was taken."""
        self._release(int(IPv4Address(address)) - self._base)

    # --- prefixes

    def take_prefix(self, wanted: str) -> str:
        """Takes the /28 a request names."""
        block = self._block(wanted)
        if self._occupancy[block]:
            raise invalid_value(f"The prefix {wanted} overlaps with addresses that are in use.")
        return self._take_block(block)

    def pick_prefix(self, choice: str, *, fall_back: bool) -> str:
        """Takes a wholly free /28, from ``prefix`` reservations first (there always at random, as documented)."""
        kept = [b for b in self._blocks_reserved_for_prefixes() if not self._occupancy[b]]
        if kept:
            return self._take_block(self._rng.choice(kept))
        if not fall_back and any(held.kind == "prefix" for held in self._reserved):
            raise no_free_blocks()
        free = [b for b, used in enumerate(self._occupancy) if not used and not self._block_is_reserved(b)]
        if not free:
            raise no_free_blocks()
        return self._take_block(self._rng.choice(free) if choice == "random" else free[0])

    def release_prefix(self, prefix: str) -> None:
        """Frees a prefix that was taken."""
        start = int(IPv4Network(prefix).network_address) - self._base
        for offset in range(start, start + BLOCK):
            self._release(offset)

    # --- all or nothing

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Gives back what the body took when it ends with an error of EC2."""
        self._claimed.clear()
        try:
            yield
        except Ec2Error:
            for offset in self._claimed:
                self._release(offset)
            raise

    def _offset(self, address: str) -> int:
        try:
            offset = int(IPv4Address(address)) - self._base
        except ValueError:
            raise invalid_value(f"invalid value for parameter address: {address}") from None
        if not 0 <= offset < self._size:
            raise invalid_value(f"Address {address} does not fall within the subnet's address range")
        if offset < FIRST_USABLE or offset == self._size - 1:
            raise invalid_value(f"Address {address} is in subnet's reserved address range")
        return offset

    def _block(self, prefix: str) -> int:
        try:
            network = IPv4Network(prefix)
        except ValueError:
            raise invalid_value(f"The prefix {prefix} is not a valid IPv4 CIDR block.") from None
        if network.prefixlen != 28 or not network.subnet_of(self.cidr):
            raise invalid_value(f"The prefix {prefix} is not a /28 within the subnet's address range {self.cidr}.")
        return (int(network.network_address) - self._base) // BLOCK

    def _take(self, offset: int) -> str:
        self._taken.add(offset)
        self._claimed.append(offset)
        self._occupancy[offset // BLOCK] += 1
        return str(IPv4Address(self._base + offset))

    def _release(self, offset: int) -> None:
        self._taken.remove(offset)
        self._occupancy[offset // BLOCK] -= 1

    def _take_block(self, block: int) -> str:
        start = block * BLOCK
        for offset in range(start, start + BLOCK):
            self._take(offset)
        return f"{IPv4Address(self._base + start)}/28"

    def _reservation(self, offset: int) -> _Range | None:
        return next((held for held in self._reserved if held.start <= offset < held.end), None)

    def _block_is_reserved(self, block: int) -> bool:
        start, end = block * BLOCK, (block + 1) * BLOCK
        return any(held.start < end and start < held.end for held in self._reserved)

    def _blocks_reserved_for_prefixes(self) -> Iterator[int]:
        for held in self._reserved:
            if held.kind == "prefix":
                yield from range(held.start // BLOCK, held.end // BLOCK)
