"""Observes the host's network and performs changes, those of a kind in one go, through ``links`` and the others.

Decides nothing: ``desired`` and ``drift`` do. Everything happens in the network namespace of the thread that makes it.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import Final

from eni_cni_shim.plugin.netlink import Message, Socket
from eni_node_agent.network import links, routing, rtnetlink, sysctl
from eni_node_agent.network.desired import (
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
from eni_node_agent.network.drift import Change, Link, Observed, Verb
from eni_node_agent.network.firewall import FirewallTables
from eni_node_agent.network.libnftables import NftablesError

_GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL})
"""What the kernel says of a rule, a route, a link or an address that is to be removed and is not there."""


class Host:
    """The host's network. For one thread at a time.

    Raises:
        NftablesError: libnftables is missing.
        OSError: no netlink socket could be had.
    """

    def __init__(self, proc_sys: Path) -> None:
        self._proc_sys = proc_sys
        self._resources = ExitStack()
        self._socket = self._resources.enter_context(Socket())
        self._firewall = self._resources.enter_context(closing(FirewallTables()))

    def close(self) -> None:
        """Closes sockets; the network stays as it is."""
        self._resources.close()

    def links(self) -> dict[str, Link]:
        """Returns the links by name."""
        return links.read_links(self._socket)

    def pod_routes(self) -> dict[str, str]:
        """Returns the name of the host's link by pod address."""
        return routing.read_pod_routes(self._socket, _names(self.links()))

    def observe(self, found: Mapping[str, Link], state: HostState) -> Observed:
        """Returns what the kernel says about what the state speaks of; ``found`` are the links it was made from."""
        names = _names(found)
        wanted = [item.name for item in state.items if isinstance(item, Sysctl)]
        return Observed(
            links=found,
            addresses=links.read_addresses(self._socket, names),
            routes=routing.read_routes(self._socket, names),
            rules=routing.read_rules(self._socket),
            sysctls={name: sysctl.read(self._proc_sys, name) for name in wanted},
            firewalls=self._firewall.current(),
        )

    def perform(self, pending: Sequence[Change], found: Mapping[str, Link]) -> dict[Item, str]:
        """Performs changes in order, neighbours of a kind in one go; returns in a sentence why an item failed.

        The firewall's tables change all or none, and what is refused leaves the old ones.
        """
        failures: dict[Item, str] = {}
        for kind, group in groupby(pending, key=lambda change: _KINDS[type(change.item)]):
            batch = tuple(group)
            if kind is Sysctl:
                failures |= self._write(batch)
            elif kind is Firewall:
                failures |= self._load(batch)
            else:
                failures |= self._send(batch, found)
        return failures

    def _write(self, batch: Sequence[Change]) -> Iterator[tuple[Item, str]]:
        for change in batch:
            if isinstance(change.item, Sysctl):
                try:
                    sysctl.write(self._proc_sys, change.item.name, change.item.value)
                except sysctl.SysctlError as error:
                    yield change.item, str(error)

    def _load(self, batch: Sequence[Change]) -> Iterator[tuple[Item, str]]:
        try:
            self._firewall.replace(change.item for change in batch if isinstance(change.item, Firewall))
        except NftablesError as error:
            yield from ((change.item, str(error)) for change in batch)

    def _send(self, batch: Sequence[Change], found: Mapping[str, Link]) -> Iterator[tuple[Item, str]]:
        try:
            errors = rtnetlink.perform(self._socket, [_message(change, found) for change in batch])
        except OSError as error:
            errors = [error] * len(batch)
        for change, refusal in zip(batch, errors, strict=True):
            is_gone = refusal is not None and change.verb is Verb.REMOVE and refusal.errno in _GONE
            if refusal is not None and not is_gone:
                yield change.item, str(refusal)


_KINDS: Final[Mapping[type[Item], type[Item]]] = {
    LinkSetting: LinkSetting,
    ReversePath: LinkSetting,
    Address: LinkSetting,
    Sysctl: Sysctl,
    Route: Route,
    Rule: Rule,
    Firewall: Firewall,
}
"""What is changed in one go: links with their addresses, sysctls, routes, rules, the firewall."""


def _message(change: Change, found: Mapping[str, Link]) -> Message:
    is_wanted = change.verb is Verb.ENSURE
    match change.item:
        case LinkSetting(ifname, mtu):
            return links.bring_up(found[ifname].index, mtu)
        case ReversePath(ifname, mode):
            return links.set_rp_filter(found[ifname].index, mode)
        case Address(ifname, interface):
            encode = links.add_address if is_wanted else links.remove_address
            return encode(found[ifname].index, interface)
        case Route() as route:
            return (routing.ensure_route if is_wanted else routing.remove_route)(route, found[route.ifname].index)
        case Rule() as rule:
            return (routing.add_rule if is_wanted else routing.remove_rule)(rule)
        case Sysctl() | Firewall():
            raise TypeError(f"{change.item} does not go over rtnetlink")


def _names(found: Mapping[str, Link]) -> dict[int, str]:
    return {link.index: link.ifname for link in found.values()}
