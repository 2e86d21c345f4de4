"""ANNOTATE_POD_IP: a pod's addresses in its annotation ``vpc.amazonaws.com/pod-ips``, for who cannot wait for status.

Decides what is to be written and in which order; a pod's setup never waits for it (VPC CNI's does, and fails with it).
What the API server does not take is tried again, what it refuses is told and left. Set after ADD, emptied after DEL
where it still says what we wrote. It may patch pods only where the component ``deploy/annotate-pod-ip`` allows it.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import AddressPool, Assignment, Sandbox, SandboxKey
from eni_node_agent.cluster.api import ApiError, Json, Patch, PatchKind, UnreachableError
from eni_node_agent.cluster.pods import Pod, uid_of

log = logging.getLogger(__name__)

ANNOTATION: Final = "vpc.amazonaws.com/pod-ips"
REMEMBERED: Final = 2048
"""Pods with something to be written; more than twice what a node can have."""
RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0
FORBIDDEN: Final = 403
_GONE: Final = frozenset({404, 422})
"""The pod is gone, another has its name, or somebody else wrote the annotation: nothing of ours is left to do."""
_LATER: Final = frozenset({409, 429, 500, 502, 503, 504})

Observer = Callable[[str], None]


class _Name(NamedTuple):
    namespace: str
    name: str


class _Note(NamedTuple):
    """What a pod's annotation should become."""

    sandbox: Sandbox
    value: str
    """``10.0.1.23``, several separated by commas."""
    is_over: bool
    """True: to be emptied, if that is what it says."""


class PodIps:
    """Writes one node's annotations, one after the other. Lives in one event loop."""

    def __init__(
        self, outcome: Observer = lambda _: None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Makes the writer.

        Args:
            outcome: told of each end: ``written``, ``emptied``, ``gone``, ``refused`` or ``dropped``.
            sleep: waits, in seconds.
        """
        self._outcome = outcome
        self._sleep = sleep
        self._notes: dict[_Name, _Note] = {}
        self._filled = asyncio.Event()
        self._pods: Mapping[str, Pod] | None = None
        self._failures = 0
        self._refusal = ""

    def assigned(self, assignment: Assignment) -> None:
        """Takes over that a sandbox has its addresses; returns at once."""
        self._put(_Note(assignment.sandbox, _value(assignment), is_over=False))

    def released(self, assignment: Assignment) -> None:
        """Takes over that a sandbox has given its addresses back; returns at once.

        A DEL that comes after the pod's next ADD must not undo what that one wants written.
        """
        note = _Note(assignment.sandbox, _value(assignment), is_over=True)
        waiting = self._notes.get(_name(note.sandbox))
        if waiting is None or waiting.value == note.value:
            self._put(note)

    def see_pods(self, pods: Mapping[str, Pod], assignments: Iterable[Assignment]) -> None:
        """Takes over the pods bound to this node by uid; the first time it makes up for what a predecessor left."""
        is_first = self._pods is None
        self._pods = dict(pods)
        for assignment in assignments if is_first else ():
            pod = pods.get(uid_of(pods, assignment.sandbox))
            if pod is not None and pod.noted_addresses != _value(assignment):
                self.assigned(assignment)

    async def run(self, api: Patch) -> None:
        """Writes for ever; what is not written when it is cancelled is kept for the next run."""
        while True:
            await self._filled.wait()
            name, note = next(iter(self._notes.items()))
            is_done = await self._write(api, name, note)
            if is_done and self._notes.get(name) is note:
                del self._notes[name]
            if not self._notes:
                self._filled.clear()

    def _put(self, note: _Note) -> None:
        if not note.sandbox.pod_name:
            return
        self._notes.pop(_name(note.sandbox), None)
        self._notes[_name(note.sandbox)] = note
        if len(self._notes) > REMEMBERED:
            del self._notes[next(iter(self._notes))]
            self._outcome("dropped")
        self._filled.set()

    async def _write(self, api: Patch, name: _Name, note: _Note) -> bool:
        path = f"/api/v1/namespaces/{name.namespace}/pods/{name.name}"
        uid = uid_of(self._pods or {}, note.sandbox)
        kind, document = _emptying(uid, note.value) if note.is_over else _setting(uid, note.value)
        try:
            await api.patch(path, document, kind)
        except UnreachableError as error:
            return await self._again(name, error)
        except ApiError as error:
            if error.status in _LATER:
                return await self._again(name, error)
            self._leave(name, error)
        else:
            self._failures, self._refusal = 0, ""
            self._outcome("emptied" if note.is_over else "written")
        return True

    async def _again(self, name: _Name, error: Exception) -> bool:
        """Waits, and puts the pod behind the others: perhaps it is this one alone."""
        if not self._failures:
            log.warning("annotation of a pod cannot be written yet", extra={"pod": "/".join(name), "error": str(error)})
        pause = min(RETRY_SECONDS * 2**self._failures, LONGEST_RETRY_SECONDS)
        self._failures = min(self._failures + 1, 10)
        await self._sleep(pause)
        if name in self._notes:
            self._notes[name] = self._notes.pop(name)
        return False

    def _leave(self, name: _Name, error: ApiError) -> None:
        self._failures = 0
        if error.status in _GONE:
            self._outcome("gone")
            return
        self._outcome("refused")
        if str(error.status) != self._refusal:  # said once, not for each pod
            self._refusal = str(error.status)
            hint = "; deploy/annotate-pod-ip has the right it needs" if error.status == FORBIDDEN else ""
            log.error("annotation refused", extra={"pod": "/".join(name), "error": f"{error}{hint}"})


class NotingPool:
    """A pool whose assignments and releases are noted on the pods; see ``AddressPool``."""

    def __init__(self, pool: AddressPool, notes: PodIps) -> None:
        self._pool = pool
        self._notes = notes

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the sandbox's address."""
        assignment = await self._pool.assign(sandbox)
        self._notes.assigned(assignment)
        return assignment

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the address back."""
        assignment = await self._pool.release(key)
        if assignment is not None:
            self._notes.released(assignment)
        return assignment

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        return self._pool.find(key)

    def assignments(self) -> Collection[Assignment]:
        """Returns all that is assigned."""
        return self._pool.assignments()

    def check_ready(self) -> None:
        """Returns when ADD could be served."""
        self._pool.check_ready()


def _value(assignment: Assignment) -> str:
    return ",".join(assignment.addresses)


def _name(sandbox: Sandbox) -> _Name:
    return _Name(sandbox.pod_namespace, sandbox.pod_name)


def _setting(uid: str, value: str) -> tuple[PatchKind, Json]:
    """A uid in a patch must be the object's own: a pod of the same name that came later is left alone."""
    identity = {"uid": uid} if uid else {}
    return PatchKind.MERGE, {"metadata": {**identity, "annotations": {ANNOTATION: value}}}


def _emptying(uid: str, value: str) -> tuple[PatchKind, list[Json]]:
    """As one step in the API server: nobody can write between the look and the change."""
    path = "/metadata/annotations/" + ANNOTATION.replace("/", "~1")
    identity = [{"op": "test", "path": "/metadata/uid", "value": uid}] if uid else []
    steps = [{"op": "test", "path": path, "value": value}, {"op": "replace", "path": path, "value": ""}]
    return PatchKind.JSON, list(itertools.chain(identity, steps))
