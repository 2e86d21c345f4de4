"""Reads the host's network for a comparison: what pods need, and whether the rest is as the supply asks.

Decides nothing of what must hold: ``network.desired`` and ``network.drift`` do, the same code that the agent repairs
by. Of our nftables table only presence and chains are compared: a listing says the same in other words than the rules
were loaded in, and the agent compares it with its own listing every five seconds anyway.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from eni_cni_shim.plugin import messages
from eni_cni_shim.plugin.netlink import Socket
from eni_crds.nodeippool import Supply
from eni_node_agent.inspection.views import HostLink, KernelView, Neighbour
from eni_node_agent.network import ruleset
from eni_node_agent.network.desired import (
    Address,
    Firewall,
    HostState,
    Item,
    LinkSetting,
    NetworkSettings,
    Route,
    Rule,
    Sysctl,
    desired,
)
from eni_node_agent.network.drift import Change, Link, Verb, changes
from eni_node_agent.network.host import Host
from eni_node_agent.network.libnftables import Nftables, NftablesError
from eni_node_agent.network.links import ifnames_by_mac

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
        host_differences=() if supply is None else tuple(_differences(host, links, supply, settings)),
    )


def _neighbours(ifnames: Mapping[int, str]) -> dict[str, Neighbour]:
    with Socket() as socket:
        entries = [messages.parse_neighbour(answer.body) for answer in socket.dump(messages.get_neighbours())]
    return {address: Neighbour(ifnames.get(index, ""), permanent) for index, address, _, permanent in entries}


def _differences(host: Host, links: Mapping[str, Link], supply: Supply, settings: NetworkSettings) -> Iterator[str]:
    state = desired(supply, settings, ifnames_by_mac(links.values()))
    for change in changes(state, host.observe(links, state)):
        if not isinstance(change.item, Firewall):
            yield sentence(change)
    yield from _firewall_differences(state)


def _firewall_differences(state: HostState) -> Iterator[str]:
    for firewall in (item for item in state.items if isinstance(item, Firewall)):
        wanted = set(_CHAIN.findall(ruleset.replacement(firewall)))
        found = set(_CHAIN.findall(_listing()))
        for chain in sorted(wanted - found):
            yield f"the nftables table {ruleset.TABLE} has no chain {chain}"
        for chain in sorted(found - wanted):
            yield f"the nftables table {ruleset.TABLE} has a chain {chain} that is not ours"


def _listing() -> str:
    nftables = Nftables()
    try:
        return nftables.run(f"list table ip {ruleset.TABLE}")
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
        case Sysctl(name, value):
            return f"the value {value} of {name.replace('/', '.')}"
        case LinkSetting(ifname, mtu):
            return f"{ifname} up with MTU {mtu}"
        case Address(ifname, interface):
            return f"the address {interface} of {ifname}, without a route of its own,"
        case Route(table, destination, ifname, gateway):
            return f"the route {destination}{f' via {gateway}' if gateway else ''} dev {ifname} in table {table}"
        case Rule(priority, table, source, mark):
            selector = f"from {source}" if source else f"fwmark {mark:#x}" if mark else "from all"
            return f"the rule {priority}: {selector} lookup {table}"
        case _:
            return str(item)
