"""Events on pods that lack an address: the reason where people look first, in ``kubectl describe pod``.

Decides which shortages become an Event, how often, and whose pod it is. Does not decide the sentence: it is the one
the runtime gets (``sandbox.pool``). One Event for each pod and reason, its count bumped for each sandbox; limited in
number, never in the way of an ADD, and dropped while the API server is away.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from eni_cni_shim.plugin.addresspool import SandboxKey
from eni_crds.names import AGENT_FIELD_MANAGER
from eni_node_agent.cluster.api import ApiError, Apply, UnreachableError
from eni_node_agent.cluster.pods import Pod, uid_of
from eni_node_agent.sandbox.pool import Shortage

log = logging.getLogger(__name__)

COMPONENT: Final = "eni-agent"
BURST: Final = 40
PER_SECOND: Final = 0.5
"""Events of one node after a burst; pods that have none yet come before repeats."""
REMEMBERED: Final = 512
LONGEST_MESSAGE: Final = 1024
"""Bytes the API server takes."""
LONGEST_NAME: Final = 230
"""Of the pod's name in the Event's, which may have 253 in all."""


class _Subject(NamedTuple):
    """What has an Event of its own."""

    namespace: str
    name: str
    uid: str
    reason: str


@dataclass(slots=True)
class _Told:
    """What has been told of a subject."""

    sandbox: SandboxKey
    first: datetime
    count: int = 0


class PodEvents:
    """Posts Events on the pods of one node. Lives in one event loop."""

    def __init__(self, api: Apply, node: str, *, clock: Callable[[], float]) -> None:
        """Makes the poster; ``clock`` gives Unix seconds."""
        self._api = api
        self._node = node
        self._clock = clock
        self._pods: Mapping[str, Pod] = {}
        self._told: dict[_Subject, _Told] = {}
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(BURST)
        self._tokens = float(BURST)
        self._refilled_at = clock()
        self._is_failing = False

    def see_pods(self, pods: Mapping[str, Pod]) -> None:
        """Takes over the pods bound to this node, by uid."""
        self._pods = dict(pods)

    def post(self, shortage: Shortage) -> None:
        """Queues an Event unless this sandbox's is told of already or there are too many; returns at once."""
        sandbox = shortage.sandbox
        if not sandbox.pod_name:
            return
        subject = _Subject(sandbox.pod_namespace, sandbox.pod_name, uid_of(self._pods, sandbox), shortage.reason)
        told = self._told.pop(subject, None)
        if told is None:
            told = _Told(sandbox.key, _time(self._clock()))
        elif told.sandbox == sandbox.key:
            self._told[subject] = told
            return
        told.sandbox = sandbox.key
        told.count += 1
        self._remember(subject, told)
        if self._is_allowed(is_repeat=told.count > 1) and not self._queue.full():
            self._queue.put_nowait(self._event(subject, told, shortage.message))

    async def run(self) -> None:
        """Sends what is queued, for ever; an Event that cannot be sent is dropped."""
        while True:
            path, event = await self._queue.get()
            try:
                await self._api.apply(path, event, AGENT_FIELD_MANAGER)
            except (ApiError, UnreachableError) as error:
                level = logging.DEBUG if self._is_failing else logging.WARNING
                log.log(level, "Event on a pod dropped", extra={"event": event["message"], "error": str(error)})
                self._is_failing = True
            else:
                self._is_failing = False

    def _remember(self, subject: _Subject, told: _Told) -> None:
        self._told[subject] = told
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]

    def _is_allowed(self, *, is_repeat: bool) -> bool:
        now = self._clock()
        self._tokens = min(BURST, self._tokens + max(now - self._refilled_at, 0.0) * PER_SECOND)
        self._refilled_at = now
        if self._tokens < (BURST / 2 if is_repeat else 1):
            return False
        self._tokens -= 1
        return True

    def _event(self, subject: _Subject, told: _Told, message: str) -> tuple[str, dict[str, Any]]:
        # A name of its own for each subject: applying it makes the Event or changes it, also after a restart.
        digest = hashlib.sha1(f"{subject.uid} {subject.reason}".encode(), usedforsecurity=False).hexdigest()
        name = f"{subject.name[:LONGEST_NAME].rstrip('-.')}.{digest[:16]}"
        pod = {"apiVersion": "v1", "kind": "Pod", "namespace": subject.namespace, "name": subject.name}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": subject.namespace},
            "involvedObject": pod | ({"uid": subject.uid} if subject.uid else {}),
            "type": "Warning",
            "reason": subject.reason,
            "message": message.encode()[:LONGEST_MESSAGE].decode(errors="ignore"),
            "source": {"component": COMPONENT, "host": self._node},
            "firstTimestamp": _text(told.first),
            "lastTimestamp": _text(_time(self._clock())),
            "count": told.count,
        }
        return f"/api/v1/namespaces/{subject.namespace}/events/{name}", event


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
