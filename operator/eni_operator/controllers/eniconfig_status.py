"""What an ENIConfig's status says: who uses it, what its subnets have left, whether it works. The leader's duty.

Decides all of it from the ENIConfig and the pools' ``status.supply``; asks EC2 nothing. Counterpart: each node's loop,
which chooses the ENIConfig and writes what came of it into its pool.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from eni_crds.conditions import ConditionType, Reason
from eni_crds.contract import ContractError
from eni_crds.eniconfig import ENIConfig, ENIConfigStatus
from eni_crds.names import ENICONFIG_GROUP, ENICONFIG_KIND, ENICONFIG_VERSION
from eni_crds.nodeippool import Condition, ConditionStatus, SupplySubnet
from eni_operator.controllers.kube import KubeError, KubeObject, LeaderApi, Pages

log = logging.getLogger(__name__)

WRITE_SECONDS: Final = 10.0
"""A status is written at most this often; in scope ``cluster``, where the pools are at hand, also looked at."""
_PROBLEMS: Final = frozenset(
    (
        Reason.ENICONFIG_INVALID,
        Reason.UNKNOWN_SUBNET,
        Reason.UNKNOWN_SECURITY_GROUP,
        Reason.WRONG_ZONE,
        Reason.NO_SUBNET,
        Reason.NO_IPV6_SUBNET,
    )
)
"""Reasons in a pool's conditions that say the ENIConfig is at fault."""


@dataclass(frozen=True, slots=True)
class Use:
    """One pool's use of an ENIConfig."""

    eniconfig: str
    subnets: tuple[SupplySubnet, ...] = ()
    reason: str = ""
    """Why the ENIConfig does not work for this node; empty when it does."""
    message: str = ""


def use_of(pool: KubeObject) -> Use | None:
    """Returns a pool's use of an ENIConfig; None where it uses none or cannot be read."""
    status = pool.get("status") or {}
    supply = status.get("supply") or {}
    name = supply.get("eniConfig")
    if not name:
        return None
    try:
        subnets = tuple(SupplySubnet.parse(item) for item in supply.get("subnets") or [])
    except ContractError:
        subnets = ()
    problems = [c for c in status.get("conditions") or [] if c.get("reason") in _PROBLEMS]
    problem = problems[0] if problems else {}
    return Use(name, subnets, problem.get("reason", ""), problem.get("message", ""))


def status_of(config: KubeObject, uses: Sequence[Use], before: ENIConfigStatus, now: float) -> ENIConfigStatus:
    """Returns the status of an ENIConfig that these pools use."""
    subnets = _subnets(uses, now)
    status, reason, message = _ready(config, uses)
    return ENIConfigStatus(
        nodes=len(uses),
        subnet_count=len(subnets),
        free=sum(subnet.free for subnet in subnets),
        subnets=subnets,
        conditions=[_condition(status, reason, message, before.conditions, now)],
    )


def _subnets(uses: Iterable[Use], now: float) -> list[SupplySubnet]:
    seen: dict[str, list[SupplySubnet]] = {}
    for use in uses:
        for subnet in use.subnets:
            seen.setdefault(subnet.id, []).append(subnet)
    return [_subnet(seen[name], now) for name in sorted(seen)]


def _subnet(seen: Sequence[SupplySubnet], now: float) -> SupplySubnet:
    """Nodes asked at different times; the least that any was told misleads nobody who is short of addresses."""
    return SupplySubnet(
        id=seen[0].id,
        zone=seen[0].zone,
        cidr=seen[0].cidr,
        free=min(subnet.free for subnet in seen),
        exhausted_until=_latest((subnet.exhausted_until for subnet in seen), now),
        fragmented_until=_latest((subnet.fragmented_until for subnet in seen), now),
    )


def _latest(instants: Iterable[datetime | None], now: float) -> datetime | None:
    ahead = [instant for instant in instants if instant is not None and instant.timestamp() > now]
    return max(ahead, default=None)


def _ready(config: KubeObject, uses: Sequence[Use]) -> tuple[ConditionStatus, str, str]:
    try:
        ENIConfig.parse({**config, "status": {}})
    except ContractError as error:
        return ConditionStatus.FALSE, Reason.ENICONFIG_INVALID, f"cannot be read: {error}"
    if not uses:
        return ConditionStatus.UNKNOWN, Reason.ENICONFIG_UNUSED, "no node uses it, so nobody knows whether it works"
    hindered = Counter(use.reason for use in uses if use.reason)
    if not hindered:
        return ConditionStatus.TRUE, Reason.ENICONFIG_READY, f"works for {_nodes(len(uses))}"
    reason = min(hindered, key=lambda one: (-hindered[one], one))
    said = min(use.message for use in uses if use.reason == reason)
    return ConditionStatus.FALSE, reason, f"fails for {hindered[reason]} of {_nodes(len(uses))}: {said}"


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def _condition(
    status: ConditionStatus, reason: str, message: str, before: Iterable[Condition], now: float
) -> Condition:
    old = next((condition for condition in before if condition.type == ConditionType.READY), None)
    since = datetime.fromtimestamp(int(now), UTC)
    kept = old.last_transition_time if old is not None and old.status is status else since
    return Condition(type=ConditionType.READY, status=status, reason=reason, message=message, last_transition_time=kept)


def written_status(config: KubeObject) -> ENIConfigStatus:
    """Returns the status an ENIConfig has; an empty one where it cannot be read."""
    try:
        return ENIConfigStatus.parse(config.get("status") or {})
    except ContractError:
        return ENIConfigStatus()


@dataclass(frozen=True, slots=True)
class StatusSeams:
    """What a process has and a test brings."""

    wall: Callable[[], float]
    """Unix seconds."""
    sleep: Callable[[float], Awaitable[None]]


class ENIConfigStatuses:
    """Writes the status of every ENIConfig when it changes. ``configs`` are those there are, as last seen."""

    def __init__(
        self,
        kube: LeaderApi,
        configs: Callable[[], Mapping[str, KubeObject]],
        pools: Pages,
        seams: StatusSeams,
        every_seconds: float,
    ) -> None:
        self._kube = kube
        self._configs = configs
        self._pools = pools
        self._seams = seams
        self._every_seconds = max(every_seconds, WRITE_SECONDS)

    async def run(self) -> None:
        """Runs for ever."""
        await self._seams.sleep(WRITE_SECONDS)  # the pools of the watches are not all there at first
        while True:
            try:
                await self.once()
            except KubeError as error:
                log.warning("the pools could not be listed", extra={"error": str(error)})
            await self._seams.sleep(self._every_seconds)

    async def once(self) -> None:
        """Looks at all pools and writes what differs. Raises KubeError."""
        if not self._configs():
            return
        uses: dict[str, list[Use]] = {}
        async for page in self._pools():
            for use in filter(None, map(use_of, page)):
                uses.setdefault(use.eniconfig, []).append(use)
        for name, config in list(self._configs().items()):
            before = written_status(config)
            status = status_of(config, uses.get(name, []), before, self._seams.wall())
            if status != before:
                await self._write(name, status)

    async def _write(self, name: str, status: ENIConfigStatus) -> None:
        try:
            await self._kube.apply_eniconfig_status(_body(name, status))
        except KubeError as error:  # the others are written all the same
            log.warning("an ENIConfig's status was not written", extra={"eniconfig": name, "error": str(error)})


def _body(name: str, status: ENIConfigStatus) -> KubeObject:
    return {
        "apiVersion": f"{ENICONFIG_GROUP}/{ENICONFIG_VERSION}",
        "kind": ENICONFIG_KIND,
        "metadata": {"name": name},
        "status": status.dump(),
    }
