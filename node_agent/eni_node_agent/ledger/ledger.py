"""The ledger: which address belongs to which sandbox, which one rests, which CIDR is given back.

Decides who gets which address and what the operator may have back. Does not know what the kernel holds, does not wait
(``sandbox.pool`` does) and reads no clock: ``now`` is seconds since boot, given by the caller. Every change is
remembered through ``Memory`` (``ledger.journal``) before it is made: when remembering fails, nothing has changed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import EniState, Releasing, Supply, SupplyEni
from eni_node_agent.ledger.addresses import addresses_of, single

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
    """CIDRs with no assigned and no cooling address, those used last first."""
    released: tuple[Releasing, ...]
    """Handshakes answered: these CIDRs are in nobody's hands and are not handed out."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A CIDR of supply: a prefix or a single address."""

    cidr: str
    eni_id: str
    addresses: tuple[str, ...]
    open: bool
    """True: attached, not on its way out, and the host's network serves it."""


class Ledger:
    """State of every address of one node. An address never has two owners."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._holdings: dict[SandboxKey, Holding] = {}
        self._owners: dict[str, SandboxKey] = {}
        self._cooling: dict[str, float] = {}
        self._rested: dict[str, float] = {}
        self._enis: tuple[tuple[_Block, ...], ...] = ()
        self._block_of: dict[str, _Block] = {}
        self._taken: dict[str, int] = {}
        self._releasing: tuple[Releasing, ...] = ()
        self._cooldown_seconds = DEFAULT_COOLDOWN_SECONDS

    def observe(self, supply: Supply, served: Collection[str], now: float) -> None:
        """Takes over the supply; only CIDRs in ``served`` (the host's network is ready for them) are handed out.

        An assigned address that supply no longer names stays with its pod (``lost`` tells) and goes to nobody else.
        """
        enis = sorted(supply.enis, key=lambda eni: (eni.network_card, eni.device_index))
        self._releasing = tuple(entry for eni in enis for entry in eni.releasing)
        self._enis = tuple(tuple(_blocks(eni, served)) for eni in enis)
        self._block_of = {address: block for eni in self._enis for block in eni for address in block.addresses}
        self._cooldown_seconds = _cooldown_of(supply)
        self._cool(now)
        self._rested = {address: at for address, at in self._rested.items() if address in self._block_of}
        self._taken = {}
        for address in (*self._owners, *self._cooling):
            self._take(address, 1)

    def assign(self, sandbox: Sandbox, now: float) -> Holding | None:
        """Returns the sandbox's address, the same again for the same key; None when there is none now."""
        held = self._holdings.get(sandbox.key)
        if held is not None:
            return held
        self._cool(now)
        choice = self._choose()
        if choice is None:
            return None
        address, block = choice
        holding = Holding(sandbox, address, block.eni_id, now)
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
            self._take(holding.address, -1)
        self._hold(holding)
        return True

    def rest(self, released: Mapping[str, float]) -> None:
        """Takes over from the journal since when addresses rest, by address, in seconds since boot."""
        for address, at in sorted(released.items(), key=lambda item: item[1]):
            if address not in self._owners and address not in self._cooling:
                self._cooling[address] = at
                self._take(address, 1)

    def find(self, key: SandboxKey) -> Holding | None:
        """Returns what the key holds."""
        return self._holdings.get(key)

    def holdings(self) -> Collection[Holding]:
        """Returns all that is assigned."""
        return self._holdings.values()

    def owner(self, address: str) -> SandboxKey | None:
        """Returns who holds an address."""
        return self._owners.get(address)

    def lost(self) -> tuple[Holding, ...]:
        """Returns what is assigned although supply does not name its address any more."""
        return tuple(holding for holding in self._holdings.values() if holding.address not in self._block_of)

    def next_cooled(self) -> float | None:
        """Returns when the next cooling address will have rested, in seconds since boot; None: none cools."""
        first = next(iter(self._cooling.values()), None)
        return None if first is None else first + self._cooldown_seconds

    def tally(self, now: float) -> Tally:
        """Returns the aggregates of this moment."""
        self._cool(now)
        blocks = [block for eni in self._enis for block in eni]
        idle = (block.cidr for block in reversed(blocks) if not self._taken.get(block.cidr))
        return Tally(
            assigned=len(self._holdings),
            cooling=len(self._cooling),
            free=sum(len(block.addresses) - self._taken.get(block.cidr, 0) for block in blocks if block.open),
            idle=tuple(cidr for cidr, _ in zip(idle, range(LONGEST_IDLE), strict=False)),
            released=tuple(entry for entry in self._releasing if self._let_go(entry.cidr)),
        )

    def _choose(self) -> tuple[str, _Block] | None:
        """Returns the best free address: lowest ENI, then fullest prefix, then the longest rested address.

        Packing densely leaves whole prefixes and ENIs empty, which alone can be given back.
        """
        for eni in self._enis:
            options = [block for block in eni if block.open and self._taken.get(block.cidr, 0) < len(block.addresses)]
            if options:
                fullest = max(self._taken.get(block.cidr, 0) for block in options)
                fullest_blocks = [block for block in options if self._taken.get(block.cidr, 0) == fullest]
                return self._longest_rested(fullest_blocks)
        return None

    def _longest_rested(self, blocks: list[_Block]) -> tuple[str, _Block]:
        smallest = min(len(block.addresses) for block in blocks)
        candidates = [block for block in blocks if len(block.addresses) == smallest]
        if smallest > 1:
            candidates = candidates[:1]
        free = ((address, block) for block in candidates for address in block.addresses if self._is_free(address))
        return min(free, key=lambda option: self._rested.get(option[0], float("-inf")))

    def _is_free(self, address: str) -> bool:
        return address not in self._owners and address not in self._cooling

    def _let_go(self, cidr: str) -> bool:
        return all(self._is_free(address) for address in addresses_of(cidr))

    def _hold(self, holding: Holding) -> None:
        self._holdings[holding.sandbox.key] = holding
        self._owners[holding.address] = holding.sandbox.key
        self._take(holding.address, 1)

    def _take(self, address: str, count: int) -> None:
        block = self._block_of.get(address)
        if block is not None:
            self._taken[block.cidr] = self._taken.get(block.cidr, 0) + count

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
            self._take(address, -1)


def _cooldown_of(supply: Supply) -> float:
    setting = supply.policy.get("cooldownSeconds")
    return float(setting.value) if setting and isinstance(setting.value, int) else DEFAULT_COOLDOWN_SECONDS


def _blocks(eni: SupplyEni, served: Collection[str]) -> Iterator[_Block]:
    leaving = {entry.cidr for entry in eni.releasing}
    for cidr in cidrs_of(eni):
        is_open = eni.state is EniState.ATTACHED and cidr in served and cidr not in leaving
        yield _Block(cidr, eni.id, addresses_of(cidr), is_open)


def cidrs_of(eni: SupplyEni) -> tuple[str, ...]:
    """Returns what pods may have of an ENI, as CIDRs: its secondary addresses, then its prefixes."""
    return (*(single(address) for address in eni.addresses), *eni.prefixes)
