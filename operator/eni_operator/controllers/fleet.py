"""The loops of a cluster's nodes: one for each node there is, in one process. Scope ``node`` is a fleet of one.

Decides when a node's loop starts and ends, and which loop an event wakes; what a loop does is its own
(``controllers.reconcile``). An instance replaced under the same node name gets a loop of its own, after the old one has
ended and the former node's pool is gone: its supply names ENIs of an instance that is no more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakValueDictionary

from eni_crds.names import DEFAULT_ENICONFIG
from eni_operator.controllers.identity import instance_of
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS, FleetApi, KubeError, KubeObject
from eni_operator.controllers.observed import DELETED, Observed, trim
from eni_operator.controllers.trigger import Trigger

log = logging.getLogger(__name__)

START_GAP_SECONDS: Final = 0.005
"""Loops start one after the other: each computes for a moment, and nothing else goes on meanwhile."""
POKE_GAP_SECONDS: Final = 0.002
"""One change may wake every loop: one after the other likewise."""
LOOK_SECONDS: Final = 600.0
"""What the watches should have told is compared with what there is about this often."""
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 10.0
POOLS_AT_ONCE: Final = 100
COMPUTE_TYPE: Final = "eks.amazonaws.com/compute-type"
_FOREIGN_COMPUTE: Final = frozenset(("fargate", "hybrid", "auto"))
"""Nodes whose network EKS or their owner brings; VPC CNI's DaemonSet keeps away from them too."""
_OS: Final = "kubernetes.io/os"


class NodeLoop(Protocol):
    """What the fleet needs of a node's loop."""

    observed: Observed
    trigger: Trigger

    async def run(self) -> None:
        """Runs until cancelled."""
        ...

    async def close(self) -> None:
        """Abandons what is under way."""
        ...


@dataclass(frozen=True, slots=True)
class FleetSeams:
    """What a process has and a test brings."""

    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]
    """From 0 up to 1."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which Node and which instance a name means."""

    uid: str
    instance: str

    @classmethod
    def of(cls, node: KubeObject) -> "_Identity":
        return cls(node["metadata"].get("uid", ""), node.get("spec", {}).get("providerID") or "")

    def is_same(self, other: "_Identity") -> bool:
        """A Node may get its providerID only after a while; it never changes it."""
        return self.uid == other.uid and (self.instance == other.instance or not (self.instance and other.instance))


@dataclass(slots=True)
class _Member:
    identity: _Identity
    loop: NodeLoop
    task: asyncio.Task[None]


