"""The ledger: which address belongs to which sandbox, which one rests, which CIDR is given back.

Decides who holds what and what the operator may have back; which free address is the next is ``ledger.packing``'s.
Does not know what the kernel holds, does not wait (``sandbox.pool`` does) and reads no clock: ``now`` is seconds since
boot, given by the caller. Every change is remembered through ``Memory`` (``ledger.journal``) before it is made: when
remembering fails, nothing has changed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import islice
from typing import NamedTuple, Protocol

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_crds.nodeippool import CardUsage, Family, Leaving, Releasing, Supply
from eni_node_agent.ledger.addresses import addresses_of, is_ipv6, number_of
from eni_node_agent.ledger.packing import Packing
from eni_node_agent.ledger.ranges import Range, egress_range, is_node_local

DEFAULT_COOLDOWN_SECONDS = 30.0
"""VPC CNI's IP_COOLDOWN_PERIOD: long enough for kube-proxy everywhere to forget the pod that had the address."""
LONGEST_IDLE = 128
"""CIDRs reported as idle at most; the operator releases fewer than this at a time."""


class LinkNames(NamedTuple):
    """How both ends of a sandbox's link are called."""

    ifname: str
    """In the pod."""
    host_ifname: str


def plain_names(key: SandboxKey, _: int) -> LinkNames:
    """Returns the names of links that nobody makes."""
    return LinkNames(key.ifname, "")


