"""Kubernetes Events on the Node, for who looks there first. De-duplicated, limited, and never in the loop's way.

Decides which changes of conditions deserve an Event. ``kubectl describe node`` finds them by an involvedObject without
namespace; Events of cluster-scoped objects live in the namespace ``default``.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus
from eni_operator.controllers.kube import KubeApi, KubeError, KubeObject
from eni_operator.planning.reasons import clock_time

log = logging.getLogger(__name__)

NAMESPACE: Final = "default"
COMPONENT: Final = "eni-operator"
BURST: Final = 25
REFILL_SECONDS: Final = 300.0
"""Client-go's own limits of Events for one object."""
QUEUE: Final = 64
REMEMBERED: Final = 64
MESSAGE_LIMIT: Final = 1024
_PROBLEMS: Final = (
    ConditionType.SUBNET_EXHAUSTED,
    ConditionType.PREFIX_FRAGMENTED,
    ConditionType.THROTTLED,
    ConditionType.LIMIT_REACHED,
    ConditionType.ACCESS_DENIED,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What an Event says."""

    reason: str
    message: str
    warning: bool


def notices(before: Iterable[Condition], after: Iterable[Condition]) -> list[Notice]:
    """Returns what is worth telling about a change of conditions: problems that came, and that growth works again."""
    old = {condition.type: condition for condition in before}
    told: list[Notice] = []
    for new in after:
        was = old.get(new.type)
        if was is not None and (was.status, was.reason) == (new.status, new.reason):
            continue
        if new.type in _PROBLEMS and new.status is ConditionStatus.TRUE:
            told.append(Notice(new.reason, new.message, warning=True))
        elif new.type == ConditionType.SUFFICIENT:
            told += _sufficient(was, new)
    return list({notice.reason: notice for notice in reversed(told)}.values())


def _sufficient(was: Condition | None, new: Condition) -> list[Notice]:
    if new.status is ConditionStatus.FALSE and new.reason != Reason.PAUSED:
        return [Notice(new.reason, new.message, warning=True)]
    recovered = was is not None and was.status is ConditionStatus.FALSE and new.status is ConditionStatus.TRUE
    return [Notice(new.reason, new.message, warning=False)] if recovered else []


@dataclass(slots=True)
class _Posted:
    name: str
    count: int


class Events:
    """Posts Events on one Node."""

    def __init__(self, kube: KubeApi, node_name: str, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._node_name = node_name
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Notice, str]] = asyncio.Queue(QUEUE)
        self._posted: dict[Notice, _Posted] = {}
        self._tokens = float(BURST)
        self._refilled = clock()

    def post(self, notice: Notice, node_uid: str) -> None:
        """Queues an Event; when there are too many it is only logged."""
        log.log(logging.WARNING if notice.warning else logging.INFO, notice.message, extra={"reason": notice.reason})
        if self._allowed() and not self._queue.full():
            self._queue.put_nowait((notice, node_uid))

    def _allowed(self) -> bool:
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._refilled) / REFILL_SECONDS)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def run(self) -> None:
        """Sends what is queued, for ever; an Event that cannot be sent is dropped."""
        while True:
            notice, node_uid = await self._queue.get()
            try:
                await self._send(notice, node_uid)
            except KubeError as error:
                log.debug("an Event was dropped", extra={"error": str(error)})

    async def _send(self, notice: Notice, node_uid: str) -> None:
        now = clock_time(self._clock())
        known = self._posted.get(notice)
        if known is not None:
            known.count += 1
            try:
                return await self._kube.patch_event(NAMESPACE, known.name, {"count": known.count, "lastTimestamp": now})
            except KubeError as error:
                if error.status != 404:
                    raise
        name = f"{self._node_name}.{int(self._clock() * 1e6):x}"
        await self._kube.create_event(self._event(notice, name, node_uid, now))
        self._posted[notice] = _Posted(name, 1)
        if len(self._posted) > REMEMBERED:
            del self._posted[next(iter(self._posted))]
        return None

    def _event(self, notice: Notice, name: str, node_uid: str, now: str) -> KubeObject:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": node_uid},
            "type": "Warning" if notice.warning else "Normal",
            "reason": notice.reason,
            "message": notice.message[:MESSAGE_LIMIT],
            "source": {"component": COMPONENT, "host": self._node_name},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
