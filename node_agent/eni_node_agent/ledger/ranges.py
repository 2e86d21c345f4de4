"""Addresses that are counted, not listed: an IPv6 prefix has 2^48, a node-local range a thousand.

Decides their order: those never used first, the lowest at the front, then the longest rested. Knows what is taken and
what rests, not who holds it (``ledger.ledger`` does). No step looks at more addresses than have been used.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from eni_node_agent.ledger.addresses import number_of

FRESH: Final = 1024
"""Addresses of a range that are used before the first of them is used again, and so those remembered: more than a node
has pods, few enough to remember. Where all of them are taken or cool, further ones follow."""
EGRESS_CIDRS: Final = ("169.254.172.0/22", "fd00::ac:0/118")
"""VPC CNI's node-local ranges for connections to the world of the family a pool does not have."""

_SPANS: Final = tuple(
    range(int(network.network_address), int(network.broadcast_address) + 1)
    for network in map(ipaddress.ip_network, EGRESS_CIDRS)
)
_STARTS: Final = ("169.254.", "fd00:")
"""What most addresses do not begin with: the cheap half of the question."""


class Range:
    """One CIDR."""

    def __init__(self, cidr: str, *, margin: int = 0) -> None:
        """Lays out a range of which nothing is taken yet.

        Args:
            cidr: the range.
            margin: addresses at either end that are not used.

        Raises:
            ValueError: not a CIDR, or bits are set beyond its mask.
        """
        network = ipaddress.ip_network(cidr)
        self._make = type(network.network_address)
        self._first = int(network.network_address) + margin
        self._end = int(network.network_address) + network.num_addresses - margin
        self._fresh = self._first
        self._taken: set[int] = set()
        self._rested: dict[int, None] = {}

    def __contains__(self, address: str) -> bool:
        return self._first <= number_of(address) < self._end

    @property
    def free(self) -> int:
        """Addresses that are neither taken nor cooling."""
        return self._end - self._first - len(self._taken)

    def rest(self, addresses: Iterable[str]) -> None:
        """Takes over addresses that have been used, the longest rested first."""
        self._rested.update(dict.fromkeys(map(number_of, addresses)))

    def take(self, address: str) -> None:
        """Counts an address as assigned or cooling."""
        number = number_of(address)
        self._rested.pop(number, None)
        self._taken.add(number)

    def put_back(self, address: str) -> None:
        """Counts an address as free, the last to be given again."""
        number = number_of(address)
        self._taken.discard(number)
        self._rested[number] = None

    def first(self) -> str | None:
        """Returns the address to be given next; None when there is none."""
        while self._fresh in self._taken or self._fresh in self._rested:
            self._fresh += 1
        if self._rested and self._fresh - self._first >= min(FRESH, self._end - self._first):
            return str(self._make(next(iter(self._rested))))
        return str(self._make(self._fresh)) if self._fresh < self._end else None


def is_node_local(address: str) -> bool:
    """Tells whether an address is of a node-local range, the ends of it included."""
    return address.startswith(_STARTS) and any(number_of(address) in span for span in _SPANS)


def egress_range(*, ipv6: bool) -> Range:
    """Returns the node-local range of a family; the ends of it, which some take for broadcast or a router, are left."""
    return Range(EGRESS_CIDRS[ipv6], margin=2)
