"""Packing: which of the supply's addresses a pod gets next, and which CIDRs nobody is in.

Decides the order: pods gather on the fullest prefix and the fullest ENI, so that churn leaves whole prefixes and ENIs
empty, which alone can be given back. Does not know who holds an address or for how long it rests (``ledger.ledger``
does); says where to go, not when to leave (the operator's ``planning.release`` does).

With IPv6 an address comes of the ENI's /80: of the ENI that the IPv4 address is on where the pool has both families,
because the operator takes an ENI off once its IPv4 CIDRs are let go, and of the first ENI where it has IPv6 alone.

Law: no address is given of a prefix while a fuller one of the same network card has room. So a further prefix is begun
only when all begun ones are full, and there are never more in use than the most addresses ever taken at once fill.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eni_crds.nodeippool import SERVING_ROLES, EniRole, EniState, Family, SupplyEni
from eni_node_agent.ledger.addresses import addresses_of, is_ipv6, single
from eni_node_agent.ledger.ranges import Range

IPV4_ALONE = (Family.IPV4,)


class Place(NamedTuple):
    """Addresses for one link, one of each family of the pool, and where they are."""

    addresses: tuple[str, ...]
    eni_id: str

    @property
    def address(self) -> str:
        """The first."""
        return self.addresses[0]


@dataclass(slots=True)
class _Eni:
    """An ENI of supply whose addresses may be in use."""

    id: str
    role: EniRole
    network_card: int
    device_index: int
    is_giving: bool
    """True: attached, and pods may have new addresses of it."""
    state: EniState
    blocks: list["_Block"] = field(default_factory=list)
    """Those of IPv6 first."""
    taken: int = 0
    """Addresses of the family that counts."""

    def first_ipv6(self) -> str | None:
        """Returns the IPv6 address to be given next; None when there is none."""
        ranges = (block.range for block in self.blocks if block.range is not None and block.is_open)
        return next((address for each in ranges if (address := each.first()) is not None), None)

    @property
    def free_ipv6(self) -> int:
        """IPv6 addresses a pod could have at once."""
        return sum(block.range.free for block in self.blocks if block.range is not None and block.is_open)


@dataclass(slots=True)
class _Block:
    """A CIDR of supply: a prefix or a single address."""

    cidr: str
    eni: _Eni
    shelf: "_Shelf | None"
    """Of IPv4; None: nothing of it is given; on its way out, or the host's network does not serve it."""
    range: Range | None = None
    """Of IPv6."""
    is_open: bool = False
    """Of IPv6; False: nothing of it is given."""
    taken: int = 0


@dataclass(slots=True)
class _Shelf:
    """Addresses among which only their rest decides: those of a prefix, or all single ones of an ENI."""

    eni: _Eni
    prefix: _Block | None
    free: dict[str, None] = field(default_factory=dict)
    """The longest rested first."""

    def rank(self) -> tuple[int, int, bool, int, int]:
        """Orders shelves, the one to give of first: card 0, the fullest prefix, single ones, the fullest ENI."""
        taken = self.prefix.taken if self.prefix else 0
        return self.eni.network_card, -taken, self.prefix is not None, -self.eni.taken, self.eni.device_index


