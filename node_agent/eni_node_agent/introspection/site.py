"""Which pages the agent serves where, and from what: /healthz, /readyz, /metrics, introspection, its state.

Decides paths and content types; ``pages`` serves them, ``wiring`` says on which addresses.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eni_node_agent import logs
from eni_node_agent.health import Health
from eni_node_agent.introspection import vpc_cni
from eni_node_agent.introspection.state import State
from eni_node_agent.introspection.vpc_cni import Held
from eni_node_agent.pages import JSON, PROMETHEUS, Handler, Page, Pages
from eni_node_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Site:
    """Every page, made of what the agent knows at the moment it is asked."""

    settings: Settings
    health: Health
    metrics: Callable[[], bytes]
    state: Callable[[], State]
    boot_time: Callable[[], float]
    """Unix time at which seconds since boot began."""

    def kubelet(self) -> Pages:
        """Returns the pages for kubelet and Prometheus on this node."""
        metrics = {"/metrics": self._scrape} if self.settings.has_metrics else {}
        return Pages({"/healthz": self._healthz, "/readyz": self._readyz, **metrics})

    def prometheus(self) -> Pages:
        """Returns the page where VPC CNI's dashboards look for it."""
        return Pages({"/metrics": self._scrape})

    def introspection(self) -> Pages:
        """Returns VPC CNI's pages; every unknown path lists them."""
        return Pages(self._introspection(), otherwise=_json(vpc_cni.commands))

    def tools(self) -> Pages:
        """Returns everything, for root on this node."""
        own = {"/state": _json(lambda: self.state().dump()), "/metrics": self._scrape, "/log": self._log}
        return Pages({**own, "/healthz": self._healthz, "/readyz": self._readyz, **self._introspection()})

    def _introspection(self) -> dict[str, Handler]:
        return {
            vpc_cni.ENIS: _json(self._enis),
            vpc_cni.ENI_CONFIGS: self._eni_config,
            vpc_cni.NETWORK_SETTINGS: _json(lambda: vpc_cni.network_settings(self.settings)),
            vpc_cni.POOL_SETTINGS: _json(lambda: vpc_cni.pool_settings(self.state().supply)),
        }

    def _enis(self) -> dict[str, Any]:
        state, boot = self.state(), self.boot_time()
        held = [
            Held(
                address,
                each.network,
                each.pod_namespace,
                each.pod_name,
                assigned_at=boot + each.since,
                interfaces=len(each.links),
            )
            for each in state.holdings
            for address in each.addresses
        ]
        cooling = [Held(address, released_at=boot + at) for address, at in state.cooling.items()]
        return vpc_cni.enis(state.supply, [*held, *cooling])

    async def _eni_config(self) -> Page:
        supply = self.state().supply
        if supply is None:
            return Page(b"Not Found\n", 404)
        return Page(json.dumps(vpc_cni.eni_config(supply)).encode(), content_type=JSON)

    async def _healthz(self) -> Page:
        return _verdict(await self.health.why_dead(), "the agent answers")

    async def _readyz(self) -> Page:
        return _verdict(await self.health.why_not_ready(), "serving")

    async def _scrape(self) -> Page:
        return Page(self.metrics(), content_type=PROMETHEUS)

    async def _log(self) -> Page:
        return Page(logs.RECENT.text())


def _json(make: Callable[[], object]) -> Handler:
    async def handle() -> Page:
        return Page(json.dumps(make()).encode(), content_type=JSON)

    return handle


def _verdict(problem: str, well: str) -> Page:
    return Page(f"{problem or well}\n".encode(), 503 if problem else 200)
