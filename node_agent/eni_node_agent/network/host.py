"""Observes the host's network and performs one change at a time, through ``links``, ``routing`` and the others.

Decides nothing: ``desired`` and ``drift`` do. Everything happens in the network namespace of the thread that makes it.
"""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from eni_cni_shim.plugin.netlink import Socket
from eni_node_agent.network import links, routing, sysctl
from eni_node_agent.network.desired import Address, Firewall, HostState, LinkSetting, Route, Rule, Sysctl
from eni_node_agent.network.drift import Change, Link, Observed, Verb
from eni_node_agent.network.firewall import FirewallTable


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
        self._firewall = self._resources.enter_context(closing(FirewallTable()))

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
            firewall=self._firewall.current(),
        )

    def perform(self, change: Change, found: Mapping[str, Link]) -> None:
        """Performs a change.

        Raises:
            OSError: the kernel refused.
            SysctlError: the value cannot be written.
            NftablesError: the table was refused; the old one stays.
        """
        if change.verb is Verb.ENSURE:
            self._ensure(change, found)
        else:
            self._remove(change, found)

    def _ensure(self, change: Change, found: Mapping[str, Link]) -> None:
        match change.item:
            case Sysctl(name, value):
                sysctl.write(self._proc_sys, name, value)
            case LinkSetting(ifname, mtu):
                links.bring_up(self._socket, found[ifname].index, mtu)
            case Address(ifname, interface):
                links.add_address(self._socket, found[ifname].index, interface)
            case Route() as route:
                routing.ensure_route(self._socket, route, found[route.ifname].index)
            case Rule() as rule:
                routing.add_rule(self._socket, rule)
            case Firewall() as firewall:
                self._firewall.replace(firewall)

    def _remove(self, change: Change, found: Mapping[str, Link]) -> None:
        match change.item:
            case Address(ifname, interface):
                links.remove_address(self._socket, found[ifname].index, interface)
            case Route() as route:
                routing.remove_route(self._socket, route, found[route.ifname].index)
            case Rule() as rule:
                routing.remove_rule(self._socket, rule)


def _names(found: Mapping[str, Link]) -> dict[int, str]:
    return {link.index: link.ifname for link in found.values()}
