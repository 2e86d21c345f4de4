"""When the agent succeeds VPC CNI on its node: held back while that runs, taking over once, tidying up after its pods.

Decides the order and the pauses; what is taken over and cleaned up is ``takeover``'s, what being held back means to
pods is ``flow``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from eni_crds.conditions import Reason
from eni_node_agent.cluster.api import ApiError, Json, UnreachableError
from eni_node_agent.cluster.flow import SupplyFlow
from eni_node_agent.sandbox.pool import Refusal
from eni_node_agent.takeover import rival
from eni_node_agent.takeover.takeover import Takeover

BRISK_SECONDS: Final = 2.0
"""Between looks whether VPC CNI has gone, and at what its pods have left while its conflist is in force."""
QUIET_SECONDS: Final = 10.0
"""Between looks later on: it may come back."""

Pods = Callable[[], Awaitable[list[Json]]]
"""Asks the API server for all pods bound to the node; raises ApiError and UnreachableError."""


class Conflist(Protocol):
    """Our own."""

    @property
    def stands(self) -> bool:
        """True: the runtime has it."""
        ...


class Succession:
    """Keeps the agent from giving out addresses beside VPC CNI. Lives in one event loop."""

    def __init__(self, takeover: Takeover, flow: SupplyFlow, conflist: Conflist, pods: Pods) -> None:
        self._takeover = takeover
        self._flow = flow
        self._conflist = conflist
        self._pods = pods
        self._has_taken_over = False

    async def begin(self) -> None:
        """Before the socket opens, without the API server: holds the agent back, or takes over what is left."""
        await self._meet(_unasked)

    async def run(self) -> None:
        """Takes over once VPC CNI has gone; stops handing out when it comes back; cleans up after its pods."""
        while True:
            await self._meet(self._returning)
            if self._conflist.stands and not self._flow.problem:
                self._takeover.set_conflist_aside()
                await self._takeover.tidy()
            is_under_way = self._flow.is_held_back or self._takeover.is_first
            await asyncio.sleep(BRISK_SECONDS if is_under_way else QUIET_SECONDS)

    async def _meet(self, returning: Callable[[], Awaitable[str]]) -> None:
        """Holds the agent back, or takes over what VPC CNI has left.

        ``returning`` tells in words why VPC CNI may be back in a moment though its daemon does not answer, as while it
        is restarted; asked as long as its conflist is in force. Empty: it will not.
        """
        found = await self._takeover.rival() or (await returning() if self._takeover.is_first else "")
        if found:
            message = f"VPC CNI owns the addresses of this node, {found}; the agent serves once it has gone"
            self._flow.hold_back(Refusal(Reason.VPC_CNI_RUNNING, message))
        elif self._flow.is_held_back or not self._has_taken_over:
            await self._takeover.take_over()
            self._has_taken_over = True
            self._flow.go_on()

    async def _returning(self) -> str:
        """Returns in words which pod of VPC CNI is bound here; empty: the API server knows of none."""
        try:
            return rival.bound(await self._pods())
        except (ApiError, UnreachableError) as error:
            return f"as far as is known: {error}"


async def _unasked() -> str:
    return "or the API server has not told yet that its pod is gone"
