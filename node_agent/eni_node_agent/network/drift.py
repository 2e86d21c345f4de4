"""Decides what must change in the kernel: the difference between what is desired and what was observed.

Pure. Others' rules, routes and addresses stay; ours are known by the protocol number they carry (``OUR_PROTOCOL``), so
what is no longer wanted is removed exactly, also what a dead predecessor left. One exception: on a secondary ENI no
other address may be, as with VPC CNI. ``host`` observes and performs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from eni_crds.nodeippool import Family
from eni_node_agent.network.desired import (
    POD_TABLE,
    Address,
    Firewall,
    HostState,
    Item,
    LinkSetting,
    ReversePath,
    Route,
    Rule,
    Sysctl,
)

OUR_PROTOCOL: Final = 169
"""Origin number on our rules, routes and addresses (rtm_protocol, FRA_PROTOCOL, IFA_PROTO); named by nobody in
linux/rtnetlink.h. The kernel keeps it for addresses since 5.18: before, only this process's own are recognised."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the host."""

    index: int
    ifname: str
    mac: str
    mtu: int
    is_up: bool
    kind: str
    """Empty for hardware; ``veth``, ``vlan`` and so on."""
    rp_filter: int = 0
    """How strictly it checks IPv4 sources."""


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """What matters about an address that is there."""

    is_ours: bool
    has_connected_route: bool
    is_global: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """What the kernel says."""

    links: Mapping[str, Link]
    """By name."""
    addresses: Mapping[Address, AddressFacts]
    routes: frozenset[Route]
    """Ours, and those to pods whoever wrote them."""
    rules: Mapping[Rule, bool]
    """Rules of the shapes we use; True: ours."""
    sysctls: Mapping[str, str]
    firewalls: Mapping[Family, Firewall | None]
    """What our tables do, by family; None: one is there that is not as this process wrote it."""


class Verb(StrEnum):
    """What to do about an item."""

    ENSURE = "ensure"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One step towards the desired state."""

    verb: Verb
    item: Item
    eni: str
    """Id of the ENI that waits for it, or ``SHARED``; empty as well for what leaves."""


def changes(desired: HostState, observed: Observed) -> tuple[Change, ...]:
    """Returns what to do, in the order to do it; nothing when the kernel is as desired.

    No packet may find less than before: a rule comes after the routes it leads to, what is new comes before what it
    replaces goes (10.0.1.20/31 when 10.0.1.20 and .21 become neighbours), and routes go last. Addresses are the
    exception: a wrong one takes its routes along, so it goes first.
    """
    leaving = (Change(Verb.REMOVE, item, desired.items.get(item, "")) for item in _surplus(desired, observed))
    missing = (Change(Verb.ENSURE, item, eni) for item, eni in desired.items.items() if not _holds(item, observed))
    return tuple(sorted((*leaving, *missing), key=lambda change: _ORDER.index((change.verb, type(change.item)))))


_ORDER: Final[tuple[tuple[Verb, type[Item]], ...]] = (
    (Verb.REMOVE, Address),
    (Verb.ENSURE, LinkSetting),
    (Verb.ENSURE, ReversePath),
    (Verb.ENSURE, Address),
    (Verb.ENSURE, Sysctl),
    (Verb.ENSURE, Route),
    (Verb.ENSURE, Rule),
    (Verb.REMOVE, Rule),
    (Verb.ENSURE, Firewall),
    (Verb.REMOVE, Route),
)


def _holds(item: Item, observed: Observed) -> bool:
    match item:
        case LinkSetting() | ReversePath():
            link = observed.links.get(item.ifname)
            return link is not None and _is_set(item, link)
        case Address():
            return item in observed.addresses and not observed.addresses[item].has_connected_route
        case Route():
            return item in observed.routes
        case Rule():
            return item in observed.rules
        case Sysctl():
            return observed.sysctls.get(item.name) == item.value
        case Firewall():
            is_there = item.family in observed.firewalls
            return not is_there if item.is_empty else observed.firewalls.get(item.family) == item


def _is_set(item: LinkSetting | ReversePath, link: Link) -> bool:
    if isinstance(item, ReversePath):
        return link.rp_filter == item.mode
    return link.is_up and link.mtu == item.mtu


def _surplus(desired: HostState, observed: Observed) -> Iterator[Item]:
    yield from (rule for rule, is_ours in observed.rules.items() if is_ours and rule not in desired.items)
    yield from (route for route in observed.routes if route not in desired.items and route.table != POD_TABLE)
    for address, facts in observed.addresses.items():
        on_ours = address.ifname in desired.secondary_ifnames and facts.is_global
        # 10.0.1.5/24 put on eth1 by a DHCP client brings 10.0.1.0/24 into the main table: removed and added again.
        if address in desired.items:
            if facts.has_connected_route:
                yield address
        elif on_ours or facts.is_ours:
            yield address
