"""Puts the agent together and runs its loops; everything it decides is the order of starting and ending.

The socket opens first, on what journal, kernel and saved supply tell; the HTTP clients and servers are loaded after
it, in a thread, because a pod that waits for its address is worth more than a metric.
"""

import asyncio
import contextlib
import functools
import importlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import ModuleType
from typing import Final

from eni_cni_shim.plugin.addresspool import Sandbox
from eni_cni_shim.plugin.verbs import Plugin
from eni_crds.nodeippool import Family, NodeIPPool
from eni_node_agent import footprint
from eni_node_agent.cluster.api import Json
from eni_node_agent.cluster.conflist import Wish
from eni_node_agent.cluster.conflist_writer import ConflistWriter
from eni_node_agent.cluster.flow import SupplyFlow
from eni_node_agent.cluster.pod_events import PodEvents
from eni_node_agent.cluster.pod_ips import NotingPool, PodIps
from eni_node_agent.cluster.pods import Pod, follow_pods, list_documents
from eni_node_agent.cluster.report import Reporter
from eni_node_agent.cluster.succession import Succession
from eni_node_agent.cluster.supply import SupplyFile, follow_pool
from eni_node_agent.cluster.usage import UsageWriter, heartbeat_pause
from eni_node_agent.health import Health, Vitals
from eni_node_agent.introspection.state import State, held_addresses
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.looplag import LoopWatch
from eni_node_agent.measured import MeasuredMemory, MeasuredNetwork, MeasuredPlugin, MeasuredPool
from eni_node_agent.metrics import process
from eni_node_agent.metrics.measurements import Measurements, Seen
from eni_node_agent.network.converge import NetworkState
from eni_node_agent.network.desired import NetworkSettings, SnatPorts
from eni_node_agent.network.repair import HostNetwork
from eni_node_agent.rpc.server import Server
from eni_node_agent.sandbox import gc
from eni_node_agent.sandbox.pool import Refusal, SandboxPool, Shortage
from eni_node_agent.settings import Settings, small_mtus
from eni_node_agent.supervision import running
from eni_node_agent.takeover.takeover import Places, TakenOverPodNetwork, Takeover

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 10.0
"""Between sweeps for departed sandboxes, and looks at the conflist and the saved supply."""