class Packing:
    """One supply, and how much of it is taken. Looks at a shelf per prefix and ENI to choose, never at each address."""

    def __init__(
        self,
        enis: Iterable[SupplyEni],
        served: Collection[str],
        rested: Mapping[str, float],
        families: Collection[Family] = IPV4_ALONE,
        cards: Collection[int] = (),
    ) -> None:
        """Lays out a supply of which nothing is taken yet.

        Args:
            enis: of the supply.
            served: CIDRs the host's network is ready for.
            rested: when addresses were released last; those not in it have rested longest.
            families: of the pool.
            cards: network cards that ENIs for pods are on or will be.
        """
        self._cards = frozenset(cards)
        self._has_ipv4 = Family.IPV4 in families
        self._has_ipv6 = Family.IPV6 in families
        self._enis: list[_Eni] = []
        self._shelves: list[_Shelf] = []
        self._block_of: dict[str, _Block] = {}
        for eni in sorted(enis, key=lambda eni: (eni.network_card, eni.device_index)):
            self._add(eni, served)
        for shelf in self._shelves:
            shelf.free = dict.fromkeys(sorted(shelf.free, key=lambda address: rested.get(address, float("-inf"))))
        self._ranges = [block for eni in self._enis for block in eni.blocks if block.range is not None]
        ipv6 = sorted(filter(is_ipv6, rested), key=rested.__getitem__) if self._ranges else ()
        for address in ipv6:
            block = self._block(address)
            if block is not None and block.range is not None:
                block.range.rest((address,))

    def __contains__(self, address: str) -> bool:
        return self._block(address) is not None

    @property
    def free(self) -> int:
        """Links that could have their addresses at once; of IPv6 alone a number beyond what a node can use."""
        if not self._has_ipv4:
            return sum(eni.free_ipv6 for eni in self._enis)
        return sum(len(shelf.free) for shelf in self._shelves if not self._has_ipv6 or shelf.eni.free_ipv6)

    @property
    def cards(self) -> tuple[int, ...]:
        """Network cards beside card 0 that have or will have ENIs for pods, lowest first."""
        present = {eni.network_card for eni in self._enis if eni.role in SERVING_ROLES}
        return tuple(sorted((present | self._cards) - {0}))

    @property
    def every_card(self) -> tuple[int, ...]:
        """The network cards a pod gets a link on that asks for all, lowest first; it waits for one that is to come."""
        is_staying = [eni for eni in self._enis if eni.role in SERVING_ROLES and eni.state is not EniState.DETACHING]
        return tuple(sorted({eni.network_card for eni in is_staying} | self._cards))

    def card_of(self, address: str) -> int | None:
        """Returns the network card of an address; None when it is not in the supply."""
        block = self._block(address)
        return None if block is None else block.eni.network_card

    def take(self, address: str) -> None:
        """Counts an address as assigned or cooling; one that is not in the supply counts nowhere."""
        block = self._block(address)
        if block is not None:
            self._count(block, 1)
            if block.range is not None:
                block.range.take(address)
            elif block.shelf is not None:
                del block.shelf.free[address]

    def put_back(self, address: str) -> None:
        """Counts an address as free, the last to be given again."""
        block = self._block(address)
        if block is not None:
            self._count(block, -1)
            if block.range is not None:
                block.range.put_back(address)
            elif block.shelf is not None:
                block.shelf.free[address] = None

    def best(self, card: int | None = None) -> Place | None:
        """Returns the best free addresses for one link: fullest prefix, fullest ENI, longest rested; or None.

        Args:
            card: the network card they must be on; None: the first that has any.
        """
        if not self._has_ipv4:
            return self._best_of_ipv6(card)
        stocked = [shelf for shelf in self._shelves if shelf.free]
        if card is not None:
            stocked = [shelf for shelf in stocked if shelf.eni.network_card == card]
        if self._has_ipv6:
            stocked = [shelf for shelf in stocked if shelf.eni.free_ipv6]
        if not stocked:
            return None
        shelf = min(stocked, key=_Shelf.rank)
        address = next(iter(shelf.free))
        second = shelf.eni.first_ipv6() if self._has_ipv6 else None
        return Place((address,) if second is None else (address, second), shelf.eni.id)

    def _best_of_ipv6(self, card: int | None) -> Place | None:
        for eni in self._enis:
            address = eni.first_ipv6() if card in {None, eni.network_card} else None
            if address is not None:
                return Place((address,), eni.id)
        return None

    def _block(self, address: str) -> _Block | None:
        if not is_ipv6(address):
            return self._block_of.get(address)
        return next((block for block in self._ranges if block.range is not None and address in block.range), None)

    def idle(self) -> Iterator[str]:
        """Yields the CIDRs of which nothing is taken, the least useful first.

        In the order the operator releases: ENIs that give nothing, then secondary ones from empty to full, the last
        device first; the primary never leaves the instance, so it comes last.
        """
        for eni in sorted((eni for eni in self._enis if eni.role in SERVING_ROLES), key=_usefulness):
            yield from (block.cidr for block in reversed(eni.blocks) if not block.taken)

    def _add(self, eni: SupplyEni, served: Collection[str]) -> None:
        is_giving = eni.role in SERVING_ROLES and eni.state is EniState.ATTACHED and eni.excluded is None
        here = _Eni(eni.id, eni.role, eni.network_card, eni.device_index, is_giving, eni.state)
        self._enis.append(here)
        leaving = {entry.cidr for entry in eni.releasing}
        open_cidrs = {cidr for cidr in cidrs_of(eni) if is_giving and cidr in served and cidr not in leaving}
        for prefix in eni.ipv6_prefixes:
            here.blocks.append(_Block(prefix, here, None, Range(prefix), is_open=prefix in open_cidrs))
        singles = _Shelf(here, prefix=None)
        for address in eni.addresses:
            self._lay_out(_Block(single(address), here, None), singles, open_cidrs)
        self._shelves.append(singles)
        for prefix in eni.prefixes:
            block = _Block(prefix, here, None)
            shelf = _Shelf(here, prefix=block)
            self._lay_out(block, shelf, open_cidrs)
            self._shelves.append(shelf)

    def _lay_out(self, block: _Block, shelf: _Shelf, open_cidrs: Collection[str]) -> None:
        addresses = addresses_of(block.cidr)
        block.eni.blocks.append(block)
        self._block_of.update(dict.fromkeys(addresses, block))
        if block.cidr in open_cidrs:
            block.shelf = shelf
            shelf.free.update(dict.fromkeys(addresses))

    def _count(self, block: _Block, change: int) -> None:
        block.taken += change
        if (block.range is None) == self._has_ipv4:
            block.eni.taken += change


def _usefulness(eni: _Eni) -> tuple[bool, bool, int, int, int]:
    in_use = sum(1 for block in eni.blocks if block.taken)
    return eni.is_giving, eni.role is EniRole.PRIMARY, in_use, -eni.network_card, -eni.device_index


def cidrs_of(eni: SupplyEni) -> tuple[str, ...]:
    """Returns what pods may have of an ENI, as CIDRs: its secondary addresses, then its prefixes, IPv4's first."""
    return (*(single(address) for address in eni.addresses), *eni.prefixes, *eni.ipv6_prefixes)