@dataclass(frozen=True, slots=True)
class Holding:
    """Addresses in a sandbox's hands."""

    sandbox: Sandbox
    links: tuple[PodLink, ...]
    since: float
    """Seconds since boot."""

    @property
    def address(self) -> str:
        """The address the pod is known by."""
        return self.links[0].addresses[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of the VPC."""
        return tuple(address for link in self.links for address in link.addresses)

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """All addresses, node-local ones too."""
        return tuple(address for link in self.links for address in link.all_addresses)

    @property
    def eni_id(self) -> str:
        """The ENI of the first link."""
        return self.links[0].eni_id


class Memory(Protocol):
    """Remembers holdings and cooling addresses beyond this process; raises when it cannot."""

    def hold(self, holding: Holding) -> None:
        """Remembers a holding."""
        ...

    def release(self, holding: Holding, at: float) -> None:
        """Forgets a holding and remembers since when its addresses rest."""
        ...


class Tally(NamedTuple):
    """What the operator needs to know; aggregates only.

    Addresses are counted of one family: IPv4 where the pool has it, the scarce one, and IPv6 where it is alone.
    """

    assigned: int
    cooling: int
    free: int
    """Addresses that sandboxes could have at once; of IPv6 alone no more than the instance may have pods."""
    idle: tuple[str, ...]
    """CIDRs with no assigned and no cooling address, the least useful first."""
    released: tuple[Releasing, ...]
    """Handshakes answered: these CIDRs are in nobody's hands and are not handed out."""
    leaving: tuple[Leaving, ...]
    """Handshakes that pods or cooling addresses hold up; these CIDRs are not handed out either."""
    cards: tuple[CardUsage, ...]
    """Network cards beside card 0."""


class Ledger:
    """State of every address of one node. An address never has two owners."""

    def __init__(self, memory: Memory, *, egress: Collection[Family] = ()) -> None:
        """Begins with nothing.

        Args:
            memory: remembers beyond this process.
            egress: families of which a pod gets a node-local address where the pool does not have them.
        """
        self._memory = memory
        self._egress_families = frozenset(egress)
        self._holdings: dict[SandboxKey, Holding] = {}
        self._owners: dict[str, SandboxKey] = {}
        self._assigned: Counter[bool] = Counter()
        """Addresses of the VPC by whether they are of IPv6."""
        self._cooling: dict[str, float] = {}
        self._rested: dict[str, float] = {}
        self._packing = Packing((), served=(), rested={})
        self._node_local = {Family.IPV4: egress_range(ipv6=False), Family.IPV6: egress_range(ipv6=True)}
        self._families: tuple[Family, ...] = (Family.IPV4,)
        self._egress: Range | None = None
        """Where pods get a node-local address of."""
        self._most_pods = 0
        self._releasing: tuple[Releasing, ...] = ()
        self._cooldown_seconds = DEFAULT_COOLDOWN_SECONDS

    def observe(self, supply: Supply, served: Collection[str], now: float) -> None:
        """Takes over the supply; only CIDRs in ``served`` (the host's network is ready for them) are handed out.

        An assigned address that supply no longer names stays with its pod (``lost`` tells) and goes to nobody else.
        """
        self._releasing = tuple(entry for eni in supply.enis for entry in eni.releasing)
        self._cooldown_seconds = _cooldown_of(supply)
        self._families = tuple(supply.families)
        lacking = self._egress_families.difference(self._families)
        self._egress = next((self._node_local[family] for family in lacking), None)
        self._most_pods = supply.limits.maximum_pods
        self._cool(now)
        self._packing = Packing(supply.enis, served, self._rested, self._families, supply.cards)
        known = ((address, at) for address, at in self._rested.items() if address in self._packing)
        self._rested = dict(known)
        for address in (*self._owners, *self._cooling):
            self._packing.take(address)

    def assign(
        self, sandbox: Sandbox, now: float, name: Callable[[SandboxKey, int], LinkNames] = plain_names
    ) -> Holding | None:
        """Returns the sandbox's addresses, the same again for the same key; None when not all can be had now.

        Args:
            sandbox: who asks.
            now: seconds since boot.
            name: tells how the link of a number is called.
        """
        held = self._holdings.get(sandbox.key)
        if held is not None:
            return held
        self._cool(now)
        links = self._choose(sandbox, name)
        if links is None:
            return None
        holding = Holding(sandbox, links, now)
        self._memory.hold(holding)
        self._hold(holding)
        return holding

    def release(self, key: SandboxKey, now: float) -> Holding | None:
        """Takes the addresses back, they cool from now; None when the key is not known."""
        holding = self._holdings.get(key)
        if holding is None:
            return None
        self._memory.release(holding, now)
        del self._holdings[key]
        for address in holding.addresses:
            self._assigned[is_ipv6(address)] -= 1
        for address in holding.all_addresses:
            del self._owners[address]
            self._cooling[address] = now
        return holding

    def adopt(self, holding: Holding) -> bool:
        """Takes over what the journal or the kernel remembers; False when an address or the key is taken already."""
        if holding.sandbox.key in self._holdings or any(a in self._owners for a in holding.all_addresses):
            return False
        for address in holding.all_addresses:
            if self._cooling.pop(address, None) is not None:
                self._put_back(address)
        self._hold(holding)
        return True

    def rest(self, released: Mapping[str, float]) -> None:
        """Takes over from the journal since when addresses rest, by address, in seconds since boot."""
        for address, at in sorted(released.items(), key=lambda item: item[1]):
            if address not in self._owners and address not in self._cooling:
                self._cooling[address] = at
                self._take(address)

    def find(self, key: SandboxKey) -> Holding | None:
        """Returns what the key holds."""
        return self._holdings.get(key)

    def holdings(self) -> Collection[Holding]:
        """Returns all that is assigned."""
        return self._holdings.values()

    def cooling(self) -> Mapping[str, float]:
        """Returns what cools, and when it was released, in seconds since boot."""
        return self._cooling

    def owner(self, address: str) -> SandboxKey | None:
        """Returns who holds an address."""
        return self._owners.get(address)

    def lost(self) -> tuple[Holding, ...]:
        """Returns what is assigned although supply does not name an address of it any more."""
        return tuple(holding for holding in self._holdings.values() if self._lost_of(holding))

    def lost_addresses(self) -> list[str]:
        """Returns the addresses that are assigned although supply does not name them any more."""
        return [address for holding in self._holdings.values() for address in self._lost_of(holding)]

    def next_cooled(self) -> float | None:
        """Returns when the next cooling address will have rested, in seconds since boot; None: none cools."""
        first = next(iter(self._cooling.values()), None)
        return None if first is None else first + self._cooldown_seconds

    def tally(self, now: float) -> Tally:
        """Returns the aggregates of this moment."""
        self._cool(now)
        held = [(entry, self._held_of(entry.cidr)) for entry in self._releasing]
        return Tally(
            assigned=self._assigned[Family.IPV4 not in self._families],
            cooling=sum(1 for _ in self._counted(self._cooling)),
            free=self._free(),
            idle=tuple(islice(self._packing.idle(), LONGEST_IDLE)),
            released=tuple(entry for entry, count in held if not count),
            leaving=tuple(Leaving(cidr=entry.cidr, token=entry.token, held=count) for entry, count in held if count),
            cards=self._cards(),
        )

    def _choose(self, sandbox: Sandbox, name: Callable[[SandboxKey, int], LinkNames]) -> tuple[PodLink, ...] | None:
        """Looks for everything before anything is taken: what is on one card is nothing to the choice on another."""
        cards = self._packing.every_card if sandbox.every_card else (None,)
        places = [place for card in cards if (place := self._packing.best(card)) is not None]
        egress = self._next_egress()
        if not places or len(places) < len(cards) or egress is None:
            return None
        names = [name(sandbox.key, number) for number in range(len(places))]
        return tuple(
            PodLink(*names[number], place.eni_id, place.addresses, "" if number else egress)
            for number, place in enumerate(places)
        )

    def _next_egress(self) -> str | None:
        """Returns a node-local address of the family the pool lacks; empty: none is wanted, None: none is left."""
        return "" if self._egress is None else self._egress.first()

    def _free(self) -> int:
        free = self._packing.free
        return free if Family.IPV4 in self._families else min(free, self._most_pods)

    def _counted(self, addresses: Iterable[str]) -> Iterator[str]:
        """Yields the addresses of the VPC that are of the family that counts."""
        ipv6 = Family.IPV4 not in self._families
        for address in addresses:
            if is_ipv6(address) is ipv6 and not is_node_local(address):
                yield address

    def _lost_of(self, holding: Holding) -> list[str]:
        of_vpc = (address for address in holding.addresses if not is_node_local(address))
        return [address for address in of_vpc if address not in self._packing]

    def _held_of(self, cidr: str) -> int:
        """Counts what is assigned or cooling of a CIDR, whether or not supply still names it."""
        if not is_ipv6(cidr):
            return sum(1 for address in addresses_of(cidr) if address in self._owners or address in self._cooling)
        network = ip_network(cidr)
        first, last = int(network.network_address), int(network.broadcast_address)
        return sum(1 for a in (*self._owners, *self._cooling) if is_ipv6(a) and first <= number_of(a) <= last)

    def _cards(self) -> tuple[CardUsage, ...]:
        cards = self._packing.cards
        if not cards:
            return ()
        assigned = Counter(map(self._packing.card_of, self._counted(self._owners)))
        cooling = Counter(map(self._packing.card_of, self._counted(self._cooling)))
        return tuple(CardUsage(network_card=card, assigned=assigned[card], cooling=cooling[card]) for card in cards)

    def _hold(self, holding: Holding) -> None:
        self._holdings[holding.sandbox.key] = holding
        for address in holding.addresses:
            self._assigned[is_ipv6(address)] += 1
        for address in holding.all_addresses:
            self._owners[address] = holding.sandbox.key
            self._take(address)

    def _take(self, address: str) -> None:
        (self._range_of(address) or self._packing).take(address)

    def _put_back(self, address: str) -> None:
        (self._range_of(address) or self._packing).put_back(address)

    def _range_of(self, address: str) -> Range | None:
        """Returns the node-local range an address is of; None: it is of the VPC."""
        if not is_node_local(address):
            return None
        return self._node_local[Family.IPV6 if is_ipv6(address) else Family.IPV4]

    def _cool(self, now: float) -> None:
        """Frees what has rested long enough; the cooling are kept in the order of their release."""
        rested = []
        for address, released_at in self._cooling.items():
            if released_at + self._cooldown_seconds > now:
                break
            rested.append((address, released_at))
        for address, released_at in rested:
            del self._cooling[address]
            self._rested[address] = released_at
            self._put_back(address)


def _cooldown_of(supply: Supply) -> float:
    setting = supply.policy.get("cooldownSeconds")
    return float(setting.value) if setting and isinstance(setting.value, int) else DEFAULT_COOLDOWN_SECONDS