class Fleet:
    """Keeps the loops. ``take`` is called on the loops' thread; with ``only`` just that node counts."""

    def __init__(
        self, kube: FleetApi, make: Callable[[str], NodeLoop], seams: FleetSeams, only: str | None = None
    ) -> None:
        self._kube = kube
        self._make = make
        self._seams = seams
        self._only = only
        self._members: dict[str, _Member] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._strangers: set[str] = set()
        self._pools: dict[str, KubeObject] = {}
        self._configs: dict[str, KubeObject] = {}
        self._starts = asyncio.Lock()
        self._ready = asyncio.Event()

    @property
    def loops(self) -> Mapping[str, NodeLoop]:
        """Returns the loops by node name."""
        return {name: member.loop for name, member in self._members.items()}

    @property
    def eniconfigs(self) -> Mapping[str, KubeObject]:
        """Returns the ENIConfigs by name, as last seen."""
        return self._configs

    def ended(self) -> list[str]:
        """Returns the nodes whose loop has ended though nobody ended it."""
        return [name for name, member in self._members.items() if member.task.done()]

    async def pool_pages(self) -> AsyncIterator[list[KubeObject]]:
        """Yields all pools as last seen, a few at a time; between them others may work."""
        names = list(self._pools)
        for start in range(0, len(names), POOLS_AT_ONCE):
            page = names[start : start + POOLS_AT_ONCE]
            yield [self._pools[name] for name in page if name in self._pools]
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Runs for ever; ends every loop when cancelled."""
        try:
            await self._begin()
            while True:
                await self._seams.sleep(LOOK_SECONDS * (0.67 + 0.66 * self._seams.chance()))
                try:
                    await self._look()
                except KubeError as error:
                    log.warning("the API server could not be asked for what there is", extra={"error": str(error)})
        finally:
            await self._end()

    # Events

    def take(self, plural: str, event: str | None, item: KubeObject) -> None:
        """Takes a watch event in."""
        name, gone = item["metadata"]["name"], event == DELETED
        if plural == ENICONFIGS:
            self._take_eniconfig(name, None if gone else item)
        elif self._only not in (None, name):
            return
        elif plural == NODES:
            self._take_node(name, None if gone else item)
        else:
            self._take_pool(name, event, item)

    def _take_node(self, name: str, node: KubeObject | None) -> None:
        member = self._members.get(name)
        self._strangers.discard(name)
        if node is None or not self._serves(node):
            if node is not None:
                self._strangers.add(name)
            if member is not None:
                self._leave(name, member)
            return
        identity = _Identity.of(node)
        if member is not None and member.identity.is_same(identity):
            member.identity = identity
            _feed(member.loop, NODES, None, node)
            return
        if member is not None:
            self._leave(name, member)
        self._join(name, node, identity)

    def _take_pool(self, name: str, event: str | None, pool: KubeObject) -> None:
        if event != DELETED:
            self._pools[name] = pool
        elif name in self._pools and _uid(self._pools[name]) == _uid(pool):
            del self._pools[name]
        member = self._members.get(name)
        if member is not None:
            _feed(member.loop, POOLS, event, pool)

    def _take_eniconfig(self, name: str, config: KubeObject | None) -> None:
        old = self._configs.pop(name, None)
        if config is not None:
            self._configs[name] = config
        if (old or {}).get("spec") == (config or {}).get("spec"):
            return
        selects = any((version or {}).get("spec", {}).get("nodeSelector") is not None for version in (old, config))
        affected = [m.loop for m in self._members.values() if selects or may_use(name, m.loop.observed)]
        if affected:
            wave = asyncio.create_task(self._wake(affected), name=f"waking those who use {name}")
            self._tasks.add(wave)
            wave.add_done_callback(self._done)

    async def _wake(self, loops: Sequence[NodeLoop]) -> None:
        for loop in loops:
            loop.trigger.poke(ENICONFIGS)
            await self._seams.sleep(POKE_GAP_SECONDS)

    def _serves(self, node: KubeObject) -> bool:
        return self._only is not None or is_served(node)

    # Loops

    def _join(self, name: str, node: KubeObject, identity: _Identity) -> None:
        loop = self._make(name)
        observed = loop.observed
        observed.node, observed.pool = node, self._pools.get(name)
        observed.eniconfigs, observed.kept = self._configs, True
        place = self._places.setdefault(name, asyncio.Lock())
        task = asyncio.create_task(self._live(loop, place), name=f"loop of {name}")
        self._members[name] = _Member(identity, loop, task)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _leave(self, name: str, member: _Member) -> None:
        del self._members[name]
        member.task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the fleet broke", extra={"task": task.get_name()}, exc_info=task.exception())

    async def _live(self, loop: NodeLoop, place: asyncio.Lock) -> None:
        async with place:  # a former loop of that name has closed
            try:
                await self._ready.wait()
                async with self._starts:
                    await self._seams.sleep(START_GAP_SECONDS)
                await self._patiently(lambda: self._clear(loop.observed))
                await loop.run()
            finally:
                await loop.close()

    async def _clear(self, observed: Observed) -> None:
        """Deletes the pool of a former node of that name; takes what is there over otherwise."""
        pool = observed.pool or await self._kube.get(POOLS, observed.node_name)
        assert observed.node is not None
        if pool is None or not is_former(pool, observed.node):
            observed.pool = pool
            return
        log.info("deleting the pool of a former node", extra={"node": observed.node_name, "uid": _uid(pool)})
        observed.pool = None  # at once: a refusal makes us ask what there is now
        self._pools.pop(observed.node_name, None)
        await self._kube.delete_pool(observed.node_name, _uid(pool))
        if observed.pool is not None and _uid(observed.pool) == _uid(pool):
            observed.pool = None

    async def _begin(self) -> None:
        """ENIConfigs come first: without them a node would be given ENIs of the wrong subnet."""
        await self._patiently(self._first_look)
        self._ready.set()

    async def _first_look(self) -> None:
        """One node asks for what is its own, sooner than its watches are up; the list of thousands is theirs."""
        for item in await self._kube.list_eniconfigs():
            self.take(ENICONFIGS, None, trim(ENICONFIGS, item))
        for plural in (POOLS, NODES) if self._only is not None else ():
            found = await self._kube.get(plural, self._only or "")
            if found is not None:
                self.take(plural, None, trim(plural, found))

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Tries until the API server plays along."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await work()
            except KubeError as error:
                log.warning("a loop could not start yet", extra={"error": str(error)})
            await self._seams.sleep(delay * (0.67 + 0.66 * self._seams.chance()))
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _end(self) -> None:
        for task in self._tasks:
            if not task.cancelling():  # or what is closing already would be disturbed
                task.cancel()
        self._members.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What the watches missed

    async def _look(self) -> None:
        """Compares names. What differs is asked for by name, for a list may be older than what a watch has told."""
        for plural in (POOLS, NODES, ENICONFIGS):
            before = self._known(plural)
            listed = await self._kube.names(plural, None if plural == ENICONFIGS else self._only)
            for name in sorted(before ^ listed):
                item = await self._kube.get(plural, name)
                if item is not None:
                    self.take(plural, None, trim(plural, item))
                elif name in self._known(plural):
                    gone = self._pools[name] if plural == POOLS else {"metadata": {"name": name}}
                    self.take(plural, DELETED, gone)

    def _known(self, plural: str) -> frozenset[str]:
        if plural == NODES:
            return frozenset((*self._members, *self._strangers))
        return frozenset(self._pools if plural == POOLS else self._configs)


def _feed(loop: NodeLoop, plural: str, event: str | None, item: KubeObject) -> None:
    if loop.observed.take(plural, event, item):
        loop.trigger.poke(plural)


def _uid(item: KubeObject) -> str:
    uid: str = item["metadata"].get("uid", "")
    return uid


def is_served(node: KubeObject) -> bool:
    """Tells whether a node is an EC2 instance whose pod network is ours to bring, and says which instance."""
    labels = node["metadata"].get("labels") or {}
    ours = labels.get(COMPUTE_TYPE) not in _FOREIGN_COMPUTE and labels.get(_OS, "linux") == "linux"
    return ours and instance_of(node) is not None


def is_former(pool: KubeObject, node: KubeObject) -> bool:
    """Tells whether a pool belongs to another Node that had the same name; one without an owner belongs to anyone."""
    owners = [o.get("uid") for o in pool["metadata"].get("ownerReferences") or [] if o.get("kind") == "Node"]
    return bool(owners) and _uid(node) not in owners


def may_use(name: str, observed: Observed) -> bool:
    """Tells whether a node uses an ENIConfig, or is told to by its pool, a label or an annotation."""
    pool, metadata = observed.pool or {}, (observed.node or {}).get("metadata", {})
    used = ((pool.get("status") or {}).get("supply") or {}).get("eniConfig")
    told = (pool.get("spec") or {}).get("eniConfig")
    marks = (metadata.get("labels") or {}, metadata.get("annotations") or {})
    return name in (used, told, DEFAULT_ENICONFIG) or any(name in mark.values() for mark in marks)
