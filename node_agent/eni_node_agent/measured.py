"""Counts, times and logs what the agent does for the runtime: one line a request, histograms by outcome and phase.

Decides which outcome a reply has and what its line says. Wraps plugin, pool, pod network and journal from outside, so
that none of them knows of metrics. A request's record travels in a context variable: the task that works on an ADD
inherits it.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eni_cni_shim import protocol
from eni_cni_shim.plugin.addresspool import AddressPool, Assignment, Sandbox, SandboxKey
from eni_cni_shim.plugin.verbs import Network, Plugin
from eni_cni_shim.spec import CniError, Code, parse_args
from eni_node_agent.ledger.ledger import Holding, Memory
from eni_node_agent.metrics.instruments import Metrics
from eni_node_agent.metrics.vpc_cni import Counts

log = logging.getLogger(__name__)

VERBS: Final = frozenset({"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"})
_OUTCOMES: Final = {
    Code.UNKNOWN_CONTAINER: "unknown",
    Code.TRY_AGAIN: "unavailable",
    Code.NOT_AVAILABLE: "unavailable",
    Code.KERNEL_REFUSED: "kernel",
    Code.NETWORK_DIFFERS: "differs",
    Code.INTERNAL: "internal",
}
"""By error code; what is not here is the runtime's mistake: invalid."""


class _Phase(NamedTuple):
    """A part of a request."""

    name: str
    outcome: str
    seconds: float


@dataclass(slots=True)
class _Record:
    """What is learnt of a request while it is worked on."""

    verb: str
    addresses: list[str] = field(default_factory=list)
    eni_id: str = ""
    phases: list[_Phase] = field(default_factory=list)

    def see(self, assignment: Assignment) -> None:
        self.addresses = addresses_of(assignment)
        self.eni_id = assignment.eni_id


_record: ContextVar[_Record | None] = ContextVar("record", default=None)


def addresses_of(assignment: Assignment | Holding) -> list[str]:
    """Returns every address of an assignment, node-local ones too."""
    return [address for link in assignment.links for address in link.all_addresses]


class MeasuredPlugin:
    """Answers as the plugin does; implements ``rpc.server.Handler``."""

    def __init__(self, plugin: Plugin, metrics: Metrics, counts: Counts) -> None:
        self._plugin = plugin
        self._metrics = metrics
        self._counts = counts
        self._status = ""

    async def handle(self, request: protocol.Request, netns_fd: int | None) -> protocol.Reply:
        """Returns the plugin's reply."""
        verb = request.environ.get("CNI_COMMAND", "")
        record = _Record(verb if verb in VERBS else "other")
        token = _record.set(record)
        began = time.perf_counter()
        outcome, answer = "cancelled", dict[str, Any]()
        try:
            reply = await self._plugin.handle(request, netns_fd)
            answer = _parsed(reply)
            outcome = outcome_of(reply.exit_code, answer)
        finally:
            seconds = time.perf_counter() - began
            _record.reset(token)
            # A pod waits for the answer, nobody for what is told of it.
            asyncio.get_running_loop().call_soon(self._tell, request, record, outcome, answer, seconds)
        return reply

    def _tell(
        self, request: protocol.Request, record: _Record, outcome: str, answer: dict[str, Any], seconds: float
    ) -> None:
        self._metrics.requests.labels(record.verb, outcome).observe(seconds)
        for phase in record.phases:
            self._metrics.phases.labels(record.verb, phase.name, phase.outcome).observe(phase.seconds)
        self._count(record.verb, outcome)
        self._log(request, record, outcome, answer, seconds)

    def _count(self, verb: str, outcome: str) -> None:
        if verb == "ADD":
            self._counts.adds += 1
            self._counts.refusals += outcome == "no_address"
            if outcome in {"kernel", "cancelled"}:
                self._counts.dels["SetupNSFailed"] += 1
        elif verb == "DEL":
            self._counts.dels["PodDeleted"] += 1

    def _log(
        self, request: protocol.Request, record: _Record, outcome: str, answer: dict[str, Any], seconds: float
    ) -> None:
        level = logging.INFO if outcome == "success" else logging.WARNING
        if record.verb == "STATUS":
            # Asked every few seconds: told when the answer changes.
            said, self._status = self._status, f"{outcome} {answer.get('msg', '')}"
            level = logging.DEBUG if said == self._status else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "request answered", extra=_line(request, record, outcome, answer, seconds))


