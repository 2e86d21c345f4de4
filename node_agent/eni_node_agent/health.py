"""Whether the agent lives and whether the node can serve, asked the way a runtime asks: through the real socket.

Decides what is asked and how long an answer may take. Alive: the socket answers STATUS, whatever it says, the thread
that keeps the host's network answers, and no pod's network has been in the works for long. Ready: STATUS says yes, and
the journal can be written. What is stuck fails ``/healthz`` and the kubelet starts the agent anew; what a restart would
not mend fails ``/readyz`` alone. ``deploy/base/agent.yaml`` gives the probes a little more time than this takes.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eni_cni_shim import protocol

ANSWER_SECONDS: Final = 2.0
"""For each thing that is asked; together they stay under the probes' five."""
STUCK_SECONDS: Final = 10.0
"""The kernel needs some 2 ms for a pod's network; on a node without CPU to spare a thread may be late by seconds."""
_CONFIG: Final = json.dumps({"cniVersion": "1.1.0", "name": "eni", "type": "eni-cni"}).encode()


@dataclass(frozen=True, slots=True)
class Vitals:
    """What beside the socket tells whether the agent works."""

    network_answers: Callable[[], Awaitable[object]]
    """Returns when the thread that keeps the host's network has a moment; raises OSError."""
    oldest_work: Callable[[], float]
    """Seconds for which the longest of the pods' networks now in the works has been in them."""
    journal: Callable[[], None]
    """Raises OSError when the journal cannot be written."""
    obstacle: Callable[[], str]
    """Why the node cannot serve, beyond what STATUS tells; empty: it can."""


class Health:
    """Answers the probes."""

    def __init__(self, socket_path: Path, vitals: Vitals) -> None:
        self._socket_path = socket_path
        self._vitals = vitals
        self._asking: asyncio.Future[object] | None = None
        self._asked_at = 0.0

    async def why_dead(self) -> str:
        """Returns in a sentence what is stuck; empty: the agent works."""
        try:
            await ask(self._socket_path)
        except (OSError, TimeoutError, protocol.ProtocolError) as error:
            return f"the socket {self._socket_path} does not answer STATUS: {_reason(error)}"
        seconds = self._vitals.oldest_work()
        if seconds > STUCK_SECONDS:
            return f"a pod's network has been in the works for {seconds:.0f} s"
        return await self._why_network_hangs()

    async def why_not_ready(self) -> str:
        """Returns in a sentence why the node cannot serve pods; empty: it can."""
        try:
            reply = await ask(self._socket_path)
            self._vitals.journal()
        except (OSError, TimeoutError, protocol.ProtocolError) as error:
            return _reason(error)
        if reply.exit_code:
            return str(json.loads(reply.stdout).get("msg", "STATUS failed and does not say why"))
        return self._vitals.obstacle()

    async def _why_network_hangs(self) -> str:
        # One question at a time: a thread that hangs must not get a longer queue with every probe.
        now = asyncio.get_running_loop().time()
        if self._asking is None or self._asking.done():
            self._asking, self._asked_at = asyncio.ensure_future(self._vitals.network_answers()), now
        done, _ = await asyncio.wait({self._asking}, timeout=ANSWER_SECONDS)
        if done:
            # Nftables missing or a refused netlink socket is no reason to start anew; readiness tells of it.
            self._asking.exception()
        elif now - self._asked_at > STUCK_SECONDS:
            return f"the thread that keeps the host's network has not answered for {now - self._asked_at:.0f} s"
        return ""


async def ask(socket_path: Path) -> protocol.Reply:
    """Returns the agent's answer to STATUS, over a connection of its own.

    Raises:
        OSError: nobody listens, or the connection broke.
        TimeoutError: no answer in time.
        ProtocolError: the answer is of another protocol.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        try:
            writer.write(protocol.dump_request(protocol.Request({"CNI_COMMAND": "STATUS"}, _CONFIG)))
            return protocol.parse_reply(await reader.read(-1))
        finally:
            writer.close()


def _reason(error: Exception) -> str:
    return str(error) or f"no answer within {ANSWER_SECONDS:g} s"
