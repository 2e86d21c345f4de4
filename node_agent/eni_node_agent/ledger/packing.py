"""Packing: which of the supply's addresses a pod gets next, and which CIDRs nobody is in.

Decides the order: pods gather on the fullest prefix and the fullest ENI, so that churn leaves whole prefixes and ENIs
empty, which alone can be given back. Does not know who holds an address or for how long it rests (``ledger.ledger``
does); says where to go, not when to leave (the operator's ``planning.release`` does).

Law: no address is given of a prefix while a fuller one of the same network card has room. So a further prefix is begun
only when all begun ones are full, and there are never more in use than the most addresses ever taken at once fill.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eni_crds.nodeippool import SERVING_ROLES, EniRole, EniState, SupplyEni
from eni_node_agent.ledger.addresses import addresses_of, single


class Place(NamedTuple):
    """Where an address is."""

    address: str
    eni_id: str


@dataclass(slots=True)
class _Eni:
    """An ENI of supply whose addresses may be in use."""

    id: str
    role: EniRole
    network_card: int
    device_index: int
    is_giving: bool
    """True: attached, and pods may have new addresses of it."""
    blocks: list["_Block"] = field(default_factory=list)
    taken: int = 0


@dataclass(slots=True)
class _Block:
    """A CIDR of supply: a prefix or a single address."""

    cidr: str
    eni: _Eni
    shelf: "_Shelf | None"
    """None: nothing of it is given; on its way out, or the host's network does not serve it."""
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

    def __init__(self, enis: Iterable[SupplyEni], served: Collection[str], rested: Mapping[str, float]) -> None:
        """Lays out a supply of which nothing is taken yet.

        Args:
            enis: of the supply.
            served: CIDRs the host's network is ready for.
            rested: when addresses were released last; those not in it have rested longest.
        """
        self._enis: list[_Eni] = []
        self._shelves: list[_Shelf] = []
        self._block_of: dict[str, _Block] = {}
        for eni in sorted(enis, key=lambda eni: (eni.network_card, eni.device_index)):
            self._add(eni, served)
        for shelf in self._shelves:
            shelf.free = dict.fromkeys(sorted(shelf.free, key=lambda address: rested.get(address, float("-inf"))))

    def __contains__(self, address: str) -> bool:
        return address in self._block_of

    @property
    def free(self) -> int:
        """Addresses a pod could have at once."""
        return sum(len(shelf.free) for shelf in self._shelves)

    @property
    def cards(self) -> tuple[int, ...]:
        """Network cards beside card 0 that have ENIs for pods, lowest first."""
        return tuple(sorted({eni.network_card for eni in self._enis if eni.network_card and eni.role in SERVING_ROLES}))

    def card_of(self, address: str) -> int | None:
        """Returns the network card of an address; None when it is not in the supply."""
        block = self._block_of.get(address)
        return None if block is None else block.eni.network_card

    def take(self, address: str) -> None:
        """Counts an address as assigned or cooling; one that is not in the supply counts nowhere."""
        block = self._block_of.get(address)
        if block is not None:
            self._count(block, 1)
            if block.shelf is not None:
                del block.shelf.free[address]

    def put_back(self, address: str) -> None:
        """Counts an address as free, the last to be given again."""
        block = self._block_of.get(address)
        if block is not None:
            self._count(block, -1)
            if block.shelf is not None:
                block.shelf.free[address] = None

    def best(self) -> Place | None:
        """Returns the best free address: fullest prefix, fullest ENI, longest rested; None when there is none."""
        stocked = [shelf for shelf in self._shelves if shelf.free]
        if not stocked:
            return None
        shelf = min(stocked, key=_Shelf.rank)
        return Place(next(iter(shelf.free)), shelf.eni.id)

    def idle(self) -> Iterator[str]:
        """Yields the CIDRs of which nothing is taken, the least useful first.

        In the order the operator releases: ENIs that give nothing, then secondary ones from empty to full, the last
        device first; the primary never leaves the instance, so it comes last.
        """
        for eni in sorted((eni for eni in self._enis if eni.role in SERVING_ROLES), key=_usefulness):
            yield from (block.cidr for block in reversed(eni.blocks) if not block.taken)

    def _add(self, eni: SupplyEni, served: Collection[str]) -> None:
        is_giving = eni.role in SERVING_ROLES and eni.state is EniState.ATTACHED and eni.excluded is None
        here = _Eni(eni.id, eni.role, eni.network_card, eni.device_index, is_giving)
        self._enis.append(here)
        leaving = {entry.cidr for entry in eni.releasing}
        open_cidrs = {cidr for cidr in cidrs_of(eni) if is_giving and cidr in served and cidr not in leaving}
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
        block.eni.taken += change


def _usefulness(eni: _Eni) -> tuple[bool, bool, int, int, int]:
    in_use = sum(1 for block in eni.blocks if block.taken)
    return eni.is_giving, eni.role is EniRole.PRIMARY, in_use, -eni.network_card, -eni.device_index


def cidrs_of(eni: SupplyEni) -> tuple[str, ...]:
    """Returns what pods may have of an ENI, as CIDRs: its secondary addresses, then its prefixes."""
    return (*(single(address) for address in eni.addresses), *eni.prefixes)
