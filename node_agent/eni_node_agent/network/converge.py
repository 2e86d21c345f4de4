"""Brings the host's network to what a supply asks for, and tells apart what is new from what somebody undid.

Runs in one thread, without a clock: ``repair`` says when. What must hold is decided in ``desired``, what to change in
``drift``.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from eni_crds.nodeippool import Supply
from eni_node_agent.network.conflicts import conflicts
from eni_node_agent.network.desired import (
    SHARED,
    Address,
    Firewall,
    HostState,
    Item,
    LinkSetting,
    NetworkSettings,
    ReversePath,
    Route,
    Rule,
    Sysctl,
    desired,
)
from eni_node_agent.network.drift import Change, Link, Verb, changes
from eni_node_agent.network.host import Host
from eni_node_agent.network.links import ifnames_by_mac

_PASSES = 3
"""A change may undo what stood (an address takes its routes along)."""

_NO_PODS: Mapping[str, str] = MappingProxyType({})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkState:
    """How far the host's network is."""

    ready: frozenset[str] = frozenset()
    """Ids of the ENIs whose link, address, table and rules are in place, with all that they share."""
    problems: tuple[str, ...] = ()
    """Sentences: what could not be brought about."""
    conflicts: tuple[str, ...] = ()
    """Sentences: what other tools put into pods' way."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """What one round came to."""

    state: NetworkState
    repairs: tuple[str, ...]
    """Kinds of what had been in place and was put in place again: link, address, route, rule, sysctl, firewall."""
    changed: int
    """Changes made."""


@dataclass(frozen=True, slots=True)
class _Difference:
    """What is wanted, what is there, and what to do about it."""

    state: HostState
    links: Mapping[str, Link]
    conflicts: tuple[str, ...]
    pending: tuple[Change, ...]


class Converger:
    """Keeps what held after the last round. For one thread, in whose network namespace it works.

    Raises:
        NftablesError: libnftables is missing.
        OSError: no netlink socket could be had.
    """

    def __init__(self, settings: NetworkSettings, proc_sys: Path) -> None:
        self.host = Host(proc_sys)
        self._settings = settings
        self._held: frozenset[Item] = frozenset()
        self._secondary_ifnames: frozenset[str] = frozenset()
        self._ifnames: Mapping[str, str] = {}

    def converge(self, supply: Supply, pods: Mapping[str, str] = _NO_PODS) -> Convergence:
        """Changes what must change, in a few passes at most; changes nothing when there is nothing to do.

        Args:
            supply: what the operator says the node has.
            pods: name of the host's link by address of each pod the node serves.

        Raises:
            OSError: the kernel would not say how things are.
            ValueError: an address or a CIDR of the supply is none.
        """
        failures: dict[Item, str] = {}
        difference, changed = self._difference(supply, pods), 0
        renamed = self._renamed(difference)
        repairs = (*renamed, *(name_of(change.item) for change in difference.pending if self._is_repair(change)))
        for _ in range(_PASSES):
            if not difference.pending:
                break
            changed += len(difference.pending)
            failures = self._perform(difference)
            difference = self._difference(supply, pods)
        state, pending = difference.state, difference.pending
        self._held = frozenset(state.items) - {change.item for change in pending}
        self._secondary_ifnames = state.secondary_ifnames
        self._ifnames = _enis_by_mac(difference)
        found = NetworkState(_ready(state, pending), _problems(pending, failures), difference.conflicts)
        return Convergence(found, repairs, changed)

    def _difference(self, supply: Supply, pods: Mapping[str, str]) -> _Difference:
        links = self.host.links()
        # A link that is down is of a pod that leaves or has not quite come.
        up = {address: ifname for address, ifname in pods.items() if ifname in links and links[ifname].is_up}
        state = desired(supply, self._settings, ifnames_by_mac(links.values()), up)
        observed = self.host.observe(links, state)
        return _Difference(state, links, conflicts(state, observed), changes(state, observed))

    def _perform(self, difference: _Difference) -> dict[Item, str]:
        for change in difference.pending:
            _logger.debug("changing the host network", extra={"verb": change.verb, "item": change.item})
        return self.host.perform(difference.pending, difference.links)

    def _renamed(self, difference: _Difference) -> tuple[str, ...]:
        """Returns a repair for each ENI whose link has another name than after the last round."""
        before = self._ifnames
        now = _enis_by_mac(difference)
        return tuple(name_of(LinkSetting(now[mac], 0)) for mac in now if mac in before and before[mac] != now[mac])

    def _is_repair(self, change: Change) -> bool:
        if change.verb is Verb.ENSURE:
            return change.item in self._held
        item = change.item
        return isinstance(item, Address) and item.ifname in self._secondary_ifnames and item not in self._held


def name_of(item: Item) -> str:
    """Returns the kind of an item, as repairs are counted by."""
    return _NAMES[type(item)]


_NAMES: Mapping[type[Item], str] = {
    LinkSetting: "link",
    ReversePath: "sysctl",
    Address: "address",
    Route: "route",
    Rule: "rule",
    Sysctl: "sysctl",
    Firewall: "firewall",
}


def _enis_by_mac(difference: _Difference) -> dict[str, str]:
    named = {item.ifname for item in difference.state.items if isinstance(item, LinkSetting)}
    return {mac: name for mac, name in ifnames_by_mac(difference.links.values()).items() if name in named}


def _ready(state: HostState, pending: tuple[Change, ...]) -> frozenset[str]:
    waiting = {change.eni for change in pending if change.verb is Verb.ENSURE}
    return frozenset() if SHARED in waiting else state.enis - waiting


def _problems(pending: tuple[Change, ...], failures: Mapping[Item, str]) -> tuple[str, ...]:
    undone = "changed again by somebody else each time"
    return tuple(f"{change.verb} {change.item}: {failures.get(change.item, undone)}" for change in pending)
