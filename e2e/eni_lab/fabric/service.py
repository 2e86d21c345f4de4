"""Keeps a fabric in step with the stand-in while the laboratory runs: looks often, works on a thread of its own.

The event loop never waits for the kernel. ``Fabric`` does the work, ``control`` is how others reach this over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from eni_lab.fabric.desired import link_name, node_link_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from eni_lab.aws.engine.ports import Port
    from eni_lab.fabric.fabric import Fabric
    from eni_lab.fabric.firewall import Outage

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the service looks, in seconds."""

    ports: float = 0.05
    """At the ports: attachments become visible by the clock, so there is no event to wait for."""
    kernel: float = 1.0
    """At the kernel though the ports are the same: a node that died took its links with it."""


class FabricService:
    """One fabric, its thread, and the stand-in's ports."""

    def __init__(
        self, fabric: Fabric, thread: Executor, ports: Callable[[], list[Port]], pace: Pace | None = None
    ) -> None:
        self._fabric = fabric
        self._thread = thread
        self._ports = ports
        self._pace = pace or Pace()
        self._applied: list[Port] | None = None
        self._applied_at = 0.0

    async def run(self) -> None:
        """Applies until cancelled; what fails is logged and tried again at the kernel's pace."""
        while True:
            try:
                await self._apply_if_due()
            except Exception:
                logger.exception("fabric not applied")
            await asyncio.sleep(self._pace.ports)

    async def register(self, instance_id: str, namespace_path: str) -> None:
        """The instance's interfaces are in this namespace when this returns; OSError when there is none."""
        await self._on_thread(self._fabric.register, instance_id, namespace_path)
        await self._apply(self._ports())

    async def unregister(self, instance_id: str) -> None:
        """The instance's interfaces are gone when this returns."""
        await self._on_thread(self._fabric.unregister, instance_id)
        await self._apply(self._ports())

    async def cut_off(self, address: str, how: Outage) -> None:
        """The AWS endpoint refuses or ignores this source address when this returns."""
        await self._on_thread(self._fabric.cut_off, address, how)

    async def end_outages(self) -> None:
        """The AWS endpoint answers everybody when this returns."""
        await self._on_thread(self._fabric.end_outages)

    async def status(self) -> dict[str, Any]:
        """Nodes, ports and drops as plain values for JSON."""
        drops = await self._on_thread(self._fabric.drops)
        ports = self._ports()
        enis = {link_name(port.eni_id): port.eni_id for port in ports}
        return {
            "nodes": {
                instance: {"namespace": namespace.path, "alive": namespace.lives()}
                for instance, namespace in self._fabric.nodes.items()
            },
            "ports": list(self._described(ports)),
            "outages": dict(self._fabric.outages),
            "outside": {"pid": self._fabric.outside_pid},
            "drops": [{"eni_id": enis.get(drop.link), **asdict(drop)} for drop in drops],
        }

    async def _apply_if_due(self) -> None:
        ports = self._ports()
        now = asyncio.get_running_loop().time()
        if ports != self._applied or now - self._applied_at >= self._pace.kernel:
            await self._apply(ports)

    async def _apply(self, ports: list[Port]) -> None:
        # Before the work, so that one that fails is not repeated twenty times a second.
        self._applied, self._applied_at = ports, asyncio.get_running_loop().time()
        await self._on_thread(self._fabric.apply, ports)

    async def _on_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def _described(self, ports: Iterable[Port]) -> Iterable[dict[str, Any]]:
        for port in ports:
            link = link_name(port.eni_id)
            yield {
                **asdict(port),
                "link": link,
                "name_in_node": node_link_name(port.device_index, port.network_card),
                "problem": self._fabric.problems.get(link),
            }
