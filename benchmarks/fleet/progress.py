"""Which nodes can serve all their pods, since when; told to whoever waits for the last one.

Counterparts: ``ours`` and ``ipamd`` note it, ``contest`` waits.
"""

import asyncio
from dataclasses import dataclass, field

from eni_testing.virtual_loop import now


@dataclass(slots=True)
class Progress:
    """The fleet's course; instants are virtual seconds since the first node could join."""

    nodes: int
    served_at: dict[str, float] = field(default_factory=dict)
    everyone: asyncio.Event = field(default_factory=asyncio.Event)

    def serves(self, node: str) -> None:
        """Notes that every pod of a node has an address that works."""
        self.served_at.setdefault(node, now())
        if len(self.served_at) == self.nodes:
            self.everyone.set()
