"""Loads our nftables table and tells whether it is still as loaded. Never looks at or touches another table.

What the table says is decided in ``ruleset``. Whether it still says so is known by comparing listings: the one taken
right after loading with a fresh one, so nothing needs to parse nftables.
"""

from eni_node_agent.network import ruleset
from eni_node_agent.network.desired import Firewall
from eni_node_agent.network.libnftables import Nftables, NftablesError


class FirewallTable:
    """Our table in the network namespace of the thread that makes it. For one thread at a time."""

    def __init__(self) -> None:
        self._nftables = Nftables()
        self._loaded: Firewall | None = None
        self._listing = ""

    def close(self) -> None:
        """Leaves the table in place."""
        self._nftables.close()

    def current(self) -> Firewall | None:
        """Returns what the table does; None when it is not as this process loaded it."""
        return self._loaded if self._list() == self._listing else None

    def replace(self, firewall: Firewall) -> None:
        """Puts the table in place, in one transaction; raises NftablesError and changes nothing."""
        self._nftables.run(ruleset.replacement(firewall))
        self._loaded, self._listing = firewall, self._list()

    def _list(self) -> str:
        try:
            return self._nftables.run(f"list table ip {ruleset.TABLE}")
        except NftablesError:  # there is no such table
            return ""
