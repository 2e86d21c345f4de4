"""Why the pool is as it is: condition verdicts made from the world and what was planned.

Decides Ready, Sufficient, LimitReached and Overcommitted; what subnets refuse is ``subnet_reasons``'. Throttled,
AccessDenied and every other failure of EC2 come from ``execution`` and are merged by ``controllers.refusals``. Instants
are Unix seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Family, Mode
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import capacity, ipv6, subnet_reasons
from eni_operator.planning.card_plan import CardPlan
from eni_operator.planning.subnet_reasons import clock_time, no, not_affected, yes

__all__ = ["clock_time", "verdicts"]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the verdicts are made from."""

    world: World
    policy: Policy
    parts: tuple[CardPlan, ...]
    now: float

    @property
    def demand(self) -> int:
        """Returns the addresses pods have and wait for."""
        return self.world.usage.assigned + self.world.usage.pending

    @property
    def supply(self) -> int:
        """Returns the addresses pods may have."""
        return sum(part.supply for part in self.parts)

    @property
    def wanted(self) -> int:
        """Returns the addresses the pool grows or shrinks to."""
        return sum(part.target.wanted for part in self.parts)

    @property
    def short(self) -> int:
        """Counts what is missing, card by card: no card makes up for another."""
        return sum(max(0, part.target.wanted - part.supply) for part in self.parts)

    @property
    def is_served(self) -> bool:
        """Tells whether every pod has an address or one waits for it."""
        if Family.IPV4 not in self.policy.families:
            return ipv6.has_any(self.world)
        return all(part.supply >= _needed(part) for part in self.parts)


def verdicts(
    world: World, policy: Policy, parts: tuple[CardPlan, ...], now: float, *, maximum_pods: int
) -> tuple[Verdict, ...]:
    """Returns one verdict for each condition planning can judge."""
    standing = _Standing(world, policy, parts, now)
    exhausted, fragmented = subnet_reasons.refusals(world, parts, now)
    limit = _limit_reached(standing)
    blocking = _blocking(standing, exhausted, fragmented, limit)
    return (
        _ready(standing, blocking),
        _sufficient(standing, blocking),
        exhausted,
        fragmented,
        limit,
        _overcommitted(world, maximum_pods),
    )


def _needed(part: CardPlan) -> int:
    usage = part.world.usage
    return usage.assigned + usage.pending + usage.cooling


def _blocking(standing: _Standing, exhausted: Verdict, fragmented: Verdict, limit: Verdict) -> Verdict | None:
    """Returns what keeps the pool from what it needs; a limit that only costs spare addresses does not."""
    causes = {subnet_reasons.hindrance(part, standing.now) for part in standing.parts if _is_short(part)}
    if Reason.SUBNET_FULL in causes:
        return exhausted
    if Reason.NO_FREE_PREFIX in causes:
        return fragmented
    if not limit.status:
        return None
    if Family.IPV4 not in standing.policy.families:
        return limit if limit.reason is Reason.PREFIXES_UNSUPPORTED else None
    return limit if any(_needed(part) > part.target.wanted for part in standing.parts) else None


def _is_short(part: CardPlan) -> bool:
    return part.supply < part.target.wanted


def _ready(standing: _Standing, blocking: Verdict | None) -> Verdict:
    """Names counts only where something is missing: they change with every pod, and each change is a write."""
    usage, served = standing.world.usage, standing.is_served
    have = f"{standing.supply} addresses held for {standing.demand} pods, {usage.cooling} cooling"
    if halt := _halt(standing.policy):
        reason, message = halt
        message = f"{message}, so no EC2 call that changes anything is made"
        return Verdict(ConditionType.READY, served, reason, message if served else f"{message}; {have}")
    if silence := _silence(standing):
        return no(ConditionType.READY, Reason.AGENT_SILENT, silence)
    if served:
        return yes(ConditionType.READY, Reason.POOL_READY, "every pod of the node has an address or one waits for it")
    trouble = next(_troubles(standing, blocking), None)
    if trouble is not None:
        reason, message = trouble
        return no(ConditionType.READY, reason, f"{have}; {message}")
    return no(ConditionType.READY, Reason.GROWING, f"{have}; growing to {standing.wanted}")


def _silence(standing: _Standing) -> str | None:
    usage = standing.world.usage
    if not usage.reported:
        return "the agent of this node has not reported yet, so demand is unknown and nothing is released"
    if usage.silent_since is not None:
        since = clock_time(usage.silent_since)
        return f"the agent of this node has said nothing since {since}, so nothing is released"
    return None


