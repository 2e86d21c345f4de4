"""Kubernetes Events on the Node, for who looks there first. De-duplicated, limited, and never in the loop's way.

Decides which changes of conditions deserve an Event. ``kubectl describe node`` finds them by an involvedObject without
namespace; Events of cluster-scoped objects live in the namespace ``default``. Counterpart: the agent posts the reason
on the pods that wait.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus
from eni_operator.controllers.kube import KubeApi, KubeError, KubeObject
from eni_operator.controllers.refusals import NEXT_TRY
from eni_operator.planning.reasons import clock_time

log = logging.getLogger(__name__)

NAMESPACE: Final = "default"
COMPONENT: Final = "eni-operator"
MISSING_PERMISSIONS: Final = "MissingIAMPermissions"
"""VPC CNI's own Event on its pod, for who has an alarm on it."""
BURST: Final = 25
REFILL_SECONDS: Final = 300.0
"""Client-go's own limits of Events for one object."""
QUEUE: Final = 1024
REMEMBERED: Final = 1024
MESSAGE_LIMIT: Final = 1024
_PROBLEMS: Final = (
    ConditionType.SUBNET_EXHAUSTED,
    ConditionType.PREFIX_FRAGMENTED,
    ConditionType.THROTTLED,
    ConditionType.LIMIT_REACHED,
    ConditionType.ACCESS_DENIED,
    ConditionType.OVERCOMMITTED,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What an Event says."""

    reason: str
    message: str
    warning: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What an Event is about: a Node, or the operator's own pod."""

    name: str
    uid: str
    kind: str = "Node"
    namespace: str = ""
    """Empty for what has none."""


def notices(before: Iterable[Condition], after: Iterable[Condition]) -> list[Notice]:
    """Returns what is worth telling about a change of conditions: problems that came, and that growth works again."""
    old = {condition.type: condition for condition in before}
    told: list[Notice] = []
    for new in after:
        was = old.get(new.type)
        if was is not None and (was.status, was.reason) == (new.status, new.reason):
            continue
        if _is_trouble(was, new):
            told.append(Notice(new.reason, _lasting(new.message), warning=True))
        elif new.type == ConditionType.SUFFICIENT:
            told += _sufficient(was, new)
    return list({notice.reason: notice for notice in reversed(told)}.values())


def _is_trouble(was: Condition | None, new: Condition) -> bool:
    """An agent that has not come up yet is no news, one that falls silent is."""
    if new.type == ConditionType.READY:
        return new.reason == Reason.AGENT_SILENT and was is not None
    return new.type in _PROBLEMS and new.status is ConditionStatus.TRUE


def _sufficient(was: Condition | None, new: Condition) -> list[Notice]:
    if new.status is ConditionStatus.FALSE and new.reason != Reason.NOT_AFFECTED:
        return [Notice(new.reason, _lasting(new.message), warning=True)]
    recovered = was is not None and was.status is ConditionStatus.FALSE and new.status is ConditionStatus.TRUE
    return [Notice(new.reason, _lasting(new.message), warning=False)] if recovered else []


def missing_permissions(before: Iterable[Condition], after: Iterable[Condition]) -> list[Notice]:
    """Returns VPC CNI's Event where access is denied now and was not before."""
    if any(_is_denied(condition) for condition in before):
        return []
    return [
        Notice(MISSING_PERMISSIONS, _lasting(condition.message), warning=True)
        for condition in after
        if condition.type == ConditionType.ACCESS_DENIED and _is_denied(condition)
    ]


def _is_denied(condition: Condition) -> bool:
    return condition.status is ConditionStatus.TRUE and condition.reason == Reason.ACCESS_DENIED


def _lasting(message: str) -> str:
    """Returns the sentence without the time of the next try, so that the same trouble is one Event with a count."""
    return message.partition(NEXT_TRY)[0]


@dataclass(slots=True)
class _Posted:
    name: str
    count: int = 1


@dataclass(slots=True)
class _Allowance:
    tokens: float
    refilled_at: float

    def take(self, now: float) -> bool:
        self.tokens = min(BURST, self.tokens + (now - self.refilled_at) / REFILL_SECONDS)
        self.refilled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Letter:
    subject: Subject
    notice: Notice


class Events:
    """Posts Events; one for a process."""

    def __init__(self, kube: KubeApi, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._queue: asyncio.Queue[_Letter] = asyncio.Queue(QUEUE)
        self._posted: dict[_Letter, _Posted] = {}
        self._allowances: dict[Subject, _Allowance] = {}

    def post(self, subject: Subject, notice: Notice) -> None:
        """Queues an Event; when there are too many it is only logged."""
        level = logging.WARNING if notice.warning else logging.INFO
        log.log(level, notice.message, extra={"reason": notice.reason, "about": subject.name})
        if self._is_allowed(subject) and not self._queue.full():
            self._queue.put_nowait(_Letter(subject, notice))

    def forget(self, name: str) -> None:
        """Forgets a node that is gone."""
        self._allowances = {s: allowance for s, allowance in self._allowances.items() if s.name != name}

    def _is_allowed(self, subject: Subject) -> bool:
        now = self._clock()
        return self._allowances.setdefault(subject, _Allowance(float(BURST), now)).take(now)

    async def run(self) -> None:
        """Sends what is queued, for ever; an Event that cannot be sent is dropped."""
        while True:
            letter = await self._queue.get()
            try:
                await self._send(letter)
            except KubeError as error:
                log.debug("an Event was dropped", extra={"error": str(error)})

    async def _send(self, letter: _Letter) -> None:
        now = clock_time(self._clock())
        namespace = letter.subject.namespace or NAMESPACE
        known = self._posted.get(letter)
        if known is not None:
            known.count += 1
            try:
                return await self._kube.patch_event(namespace, known.name, {"count": known.count, "lastTimestamp": now})
            except KubeError as error:
                if error.status != 404:
                    raise
        name = f"{letter.subject.name}.{int(self._clock() * 1e6):x}"
        await self._kube.create_event(_event(letter, name, namespace, now))
        self._posted[letter] = _Posted(name)
        if len(self._posted) > REMEMBERED:
            del self._posted[next(iter(self._posted))]
        return None


def _event(letter: _Letter, name: str, namespace: str, now: str) -> KubeObject:
    subject, notice = letter.subject, letter.notice
    about = {"apiVersion": "v1", "kind": subject.kind, "name": subject.name, "uid": subject.uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": about | ({"namespace": subject.namespace} if subject.namespace else {}),
        "type": "Warning" if notice.warning else "Normal",
        "reason": notice.reason,
        "message": notice.message[:MESSAGE_LIMIT],
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
