"""The ledger: which address belongs to which sandbox, which one rests, which CIDR is given back.

Decides who holds what and what the operator may have back; which free address is the next is ``ledger.packing``'s.
Does not know what the kernel holds, does not wait (``sandbox.pool`` does) and reads no clock: ``now`` is seconds since
boot, given by the caller. Every change is remembered through ``Memory`` (``ledger.journal``) before it is made: when
remembering fails, nothing has changed.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import CardUsage, Leaving, Releasing, Supply
from eni_node_agent.ledger.addresses import addresses_of
from eni_node_agent.ledger.packing import Packing

DEFAULT_COOLDOWN_SECONDS = 30.0
"""VPC CNI's IP_COOLDOWN_PERIOD: long enough for kube-proxy everywhere to forget the pod that had the address."""
LONGEST_IDLE = 128
"""CIDRs reported as idle at most; the operator releases fewer than this at a time."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An address in a sandbox's hands."""

    sandbox: Sandbox
    address: str
    eni_id: str
    since: float
    """Seconds since boot."""


class Memory(Protocol):
    """Remembers holdings and cooling addresses beyond this process; raises when it cannot."""

    def hold(self, holding: Holding) -> None:
        """Remembers a holding."""
        ...

    def release(self, holding: Holding, at: float) -> None:
        """Forgets a holding and remembers since when its address rests."""
        ...


class Tally(NamedTuple):
    """What the operator needs to know; aggregates only."""

    assigned: int
    cooling: int
    free: int
    """Addresses that a sandbox could have at once."""
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

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._holdings: dict[SandboxKey, Holding] = {}
        self._owners: dict[str, SandboxKey] = {}
        self._cooling: dict[str, float] = {}
        self._rested: dict[str, float] = {}
        self._packing = Packing((), served=(), rested={})
        self._releasing: tuple[Releasing, ...] = ()
        self._cooldown_seconds = DEFAULT_COOLDOWN_SECONDS

    def observe(self, supply: Supply, served: Collection[str], now: float) -> None:
        """Takes over the supply; only CIDRs in ``served`` (the host's network is ready for them) are handed out.

        An assigned address that supply no longer names stays with its pod (``lost`` tells) and goes to nobody else.
        """
        self._releasing = tuple(entry for eni in supply.enis for entry in eni.releasing)
        self._cooldown_seconds = _cooldown_of(supply)
        self._cool(now)
        self._packing = Packing(supply.enis, served, self._rested)
        self._rested = {address: at for address, at in self._rested.items() if address in self._packing}
        for address in (*self._owners, *self._cooling):
            self._packing.take(address)

    def assign(self, sandbox: Sandbox, now: float) -> Holding | None:
        """Returns the sandbox's address, the same again for the same key; None when there is none now."""
        held = self._holdings.get(sandbox.key)
        if held is not None:
            return held
        self._cool(now)
        place = self._packing.best()
        if place is None:
            return None
        holding = Holding(sandbox, place.address, place.eni_id, now)
        self._memory.hold(holding)
        self._hold(holding)
        return holding

    def release(self, key: SandboxKey, now: float) -> Holding | None:
        """Takes an address back, it cools from now; None when the key is not known."""
        holding = self._holdings.get(key)
        if holding is None:
            return None
        self._memory.release(holding, now)
        del self._holdings[key]
        del self._owners[holding.address]
        self._cooling[holding.address] = now
        return holding

    def adopt(self, holding: Holding) -> bool:
        """Takes over what the journal or the kernel remembers; False when the address or key is taken already."""
        if holding.address in self._owners or holding.sandbox.key in self._holdings:
            return False
        if self._cooling.pop(holding.address, None) is not None:
            self._packing.put_back(holding.address)
        self._hold(holding)
        return True

    def rest(self, released: Mapping[str, float]) -> None:
        """Takes over from the journal since when addresses rest, by address, in seconds since boot."""
        for address, at in sorted(released.items(), key=lambda item: item[1]):
            if address not in self._owners and address not in self._cooling:
                self._cooling[address] = at
                self._packing.take(address)

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
        """Returns what is assigned although supply does not name its address any more."""
        return tuple(holding for holding in self._holdings.values() if holding.address not in self._packing)

    def next_cooled(self) -> float | None:
        """Returns when the next cooling address will have rested, in seconds since boot; None: none cools."""
        first = next(iter(self._cooling.values()), None)
        return None if first is None else first + self._cooldown_seconds

    def tally(self, now: float) -> Tally:
        """Returns the aggregates of this moment."""
        self._cool(now)
        held = [(entry, self._held_of(entry.cidr)) for entry in self._releasing]
        return Tally(
            assigned=len(self._holdings),
            cooling=len(self._cooling),
            free=self._packing.free,
            idle=tuple(islice(self._packing.idle(), LONGEST_IDLE)),
            released=tuple(entry for entry, count in held if not count),
            leaving=tuple(Leaving(cidr=entry.cidr, token=entry.token, held=count) for entry, count in held if count),
            cards=self._cards(),
        )

    def _held_of(self, cidr: str) -> int:
        """Counts what is assigned or cooling of a CIDR, whether or not supply still names it."""
        if ":" in cidr:
            return 0  # no pod has an IPv6 address of this agent, and a /80 has too many to look at
        return sum(1 for address in addresses_of(cidr) if address in self._owners or address in self._cooling)

    def _cards(self) -> tuple[CardUsage, ...]:
        cards = self._packing.cards
        if not cards:
            return ()
        assigned = Counter(map(self._packing.card_of, self._owners))
        cooling = Counter(map(self._packing.card_of, self._cooling))
        return tuple(CardUsage(network_card=card, assigned=assigned[card], cooling=cooling[card]) for card in cards)

    def _hold(self, holding: Holding) -> None:
        self._holdings[holding.sandbox.key] = holding
        self._owners[holding.address] = holding.sandbox.key
        self._packing.take(holding.address)

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
            self._packing.put_back(address)


def _cooldown_of(supply: Supply) -> float:
    setting = supply.policy.get("cooldownSeconds")
    return float(setting.value) if setting and isinstance(setting.value, int) else DEFAULT_COOLDOWN_SECONDS
