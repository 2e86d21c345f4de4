"""The agent in memory: the real ledger, pods by name, and the law that EC2 routes whatever a pod has or may have.

Not here: the host's network, the socket, the journal. An address counts as served the moment it is in supply.
"""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv4Network, IPv6Network

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_crds.nodeippool import SERVING_ROLES, EniState, PolicyValue, Releasing, Supply, SupplyEni, Usage
from eni_node_agent.ledger.ledger import Holding, Ledger, Tally
from eni_node_agent.ledger.packing import cidrs_of
from eni_operator.controllers.kube import KubeObject


class _NoMemory:
    """The journal of a process that never restarts."""

    def hold(self, holding: Holding) -> None:
        """Remembers nothing."""

    def release(self, holding: Holding, at: float) -> None:
        """Remembers nothing."""


class MemoryAgent:
    """Gives pods addresses out of the supply it was shown, and answers handshakes.

    ``pods`` may be changed from outside; what changed is taken in with the next report. Addresses rest only if it
    ``cools``.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0, *, cools: bool = False) -> None:
        self.pods: dict[str, str | None] = {}
        self.seen: Supply | None = None
        self.connected = False
        """True: its reports bear the time."""
        self._clock = clock
        self._cools = cools
        self._ledger = Ledger(_NoMemory())
        self._names = itertools.count()

    def want(self, count: int) -> None:
        """Binds or removes pods until there are so many."""
        while len(self.pods) > count:
            del self.pods[next(reversed(self.pods))]
        while len(self.pods) < count:
            self.pods[f"pod-{next(self._names)}"] = None

    @property
    def pending(self) -> int:
        """Counts pods without an address."""
        return sum(address is None for address in self.pods.values())

    @property
    def held(self) -> set[str]:
        """Returns the addresses pods have, IPv6 ones as their prefix."""
        addresses = (address for holding in self._ledger.holdings() for address in holding.addresses)
        return {str(IPv6Network((each, 80), strict=False)) if ":" in each else each for each in addresses}

    @property
    def tally(self) -> Tally:
        """Returns the ledger's figures."""
        return self._ledger.tally(self._clock())

    def rests_until(self) -> float | None:
        """Returns when the next resting address may be used again; None where none rests."""
        return self._ledger.next_cooled()

    def check(self, owned: set[str]) -> None:
        """Fails where a pod has, or may get, an address that is not among those EC2 routes to this instance now."""
        offered = offered_by(self.seen)
        assert offered <= owned, f"on offer, but not ours any more: {sorted(offered - owned)}"
        assert self.held <= owned, f"a pod has an address that EC2 took back: {sorted(self.held - owned)}"

    def report(self, supply: Supply | None, owned: set[str]) -> KubeObject:
        """Takes a supply over and returns ``status.usage``; ``owned`` is what EC2 routes to this instance now."""
        if supply is not None and supply is not self.seen:
            served = [cidr for eni in supply.enis for cidr in cidrs_of(eni)]
            self._ledger.observe(supply if self._cools else _without_rest(supply), served, self._clock())
        self.seen = supply
        self._release()
        self.check(owned)
        self._assign()
        self.check(owned)
        return self._usage()

    def _release(self) -> None:
        gone = {h.sandbox.key for h in self._ledger.holdings()} - {_key(pod) for pod in self.pods}
        for key in sorted(gone):
            self._ledger.release(key, self._clock())

    def _assign(self) -> None:
        for pod in [name for name, address in self.pods.items() if address is None]:
            holding = self._ledger.assign(Sandbox(_key(pod)), self._clock())
            if holding is not None:
                self.pods[pod] = holding.address

    def _usage(self) -> KubeObject:
        tally = self.tally
        reported_at = datetime.fromtimestamp(self._clock(), UTC) if self.connected else None
        usage = Usage(
            assigned=tally.assigned,
            cooling=tally.cooling,
            free=tally.free,
            pending=self.pending,
            idle=list(tally.idle),
            released=list(tally.released),
            leaving=list(tally.leaving),
            cards=list(tally.cards),
            boot_id="boot-1",
            reported_at=reported_at,
        )
        return usage.dump()

    def unended(self) -> list[Releasing]:
        """Returns the handshakes that are answered and still stand in supply."""
        return list(self.tally.released)


def _key(pod: str) -> SandboxKey:
    return SandboxKey("eni", pod, "eth0")


def _without_rest(supply: Supply) -> Supply:
    return supply.replace(policy={**supply.policy, "cooldownSeconds": PolicyValue(value=0, origin="-")})


@cache
def addresses_of(cidr: str) -> frozenset[str]:
    """Returns every address of a CIDR."""
    return frozenset(str(address) for address in IPv4Network(cidr))


def offered_by(supply: Supply | None) -> set[str]:
    """Returns the addresses a new pod could get of a supply, IPv6 ones as their prefix."""
    usable = [
        eni
        for eni in (supply.enis if supply else [])
        if eni.state is EniState.ATTACHED and eni.role in SERVING_ROLES and not eni.excluded
    ]
    ipv4 = (address for eni in usable for cidr in _kept(eni) for address in addresses_of(cidr))
    return {*ipv4, *(prefix for eni in usable for prefix in eni.ipv6_prefixes)}


def _kept(eni: SupplyEni) -> list[str]:
    leaving = {item.cidr for item in eni.releasing}
    return [cidr for cidr in (*(f"{a}/32" for a in eni.addresses), *eni.prefixes) if cidr not in leaving]
