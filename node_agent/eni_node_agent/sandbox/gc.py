"""Sandboxes that left without a DEL, and sandboxes the journal forgot: ledger and kernel brought together.

Decides what is adopted at start and what is released by the sweep. The CNI verb GC is the plugin's
(``eni_cni_shim.plugin.verbs``), which releases through the pool.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Final

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.sandbox import names

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 60.0
"""A younger sandbox may not have its link yet: ADD assigns first and makes the link then."""


def adopt_from_kernel(ledger: Ledger, pod_routes: Mapping[str, str], now: float) -> list[Holding]:
    """Lets the ledger hold every address the host has a pod route for; returns what it had not known.

    Args:
        ledger: the ledger, the journal already replayed.
        pod_routes: host link by address, as in the pod table: ``{"10.0.1.23": "eni0123456789a"}``.
        now: seconds since boot.
    """
    adopted = []
    for address, ifname in pod_routes.items():
        if ledger.owner(address) is None:
            holding = Holding(Sandbox(names.recovered_key(ifname)), address, eni_id="", since=now)
            if ledger.adopt(holding):
                adopted.append(holding)
    return adopted


def departed(ledger: Ledger, host_links: Collection[str], now: float) -> list[SandboxKey]:
    """Returns the sandboxes whose host link is gone, and with it their netns: nobody will send a DEL that matters."""
    return [
        holding.sandbox.key
        for holding in ledger.holdings()
        if now - holding.since > GRACE_SECONDS and names.host_ifname_of(holding.sandbox) not in host_links
    ]
