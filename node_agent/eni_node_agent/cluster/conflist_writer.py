"""Keeps the conflist as it should be from the moment the node can serve.

Decides when it is written; its text is ``conflist``'s. It stays when the agent ends, and the one of a predecessor stays
until this agent can serve: running pods keep their network, and the executable answers "try again" meanwhile.
"""

import asyncio
import logging
from pathlib import Path

from eni_node_agent.cluster import conflist
from eni_node_agent.cluster.conflist import Wish
from eni_node_agent.cluster.plugins import Plugins

log = logging.getLogger(__name__)


class ConflistWriter:
    """Writes one node's conflist. Lives in one event loop, works in a thread."""

    def __init__(self, conf_dir: Path, bin_dir: Path, wish: Wish) -> None:
        self._conf_dir = conf_dir
        self._wish = wish
        self._plugins = Plugins(bin_dir)
        self._asked = asyncio.Event()
        self._problems: tuple[str, ...] = ()
        self.stands = False
        """The runtime knows of the node."""

    @property
    def problem(self) -> str:
        """Why the file is not there, or what was asked of the chain and is not in it; empty: all is well."""
        return "; ".join(self._problems)

    def poke(self) -> None:
        """Has the file looked at, and written where it is not as it should be; to be called while the node can serve.

        Also now and then: somebody may have changed it, or brought a plugin that was missing.
        """
        self._asked.set()

    async def run(self) -> None:
        """Looks whenever it is poked, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._ensure()

    async def _ensure(self) -> None:
        try:
            found, is_new = await asyncio.to_thread(self._write)
        except OSError as error:
            self.stands = False
            self._tell((f"the conflist cannot be written: {error}",))
            return
        self.stands = True
        if is_new:
            log.info("conflist written: the node can serve pods", extra={"path": str(self._conf_dir / conflist.NAME)})
        self._tell(found.missing)

    def _tell(self, problems: tuple[str, ...]) -> None:
        """Logs on change only: it is looked at every few seconds."""
        if problems != self._problems:
            self._problems = problems
            for sentence in problems:
                log.error("conflist is not as asked for", extra={"problem": sentence})

    def _write(self) -> tuple[conflist.Conflist, bool]:
        types = [plugin.type for plugin in conflist.chain(self._wish)]
        found = conflist.compose(self._wish, self._plugins.spoken(types))
        return found, conflist.replace(self._conf_dir, found.text)
