"""Reads the host's network for a comparison: what pods need, and whether the rest is as the supply asks.

Decides nothing of what must hold: ``network.desired`` and ``network.drift`` do, the same code that the agent repairs
by. Of our nftables tables only presence and chains are compared: a listing says the same in other words than the rules
were loaded in, and the agent compares it with its own listing every five seconds anyway.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from eni_cni_shim.plugin import messages
from eni_cni_shim.plugin.netlink import Socket
from eni_crds.nodeippool import Family, Supply
from eni_node_agent.inspection.views import HostLink, KernelView, Neighbour
from eni_node_agent.network import ruleset
from eni_node_agent.network.desired import (
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
from eni_node_agent.network.libnftables import Nftables, NftablesError
from eni_node_agent.network.links import ifnames_by_mac

_TABLE: Final = re.compile(r"^table (\S+) (\S+) \{", re.MULTILINE)
_CHAIN: Final = re.compile(r"^\s*chain (\S+) \{", re.MULTILINE)


class KernelUnseenError(Exception):
    """The kernel cannot be read; the message says why."""


def look(supply: Supply | None, settings: NetworkSettings, proc_sys: Path) -> KernelView:
    """Returns the kernel's view, in the network namespace of the calling thread; raises KernelUnseenError."""
    try:
        host = Host(proc_sys)
        try:
            return _look(host, supply, settings)
        finally:
            host.close()
    except (OSError, NftablesError, ValueError) as error:
        raise KernelUnseenError(f"the kernel's network cannot be read: {error}") from error


def _look(host: Host, supply: Supply | None, settings: NetworkSettings) -> KernelView:
    links = host.links()
    return KernelView(
        links={name: HostLink(link.mac, link.is_up, link.kind) for name, link in links.items()},
        pod_routes=host.pod_routes(),
        neighbours=_neighbours({link.index: name for name, link in links.items()}),
        veth_prefix=settings.veth_prefix,
        host_differences=() if supply is None else tuple(_differences(host, links, supply, settings)),
    )


def _neighbours(ifnames: Mapping[int, str]) -> frozenset[Neighbour]:
    with Socket() as kernel:
        dumps = [kernel.dump(messages.get_neighbours(family)) for family in (socket.AF_INET, socket.AF_INET6)]
    entries = [messages.parse_neighbour(answer.body) for answers in dumps for answer in answers]
    permanent = (entry for entry in entries if entry[3])
    return frozenset(Neighbour(ifnames.get(index, ""), address) for index, address, _, _ in permanent)


def _differences(host: Host, links: Mapping[str, Link], supply: Supply, settings: NetworkSettings) -> Iterator[str]:
    state = desired(supply, settings, ifnames_by_mac(links.values()))
    for change in changes(state, host.observe(links, state)):
        if not isinstance(change.item, Firewall):
            yield sentence(change)
    yield from _firewall_differences(state)


def _firewall_differences(state: HostState) -> Iterator[str]:
    for firewall in (item for item in state.items if isinstance(item, Firewall)):
        text = ruleset.replacement(firewall)
        for family, table in _TABLE.findall(text):
            missing = set(_CHAIN.findall(text)) - set(_CHAIN.findall(_listing(family, table)))
            yield from (f"the nftables table {family} {table} has no chain {chain}" for chain in sorted(missing))


def _listing(family: str, table: str) -> str:
    nftables = Nftables()
    try:
        return nftables.run(f"list table {family} {table}")
    except NftablesError:  # there is no such table
        return ""
    finally:
        nftables.close()


def sentence(change: Change) -> str:
    """Returns in words what a change would mend."""
    what = _named(change.item)
    return f"{what} is missing" if change.verb is Verb.ENSURE else f"{what} should not be there"


def _named(item: Item) -> str:
    match item:
        case Sysctl():
            text = f"the value {item.value} of {item.name.replace('/', '.')}"
        case ReversePath():
            text = f"the value {item.mode} of net.ipv4.conf.{item.ifname}.rp_filter"
        case LinkSetting():
            text = f"{item.ifname} up with MTU {item.mtu}"
        case Address():
            text = f"the address {item.interface} of {item.ifname}, without a route of its own,"
        case Route():
            gateway = f" via {item.gateway}" if item.gateway else ""
            text = f"the route {item.destination}{gateway} dev {item.ifname} in table {item.table}"
        case Rule():
            text = _named_rule(item)
        case Firewall():
            text = f"the nftables table {ruleset.name_of(item.family)}"
    return text


def _named_rule(rule: Rule) -> str:
    parts = [f"from {rule.source or 'all'}"]
    parts += [f"to {rule.destination}"] if rule.destination else []
    parts += [f"fwmark {rule.mark:#x}"] if rule.mark else []
    family = "IPv6 " if rule.family is Family.IPV6 else ""
    return f"the {family}rule {rule.priority}: {' '.join(parts)} lookup {rule.table}"