def _halt(policy: Policy) -> tuple[Reason, str] | None:
    if policy.paused:
        return Reason.PAUSED, "spec.paused is true"
    if not policy.provisioning:
        return Reason.PROVISIONING_DISABLED, "DISABLE_NETWORK_RESOURCE_PROVISIONING or ENABLE_IMDS_ONLY_MODE is true"
    return None


def _sufficient(standing: _Standing, blocking: Verdict | None) -> Verdict:
    trouble = next(_troubles(standing, blocking), None)
    if trouble is not None:
        return no(ConditionType.SUFFICIENT, *trouble)
    if standing.short <= 0:
        message = f"{standing.supply} addresses held, {standing.wanted} wanted"
        return yes(ConditionType.SUFFICIENT, Reason.ADDRESSES_AVAILABLE, message)
    message = f"growing from {standing.supply} to {standing.wanted} addresses"
    return yes(ConditionType.SUFFICIENT, Reason.GROWING, message)


def _troubles(standing: _Standing, blocking: Verdict | None) -> Iterator[tuple[Reason, str]]:
    """Yields why the pool does not come to what it should hold, what a person should look at first at the front."""
    if standing.world.obstacle is not None:
        yield standing.world.obstacle.reason, standing.world.obstacle.message
    if blocking is not None:
        yield blocking.reason, blocking.message
    if without := subnet_reasons.without_ipv6(standing.world, standing.policy, standing.now):
        yield Reason.NO_IPV6_SUBNET, without
    if standing.short <= 0:
        return
    missing = f"{standing.short} addresses are missing of {standing.wanted} wanted"
    if halt := _halt(standing.policy):
        yield halt[0], f"{halt[1]} and {missing}"
    if standing.world.unschedulable:
        yield Reason.UNSCHEDULABLE, f"the node is cordoned, so the pool does not grow, and {missing}"


def _limit_reached(standing: _Standing) -> Verdict:
    limits = (verdict for part in standing.parts if (verdict := _limit_of(part, standing.policy)) is not None)
    return next(limits, not_affected(ConditionType.LIMIT_REACHED, "no limit of the instance or the policy is reached"))


def _limit_of(part: CardPlan, policy: Policy) -> Verdict | None:
    target, instance, usage = part.target, part.world.instance, part.world.usage
    pods = capacity.maximum_pods(part.world, policy)
    if target.ceiling is not None and target.unlimited > target.ceiling:
        message = f"maximumIPs is {policy.maximum_ips}, {target.unlimited} addresses are wanted"
        return _limit(Reason.ADDRESS_LIMIT, message)
    if target.unlimited > target.reachable:
        limits = instance.limits
        message = (
            f"{instance.type} holds {target.reachable} pod addresses at most with "
            f"{capacity.eni_limit(policy, limits)} ENIs of {limits.slots_per_eni} slots, {target.unlimited} are wanted"
        )
        return _limit(Reason.ENI_LIMIT, message)
    demand = usage.assigned + usage.pending
    if demand > pods:
        return _limit(Reason.ADDRESS_LIMIT, f"maximumPods is {pods}, {demand} pods are on the node")
    return _without_prefixes(instance.type, policy) if not instance.limits.prefixes else None


def _without_prefixes(type_: str, policy: Policy) -> Verdict | None:
    if Family.IPV6 in policy.families:
        return _limit(Reason.PREFIXES_UNSUPPORTED, f"{type_} takes no prefixes; pods get no IPv6 address")
    if policy.mode is Mode.PREFIX:
        return _limit(Reason.PREFIXES_UNSUPPORTED, f"{type_} takes no prefixes; single addresses are assigned")
    return None


def _limit(reason: Reason, message: str) -> Verdict:
    return yes(ConditionType.LIMIT_REACHED, reason, message)


def _overcommitted(world: World, maximum_pods: int) -> Verdict:
    kubelet = world.instance.maximum_pods
    if kubelet <= maximum_pods:
        message = "the kubelet takes no more pods than this instance can address"
        return not_affected(ConditionType.OVERCOMMITTED, message)
    message = f"the kubelet takes {kubelet} pods, {world.instance.type} can address {maximum_pods} under this policy"
    return yes(ConditionType.OVERCOMMITTED, Reason.MAXIMUM_PODS_TOO_HIGH, message)
