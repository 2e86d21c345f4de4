"""The agent's part of the pool in miniature: what it reads of the supply, whom it serves, what it reports."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from eni_operator.domain.eni import Eni, EniId
from eni_operator.domain.pool import CardUsage, Handover, Usage
from eni_testing.instances import cidrs_of


@dataclass(frozen=True)
class SupplyView:
    """What the agent reads of the operator's status."""

    cidrs: tuple[str, ...] = ()
    releasing: Mapping[str, str] = field(default_factory=dict)
    """Token by CIDR."""
    excluded: frozenset[str] = frozenset()
    """CIDRs on ENIs that no pod gets a new address of."""
    cards: Mapping[str, int] = field(default_factory=dict)
    """Network card by CIDR."""

    @classmethod
    def of(
        cls,
        enis: Mapping[EniId, Eni],
        releasing: Mapping[EniId, tuple[Handover, ...]],
        excluded: Collection[EniId] = (),
    ) -> "SupplyView":
        """Returns the supply as the shell writes it."""
        here = [eni for _, eni in sorted(_placed(enis.values()), key=lambda pair: pair[0])]
        tokens = {h.cidr: h.token for eni in here for h in releasing.get(eni.id, ()) if h.cidr in cidrs_of(eni)}
        return cls(
            cidrs=tuple(cidr for eni in here for cidr in cidrs_of(eni)),
            releasing=tokens,
            excluded=frozenset(cidr for eni in here if eni.id in excluded for cidr in cidrs_of(eni)),
            cards={cidr: eni.network_card for eni in here for cidr in cidrs_of(eni)},
        )


def _placed(enis: Iterable[Eni]) -> Iterator[tuple[tuple[int, int], Eni]]:
    for eni in enis:
        if eni.attachment is not None:
            yield (eni.network_card, eni.attachment.device_index), eni


def _prefix_of(address: IPv4Address) -> str:
    return f"{IPv4Address(int(address) & ~15)}/28"


class FakeAgent:
    """The agent at its smallest: assigns densely, cools, and answers the handshake."""

    def __init__(self, cooldown: float = 30.0) -> None:
        self.cooldown = cooldown
        self.supply = SupplyView()
        self.assigned: dict[str, IPv4Address] = {}
        self.cooling: dict[IPv4Address, float] = {}
        self.pending: list[str] = []
        self.card_of: dict[str, int] = {}
        """Network card a pod wants its address on, where that is not card 0."""

    def observe(self, supply: SupplyView) -> None:
        """Takes a supply over; the agent never goes back to an older one."""
        self.supply = supply
        self.serve()

    def add_pod(self, pod: str, *, card: int = 0) -> None:
        """A pod is bound here and wants an address."""
        if card:
            self.card_of[pod] = card
        self.pending.append(pod)
        self.serve()

    def delete_pod(self, pod: str, now: float) -> None:
        """A pod is gone; its address cools."""
        if pod in self.pending:
            self.pending.remove(pod)
        else:
            self.cooling[self.assigned.pop(pod)] = now + self.cooldown

    def tick(self, now: float) -> None:
        """Ends every cooldown that is over."""
        self.cooling = {address: until for address, until in self.cooling.items() if until > now}
        self.serve()

    def serve(self) -> None:
        """Gives waiting pods addresses, the first in line first."""
        for card in sorted({self.card_of.get(pod, 0) for pod in self.pending}):
            offers = self.offers(card)
            for pod in [pod for pod in self.pending if self.card_of.get(pod, 0) == card]:
                address = next(offers, None)
                if address is None:
                    break
                self.pending.remove(pod)
                self.assigned[pod] = address

    def offers(self, card: int = 0) -> Iterator[IPv4Address]:
        """Yields what a pod could have now: of the fullest CIDR, then on the ENI with the lowest device index."""
        busy = self.busy()
        open_cidrs = [cidr for cidr in self.supply.cidrs if self.is_open(cidr) and self.supply.cards[cidr] == card]
        held = self.held()
        for cidr in sorted(open_cidrs, key=lambda cidr: -held[cidr]):
            yield from (address for address in IPv4Network(cidr) if address not in busy)

    def is_open(self, cidr: str) -> bool:
        """Tells whether a pod may get an address of this CIDR."""
        return cidr in self.supply.cidrs and cidr not in self.supply.releasing and cidr not in self.supply.excluded

    def busy(self) -> frozenset[IPv4Address]:
        """Returns the addresses that are assigned or cooling."""
        return frozenset((*self.assigned.values(), *self.cooling))

    def held(self) -> Counter[str]:
        """Counts what is assigned or cooling, by /32 and by /28."""
        return Counter(text for address in self.busy() for text in (f"{address}/32", _prefix_of(address)))

    def held_of(self, cidr: str) -> int:
        """Counts what is assigned or cooling of a CIDR."""
        return self.held()[cidr]

    def is_unused(self, cidr: str) -> bool:
        """Tells whether nothing in the CIDR is assigned or cooling."""
        return not self.held_of(cidr)

    def usage(self) -> Usage:
        """Returns the report of now."""
        under_way = [Handover(cidr, token) for cidr, token in self.supply.releasing.items()]
        held = self.held()
        return Usage(
            assigned=len(self.assigned),
            cooling=len(self.cooling),
            free=sum(1 for card in (0, *self._cards()) for _ in self.offers(card)),
            pending=len(self.pending),
            idle=tuple(cidr for cidr in reversed(self.supply.cidrs) if not held[cidr]),
            released=frozenset(handover for handover in under_way if not held[handover.cidr]),
            reported=True,
            leaving={handover: held[handover.cidr] for handover in under_way if held[handover.cidr]},
            cards={card: self._usage_of(card) for card in self._cards()},
        )

    def _cards(self) -> frozenset[int]:
        return frozenset(self.supply.cards.values()) - {0}

    def _usage_of(self, card: int) -> CardUsage:
        networks = [IPv4Network(cidr) for cidr, on in self.supply.cards.items() if on == card]
        return CardUsage(
            assigned=sum(1 for address in self.assigned.values() if any(address in n for n in networks)),
            cooling=sum(1 for address in self.cooling if any(address in n for n in networks)),
        )
