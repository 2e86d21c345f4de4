"""Holdings for tests of the agent: one link, as a pod of one network card has."""

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox
from eni_node_agent.ledger.ledger import Holding
from eni_node_agent.sandbox import names


def held(sandbox: Sandbox, *addresses: str, eni_id: str = "eni-1", since: float = 0.0, egress: str = "") -> Holding:
    """Returns what a sandbox holds on one link, named as the agent names it."""
    link = PodLink(sandbox.key.ifname, names.host_ifname(sandbox.key), eni_id, addresses, egress)
    return Holding(sandbox, (link,), since)