class MeasuredPool:
    """An address pool that tells how long addresses were waited for; implements ``AddressPool``."""

    def __init__(self, pool: AddressPool, served: Callable[[Sandbox], None]) -> None:
        """``served`` is called with each sandbox that has got its address."""
        self._pool = pool
        self._served = served

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the sandbox's address."""
        with _Timed("address"):
            assignment = await self._pool.assign(sandbox)
        _see(assignment)
        self._served(sandbox)
        return assignment

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the address back."""
        assignment = await self._pool.release(key)
        if assignment is not None:
            _see(assignment)
        return assignment

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        return self._pool.find(key)

    def assignments(self) -> Collection[Assignment]:
        """Returns all that is assigned."""
        return self._pool.assignments()

    def check_ready(self) -> None:
        """Raises what the pool raises."""
        self._pool.check_ready()


class MeasuredNetwork:
    """Programs pods' networks and knows how long the oldest has been in the works; implements ``verbs.Network``."""

    def __init__(self, network: Network, clock: Callable[[], float] = time.monotonic) -> None:
        self._network = network
        self._clock = clock
        self._works: dict[object, float] = {}

    @property
    def oldest_work(self) -> float:
        """Seconds for which the longest of the works under way has been; 0: there is none."""
        return self._clock() - min(self._works.values(), default=self._clock())

    async def add(self, netns: int, assignment: Assignment, mtu: int) -> int:
        """Sets up the sandbox's links."""
        with self._working():
            return await self._network.add(netns, assignment, mtu)

    async def check(self, netns: int, assignment: Assignment, mtu: int) -> list[str]:
        """Returns in sentences what differs."""
        with self._working():
            return await self._network.check(netns, assignment, mtu)

    async def remove(self, assignment: Assignment) -> None:
        """Takes the sandbox off the network."""
        with self._working():
            await self._network.remove(assignment)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        work = object()
        self._works[work] = self._clock()
        try:
            with _Timed("kernel"):
                yield
        finally:
            del self._works[work]


class MeasuredMemory:
    """A journal whose writes are counted; implements ``ledger.Memory``."""

    def __init__(self, memory: Memory, metrics: Metrics) -> None:
        self._memory = memory
        self._metrics = metrics

    def hold(self, holding: Holding) -> None:
        """Remembers a holding."""
        with self._writing("hold"):
            self._memory.hold(holding)

    def release(self, holding: Holding, at: float) -> None:
        """Forgets a holding."""
        with self._writing("release"):
            self._memory.release(holding, at)

    @contextlib.contextmanager
    def _writing(self, operation: str) -> Iterator[None]:
        try:
            with self._metrics.journal_writes.labels(operation).time(), _Timed("journal"):
                yield
        except Exception:
            self._metrics.journal_failures.labels(operation).inc()
            raise


def outcome_of(exit_code: int, answer: dict[str, Any]) -> str:
    """Returns the outcome of a reply in a word.

    success; no_address: none came free in time; unavailable: no supply, host not ready, journal broken; kernel: it
    refused; differs: CHECK found a difference; unknown: CHECK of a sandbox nobody knows; invalid: the request cannot be
    meant; internal: a bug.
    """
    if not exit_code:
        return "success"
    code = answer.get("code")
    if code == Code.TRY_AGAIN and answer.get("details"):
        return "no_address"
    return next((outcome for known, outcome in _OUTCOMES.items() if known == code), "invalid")


def _parsed(reply: protocol.Reply) -> dict[str, Any]:
    return dict(json.loads(reply.stdout)) if reply.exit_code else {}


def _line(
    request: protocol.Request, record: _Record, outcome: str, answer: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Returns the fields of a request's line, those without a value left out."""
    environ = request.environ
    fields = {
        "verb": record.verb,
        "outcome": outcome,
        "sandbox": environ.get("CNI_CONTAINERID", ""),
        "ifname": environ.get("CNI_IFNAME", ""),
        "pod": _pod(environ.get("CNI_ARGS", "")),
        "address": " ".join(record.addresses),
        "eni_id": record.eni_id,
        "reason": answer.get("details", ""),
        "error": answer.get("msg", ""),
    }
    times = {"duration_seconds": seconds}
    for phase in record.phases:
        name = f"{phase.name}_seconds"
        times[name] = times.get(name, 0.0) + phase.seconds
    rounded = {name: round(spent, 6) for name, spent in times.items()}
    return {key: value for key, value in fields.items() if value} | rounded


def _pod(arguments: str) -> str:
    try:
        pod = parse_args(arguments)
    except CniError:
        return ""
    return f"{pod.namespace}/{pod.name}" if pod.name else ""


class _Timed:
    """Times a phase of the request that it runs in; of none: the sweep's, and what serves another's waiting ADD."""

    __slots__ = ("_began", "_phase")

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self._began = time.perf_counter()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        record = _record.get()
        if record is not None:
            record.phases.append(_Phase(self._phase, _ending(kind), time.perf_counter() - self._began))


def _ending(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "success"
    return "cancelled" if issubclass(kind, asyncio.CancelledError) else "error"


def _see(assignment: Assignment) -> None:
    record = _record.get()
    if record is not None:
        record.see(assignment)
