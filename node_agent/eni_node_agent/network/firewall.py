"""Loads our nftables tables and tells whether they are still as loaded. Never looks at or touches another table.

What a table says is decided in ``ruleset``. Whether it still says so is known by comparing listings: the one taken
right after loading with a fresh one, so nothing needs to parse nftables.
"""

import contextlib
from collections.abc import Iterable

from eni_crds.nodeippool import Family
from eni_node_agent.network import ruleset
from eni_node_agent.network.desired import Firewall
from eni_node_agent.network.libnftables import Nftables, NftablesError


class FirewallTables:
    """Our tables in the network namespace of the thread that makes it. For one thread at a time."""

    def __init__(self) -> None:
        self._nftables = Nftables()
        self._loaded: dict[Family, tuple[Firewall, str]] = {}

    def close(self) -> None:
        """Leaves the tables in place."""
        self._nftables.close()

    def current(self) -> dict[Family, Firewall | None]:
        """Returns what each table does that is there; None when it is not as this process loaded it."""
        listings = {family: self._list(family) for family in Family}
        return {family: self._known(family, listing) for family, listing in listings.items() if listing}

    def replace(self, firewalls: Iterable[Firewall]) -> None:
        """Puts the tables in place, each without a moment in which a packet finds less than before.

        Raises:
            NftablesError: a table was refused; it is as it was.
        """
        for firewall in firewalls:
            self._replace(firewall, ruleset.other_set(ruleset.set_in_use(self._list(firewall.family))))
            self._loaded[firewall.family] = (firewall, self._list(firewall.family))

    def _replace(self, firewall: Firewall, exempt: str) -> None:
        try:
            self._nftables.run(ruleset.filling(firewall, exempt))
            self._nftables.run(ruleset.update(firewall, exempt))
        except NftablesError:
            # What others put under our names stands in the way: all is put in its place in one transaction.
            with contextlib.suppress(NftablesError):
                self._nftables.run(ruleset.emptying(firewall.family, exempt))
            self._nftables.run(ruleset.replacement(firewall))

    def _known(self, family: Family, listing: str) -> Firewall | None:
        firewall, loaded = self._loaded.get(family, (None, ""))
        return firewall if listing == loaded else None

    def _list(self, family: Family) -> str:
        try:
            return self._nftables.run(f"list table {ruleset.name_of(family)}")
        except NftablesError:  # there is no such table
            return ""