class Agent:
    """One agent: its parts, and what goes on between them."""

    def __init__(
        self, settings: Settings, journal: Journal, watch: LoopWatch, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Puts the parts together; ``watch`` is of the loop they live in, ``clock`` gives seconds since boot."""
        self._settings = settings
        self._watch = watch
        self._clock = clock
        self._writer: UsageWriter | None = None
        self._events: PodEvents | None = None
        wish = Wish(settings.pod_mtu, bandwidth=settings.bandwidth_plugin, disable_ipv6=settings.disable_pod_ipv6)
        self._conflist = ConflistWriter(settings.cni_conf_dir, settings.cni_bin_dir, wish)
        self._journal = journal
        self._measurements = Measurements(clock, self._look)
        self._metrics = self._measurements.metrics
        self._ledger = Ledger(MeasuredMemory(journal, self._metrics), egress=egress_families(settings))
        self._pod_ips = PodIps(self._see_annotation) if settings.annotate_pod_ip else None
        self._network = HostNetwork(
            network_settings(settings),
            proc_sys=settings.proc_sys,
            pods=self._pod_links,
            on_drift=self._see_drift,
            on_change=self._see_network,
        )
        self._pool = SandboxPool(
            self._ledger,
            hold_seconds=settings.hold_seconds,
            clock=clock,
            explain=self._explain,
            pressed=self._poke,
            lacking=self._see_shortage,
            exhausted=lambda: self._flow.exhaustion(),  # noqa: PLW0108  the flow is made after the pool
            veth_prefix=settings.veth_prefix,
        )
        self._flow = SupplyFlow(
            self._ledger,
            self._pool,
            self._network,
            SupplyFile(settings.supply_path),
            clock=clock,
            changed=self._see_supply,
            lacks_for_ipv6=functools.partial(lacks_for_ipv6, settings),
        )
        self._reporter = Reporter(self._ledger, self._pool, self._flow, boot_id=journal.boot_id, clock=clock)
        places = Places(settings.vpc_cni_run_dir, settings.vpc_cni_checkpoint, settings.cni_conf_dir)
        self._takeover = Takeover(
            self._ledger, places, connmark=settings.connmark, veth_prefix=settings.veth_prefix, clock=clock
        )
        self._succession = Succession(self._takeover, self._flow, self._conflist, self._bound_pods)
        replay = journal.replay()
        for holding in replay.holdings:
            self._ledger.adopt(holding)
        self._ledger.rest(replay.released)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serves while the context lasts; pods' network and the conflist stay as they are afterwards."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._network.close)
            await self._succession.begin()
            adopted = gc.adopt_from_kernel(self._ledger, await self._network.pod_routes(), self._clock())
            if adopted:
                log.warning(
                    "addresses adopted from the kernel",
                    extra={"addresses": [a for item in adopted for a in item.all_addresses]},
                )
            self._flow.restore()
            await self._sweep()  # whose DEL came while no agent ran
            pod_network = TakenOverPodNetwork(self._takeover, self._settings.proc_sys)
            stack.push_async_callback(pod_network.aclose)
            network = MeasuredNetwork(pod_network, self._clock)
            noting = NotingPool(self._pool, self._pod_ips) if self._pod_ips else self._pool
            pool = MeasuredPool(noting, self._see_served)
            plugin = MeasuredPlugin(Plugin(pool, network), self._metrics, self._measurements.counts)
            await stack.enter_async_context(Server(self._settings.socket_path, plugin).serve())
            self._measurements.started()
            log.info("serving the socket", extra={"path": str(self._settings.socket_path)})
            serve_pages = functools.partial(self._serve_pages, network)
            loops = (
                self._flow.run,
                self._network.run,
                self._conflist.run,
                self._tick,
                self._follow_cluster,
                self._succession.run,
                serve_pages,
            )
            for loop in loops:
                await stack.enter_async_context(running(loop))
            await stack.enter_async_context(running(self._settle))
            yield

    async def _follow_cluster(self) -> None:
        """Supply and pods in, usage and the reasons of shortages out."""
        kube = await _load("eni_node_agent.cluster.kube")
        api = kube.KubeApi.in_cluster(self._settings.cluster_endpoint, self._settings.service_account_dir)
        node = self._settings.node_name
        self._writer = UsageWriter(api, node, self._reporter.report, heartbeat=self._heartbeat_pause, clock=self._clock)
        self._events = PodEvents(api, node, clock=time.time)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(follow_pool(api, node, self._see_pool).run())
                tasks.create_task(follow_pods(api, node, self._see_pods).run())
                tasks.create_task(self._writer.run())
                tasks.create_task(self._events.run())
                if self._pod_ips is not None:
                    tasks.create_task(self._pod_ips.run(api))
        finally:
            self._writer = self._events = None
            await api.close()

    async def _bound_pods(self) -> list[Json]:
        """Asks anew each time: only while VPC CNI is about."""
        kube = await _load("eni_node_agent.cluster.kube")
        api = kube.KubeApi.in_cluster(self._settings.cluster_endpoint, self._settings.service_account_dir)
        try:
            return await list_documents(api, self._settings.node_name)
        finally:
            await api.close()

    async def _serve_pages(self, network: MeasuredNetwork) -> None:
        """Health, metrics and introspection, each on its own address: one that is taken holds up no other."""
        pages = await _load("eni_node_agent.introspection.site")
        settings = self._settings
        vitals = Vitals(
            network_answers=self._network.answer,
            oldest_work=lambda: network.oldest_work,
            journal=self._journal.check,
            obstacle=self._problem,
        )
        health = Health(settings.socket_path, vitals)
        site = pages.Site(settings, health, self._measurements.text, self._state, self._boot_time)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(site.tools().keep_serving(f"unix:{settings.state_socket}"))
            tasks.create_task(site.kubelet().keep_serving(settings.http_address))
            if settings.has_metrics:
                tasks.create_task(site.prometheus().keep_serving(settings.metrics_address))
            if settings.has_introspection:
                tasks.create_task(site.introspection().keep_serving(settings.introspection_address))

    async def _settle(self) -> None:
        """Once all code is there: from then on a pause of the loop is a stall."""
        for module in ("eni_node_agent.cluster.kube", "eni_node_agent.introspection.site"):
            await _load(module)
        footprint.settle()
        await self._watch.run(self._metrics.loop_lag.observe)

    async def _tick(self) -> None:
        """Now and then: what no event tells."""
        while True:
            self._flow.retry()
            self._see_supply()
            await self._sweep()
            await asyncio.sleep(TICK_SECONDS)

    async def _sweep(self) -> None:
        links = await self._network.host_links()
        for key in gc.departed(self._ledger, links, self._clock(), self._pool.asked_at):
            await self._takeover.remove_rules_of(key)
            assignment = await self._pool.release(key)
            if assignment is not None:
                self._metrics.reclaimed.inc()
                addresses = " ".join(assignment.addresses)
                log.info("address of a departed sandbox released", extra={"address": addresses, "sandbox": key})

    def _see_pool(self, pool: NodeIPPool | None) -> None:
        if pool is not None and pool.status.usage is None and self._writer is not None:
            self._writer.forget()
        self._flow.take(pool)

    def _see_pods(self, pods: Mapping[str, Pod]) -> None:
        self._reporter.see_pods(pods)
        self._measurements.see_pods(pods)
        if self._events is not None:
            self._events.see_pods(pods)
        if self._pod_ips is not None:
            self._pod_ips.see_pods(pods, self._pool.assignments())
        self._poke()

    def _see_annotation(self, outcome: str) -> None:
        self._metrics.annotations.labels(outcome).inc()

    def _see_shortage(self, shortage: Shortage) -> None:
        if shortage.is_final:
            self._metrics.refused.labels(shortage.reason).inc()
        if self._events is not None:
            self._events.post(shortage)

    def _see_drift(self, kind: str) -> None:
        self._metrics.repairs.labels(kind).inc()
        self._reporter.see_repair(kind)
        self._poke()

    def _pod_links(self) -> dict[str, str]:
        links = (link for holding in self._ledger.holdings() for link in holding.links)
        return {address: link.host_ifname for link in links for address in link.all_addresses}

    def _see_network(self, state: NetworkState) -> None:
        self._metrics.conflicts.set(len(state.conflicts))
        self._reporter.see_conflicts(state.conflicts)
        self._flow.settle(state)
        self._measurements.see_network(is_serving=not self._flow.problem, problems=len(state.problems))

    def _see_served(self, sandbox: Sandbox) -> None:
        self._measurements.served(sandbox.pod_uid)

    def _see_supply(self) -> None:
        """Lets the runtime know of the node once it can serve; never takes that back."""
        if self._flow.supply is not None:
            self._measurements.see_supply(self._flow.supply, self._ledger.lost_addresses())
        if self._flow.is_able:
            self._conflist.poke()
        self._poke()

    def _explain(self) -> Refusal:
        return self._flow.explain()

    def _heartbeat_pause(self) -> float:
        return heartbeat_pause(self._settings.heartbeat_seconds, random.random())  # noqa: S311  nothing to guess

    def _poke(self) -> None:
        if self._writer is not None:
            self._writer.poke()

    def _problem(self) -> str:
        problem = self._flow.problem or self._conflist.problem
        if problem or self._conflist.stands:
            return problem
        return f"no address can be had: {self._flow.explain().message}"

    def _look(self) -> Seen:
        tally = self._ledger.tally(self._clock())
        counts = {"assigned": tally.assigned, "cooling": tally.cooling, "free": tally.free}
        settings = self._settings
        return Seen(
            supply=self._flow.supply,
            assigned=tuple(address for holding in self._ledger.holdings() for address in holding.addresses),
            counts=counts | {"pending": self._reporter.pending},
            waiting=len(self._pool.waiting()),
            ready_enis=self._network.state.ready,
            looks=self._network.looks,
            is_serving=not self._flow.problem,
            is_marking=settings.node_port_support or not settings.external_snat,
            journal_bytes=self._journal.size,
        )

    def _state(self) -> State:
        waiting = self._pool.waiting()
        return State(
            node=self._settings.node_name,
            version=process.version(),
            boot_id=self._journal.boot_id,
            now=self._clock(),
            supply=self._flow.supply,
            holdings=held_addresses(self._ledger.holdings()),
            cooling=dict(self._ledger.cooling()),
            ready_enis=tuple(sorted(self._network.state.ready)),
            problems=self._network.state.problems,
            obstacle=self._problem(),
            waiting=tuple(f"{sandbox.pod_namespace}/{sandbox.pod_name}" for sandbox in waiting),
        )

    def _boot_time(self) -> float:
        return time.time() - self._clock()


def lacks_for_ipv6(settings: Settings) -> str:
    """Returns why pods of this node cannot have IPv6, in a clause; empty: they can."""
    if not (settings.proc_sys / "net/ipv6").is_dir():
        return "the kernel of this node has no IPv6"
    return " and ".join(small_mtus(settings.eni_mtu, settings.pod_mtu, "with IPv6"))


def egress_families(settings: Settings) -> frozenset[Family]:
    """Returns the families of which pods get a node-local address where the pool does not have them."""
    wanted = {Family.IPV4: settings.enable_v4_egress, Family.IPV6: settings.enable_v6_egress}
    return frozenset(family for family, is_wanted in wanted.items() if is_wanted)


def network_settings(settings: Settings) -> NetworkSettings:
    """Returns what the host's network needs of the settings."""
    return NetworkSettings(
        mtu=settings.eni_mtu,
        external_snat=settings.external_snat,
        snat_ports=SnatPorts(settings.snat_ports),
        exclude_snat_cidrs=settings.exclude_snat_cidrs,
        external_service_cidrs=settings.external_service_cidrs,
        node_port_support=settings.node_port_support,
        connmark=settings.connmark,
        veth_prefix=settings.veth_prefix,
        v4_egress=settings.enable_v4_egress,
        v6_egress=settings.enable_v6_egress,
    )


async def _load(module: str) -> ModuleType:
    return await asyncio.to_thread(importlib.import_module, module)
