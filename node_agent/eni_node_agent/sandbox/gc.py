"""Sandboxes that left without a DEL, and sandboxes the journal forgot: ledger and kernel brought together.

Decides what is adopted at start and what is released by the sweep. The CNI verb GC is the plugin's
(``eni_cni_shim.plugin.verbs``), which releases through the pool.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.addresses import is_ipv6
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.ledger.ranges import is_node_local
from eni_node_agent.sandbox import names

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 60.0
"""A sandbox asked for later than that may not have its link yet: ADD assigns first and makes the link then."""


def adopt_from_kernel(ledger: Ledger, pod_routes: Mapping[str, str], now: float) -> list[Holding]:
    """Lets the ledger hold every address the host has a pod route for; returns what it had not known.

    Each link is taken for a sandbox of its own until the runtime speaks of the sandbox again.

    Args:
        ledger: the ledger, the journal already replayed.
        pod_routes: host link by address, as in the pod table: ``{"10.0.1.23": "eni0123456789a"}``.
        now: seconds since boot.
    """
    forgotten: dict[str, list[str]] = {}
    for address, ifname in pod_routes.items():
        if ledger.owner(address) is None:
            forgotten.setdefault(ifname, []).append(address)
    adopted = []
    for ifname, addresses in forgotten.items():
        holding = Holding(Sandbox(names.recovered_key(ifname)), (_link_of(ifname, addresses),), since=now)
        if ledger.adopt(holding):
            adopted.append(holding)
    return adopted


def departed(
    ledger: Ledger, host_links: Collection[str], now: float, asked_at: Callable[[SandboxKey], float]
) -> list[SandboxKey]:
    """Returns the sandboxes whose host links are gone, and with them their netns: no DEL that matters will come.

    One link of several may have been deleted in the pod, which lives on. A sandbox this agent was never asked for is a
    predecessor's: no ADD of it is under way, so it needs no grace.

    Args:
        ledger: the ledger.
        host_links: names of all links on the host.
        now: seconds since boot.
        asked_at: when this agent gave a sandbox its addresses last, in seconds since boot; minus infinity: never.
    """
    return [
        holding.sandbox.key
        for holding in ledger.holdings()
        if now - asked_at(holding.sandbox.key) > GRACE_SECONDS
        and not any(link.host_ifname in host_links for link in holding.links)
    ]


def _link_of(ifname: str, addresses: list[str]) -> PodLink:
    """Returns what a host link tells of itself; a link with nothing but node-local addresses is known by the first."""
    of_vpc = sorted((address for address in addresses if not is_node_local(address)), key=is_ipv6)
    egress = next((address for address in addresses if is_node_local(address)), "")
    return PodLink("", ifname, "", tuple(of_vpc), egress) if of_vpc else PodLink("", ifname, "", (egress,))
