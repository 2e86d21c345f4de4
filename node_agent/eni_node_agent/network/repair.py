"""The agent's entry to the host's network: ensures it for a supply, watches it, repairs it, counts what it repaired.

Decides when to look, not what must hold (``desired``). The kernel is spoken to in one thread of its own, so the event
loop never waits for it. An ENI whose link comes late is taken up when the link appears.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from eni_crds.nodeippool import Supply
from eni_node_agent.network.converge import Converger, NetworkState
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.network.events import Events
from eni_node_agent.network.libnftables import NftablesError

_SETTLE_SECONDS = 0.1
"""Time between an announcement and a look: a new link is given its name by udev first, which fails once it is up."""
_CHECK_SECONDS = 5.0
"""Time between looks without an announcement; a few sysctls are only seen then, as accept_ra."""

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class HostNetwork:
    """The host's network, in the network namespace of the process."""

    def __init__(
        self,
        settings: NetworkSettings,
        *,
        proc_sys: Path = Path("/proc/sys"),
        check_seconds: float = _CHECK_SECONDS,
        pods: Callable[[], Mapping[str, str]] = dict,
        on_drift: Callable[[str], None] = lambda _name: None,
        on_change: Callable[[NetworkState], None] = lambda _state: None,
    ) -> None:
        """Watches nothing yet.

        Args:
            settings: a person's choices.
            proc_sys: where the node's sysctls can be written.
            check_seconds: longest time between two looks.
            pods: tells the name of the host's link by address of each pod; asked in the event loop.
            on_drift: called with the kind of each repair.
            on_change: called when the state is another one.
        """
        self.repairs: Counter[str] = Counter()
        """Repairs by kind: link, address, route, rule, sysctl, firewall."""
        self.looks: Counter[str] = Counter()
        """Looks at the network by how they ended: success, error."""
        self.state = NetworkState()
        self._settings = settings
        self._check_seconds = check_seconds
        self._pods = pods
        self._on_drift = on_drift
        self._on_change = on_change
        self._supply: Supply | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host-network")
        self._make_converger = partial(Converger, settings, proc_sys)
        self._converger: Converger | None = None

    async def ensure(self, supply: Supply) -> NetworkState:
        """Brings the network to what the supply asks for and returns how far it got; ``run`` keeps it there.

        What goes wrong in the kernel or with the supply is not raised: it is in ``problems``, and ``run`` tries again.
        """
        self._supply = supply
        return await self._converge(supply)

    async def run(self) -> None:
        """Looks after the network until cancelled: on announcements of the kernel and every few seconds."""
        with closing(Events(self._settings.veth_prefix)) as events:
            while True:
                await self._wait(events)
                if self._supply is not None:
                    await self._converge(self._supply)

    async def pod_routes(self) -> dict[str, str]:
        """Returns the name of the host's link by address of each pod the kernel routes to."""
        return await self._in_thread(lambda converger: converger.host.pod_routes())

    async def host_links(self) -> set[str]:
        """Returns the names of the host's links, those of pods among them."""
        return await self._in_thread(lambda converger: set(converger.host.links()))

    async def answer(self) -> None:
        """Returns when the thread has a moment; raises OSError or NftablesError when it cannot work at all."""
        await self._in_thread(lambda _: None)

    async def close(self) -> None:
        """Frees thread and sockets; the network stays as it is."""
        if self._converger is not None:
            await self._in_thread(lambda converger: converger.host.close())
        self._thread.shutdown()

    async def _wait(self, events: Events) -> None:
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._check_seconds):
                await events.happened.wait()
        if events.happened.is_set():
            await asyncio.sleep(_SETTLE_SECONDS)
            events.happened.clear()

    async def _converge(self, supply: Supply) -> NetworkState:
        pods = dict(self._pods())
        try:
            round_ = await self._in_thread(lambda converger: converger.converge(supply, pods))
        except (OSError, NftablesError, ValueError) as error:
            problem = f"the host's network cannot be worked on: {error}"
            self.looks["error"] += 1
            return self._settle(replace(self.state, problems=(problem,)))
        self.looks["error" if round_.state.problems else "success"] += 1
        for name in round_.repairs:
            self.repairs[name] += 1
            self._on_drift(name)
        if round_.repairs:
            _logger.warning("repaired the host network", extra={"repairs": dict(Counter(round_.repairs))})
        return self._settle(round_.state)

    def _settle(self, state: NetworkState) -> NetworkState:
        if state != self.state:
            for problem in state.problems:
                _logger.error("the host network is not as it must be", extra={"problem": problem})
            for conflict in set(state.conflicts) - set(self.state.conflicts):
                _logger.warning("another tool is in the way of pods", extra={"conflict": conflict})
            _logger.info("the host network changed", extra={"ready": sorted(state.ready)})
            self.state = state
            self._on_change(state)
        return state

    async def _in_thread(self, work: Callable[[Converger], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[Converger], _Result]) -> _Result:
        # Made in the thread itself: sockets belong to the network namespace of the thread that opens them.
        if self._converger is None:
            self._converger = self._make_converger()
        return work(self._converger)
