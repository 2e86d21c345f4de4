"""Why the pool is as it is: condition verdicts made from the world and what was planned.

Decides Ready, Sufficient, SubnetExhausted, PrefixFragmented and LimitReached. Throttled, AccessDenied and every other
failure of EC2 come from ``execution`` and are merged by ``controllers.refusals``. Instants are Unix seconds.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Mode
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import capacity
from eni_operator.planning.capacity import Grain, Target


@dataclass(frozen=True, slots=True)
class Standing:
    """What the verdicts are made from."""

    world: World
    policy: Policy
    target: Target
    grain: Grain
    supply: int
    """Addresses pods may have."""
    now: float

    @property
    def demand(self) -> int:
        """Returns the addresses pods have and wait for."""
        return self.world.usage.assigned + self.world.usage.pending

    @property
    def is_exhausted(self) -> bool:
        """Tells whether the subnet refuses single addresses."""
        return self.now < self.world.subnet.exhausted_until

    @property
    def is_fragmented(self) -> bool:
        """Tells whether the subnet refuses prefixes."""
        return self.now < self.world.subnet.fragmented_until


def verdicts(standing: Standing) -> tuple[Verdict, ...]:
    """Returns one verdict for each condition planning can judge."""
    subnet = _subnet_exhausted(standing)
    fragmented = _prefix_fragmented(standing)
    limit = _limit_reached(standing)
    blocking = next((v for v in (subnet, fragmented, limit) if v.status and _blocks(v, standing)), None)
    return (_ready(standing, blocking), _sufficient(standing, blocking), subnet, fragmented, limit)


def _blocks(verdict: Verdict, standing: Standing) -> bool:
    """Tells whether this keeps the pool from what it needs; a limit that only costs spare addresses does not."""
    if verdict.type is ConditionType.PREFIX_FRAGMENTED and standing.grain.size == 1:
        return False
    if verdict.type is ConditionType.LIMIT_REACHED:
        return standing.demand + standing.world.usage.cooling > standing.target.wanted
    return standing.supply < standing.target.wanted


def _ready(standing: Standing, blocking: Verdict | None) -> Verdict:
    """Names counts only where something is missing: they change with every pod, and each change is a write."""
    usage = standing.world.usage
    served = standing.supply >= standing.demand + usage.cooling
    have = f"{standing.supply} addresses held for {standing.demand} pods, {usage.cooling} cooling"
    if standing.policy.paused:
        message = "spec.paused is true, so no EC2 call that changes anything is made"
        return Verdict(ConditionType.READY, served, Reason.PAUSED, message if served else f"{message}; {have}")
    if not usage.reported:
        silent = "the agent of this node has not reported yet, so demand is unknown and nothing is released"
        return _no(ConditionType.READY, Reason.AGENT_SILENT, silent)
    if served:
        return _yes(ConditionType.READY, Reason.POOL_READY, "every pod of the node has an address or one waits for it")
    if blocking is not None:
        return _no(ConditionType.READY, blocking.reason, f"{have}; {blocking.message}")
    return _no(ConditionType.READY, Reason.GROWING, f"{have}; growing to {standing.target.wanted}")


def _sufficient(standing: Standing, blocking: Verdict | None) -> Verdict:
    short = standing.target.wanted - standing.supply
    if blocking is not None:
        return _no(ConditionType.SUFFICIENT, blocking.reason, blocking.message)
    if short <= 0:
        message = f"{standing.supply} addresses held, {standing.target.wanted} wanted"
        return _yes(ConditionType.SUFFICIENT, Reason.ADDRESSES_AVAILABLE, message)
    if standing.policy.paused:
        message = f"spec.paused is true and {short} addresses are missing of {standing.target.wanted} wanted"
        return _no(ConditionType.SUFFICIENT, Reason.PAUSED, message)
    message = f"growing from {standing.supply} to {standing.target.wanted} addresses"
    return _yes(ConditionType.SUFFICIENT, Reason.GROWING, message)


def _subnet_exhausted(standing: Standing) -> Verdict:
    subnet = standing.world.subnet
    if not standing.is_exhausted:
        return _not_affected(ConditionType.SUBNET_EXHAUSTED, f"subnet {subnet.id} gives addresses")
    message = (
        f"subnet {subnet.id} ({subnet.cidr}) refused an address, {subnet.free_addresses} free when last asked; "
        f"next try at {clock_time(subnet.exhausted_until)}"
    )
    return _yes(ConditionType.SUBNET_EXHAUSTED, Reason.SUBNET_FULL, message)


def _prefix_fragmented(standing: Standing) -> Verdict:
    subnet = standing.world.subnet
    if not standing.is_fragmented:
        return _not_affected(ConditionType.PREFIX_FRAGMENTED, f"subnet {subnet.id} gives prefixes")
    message = (
        f"subnet {subnet.id} ({subnet.cidr}) has no whole /28 free, {subnet.free_addresses} addresses free when last "
        f"asked; next try at {clock_time(subnet.fragmented_until)}, mode auto takes single addresses meanwhile"
    )
    return _yes(ConditionType.PREFIX_FRAGMENTED, Reason.NO_FREE_PREFIX, message)


def _limit_reached(standing: Standing) -> Verdict:
    target, policy, instance = standing.target, standing.policy, standing.world.instance
    pods = capacity.maximum_pods(standing.world, policy)
    if target.maximum_ips is not None and target.unlimited > target.maximum_ips:
        return _limit(
            Reason.ADDRESS_LIMIT, f"maximumIPs is {policy.maximum_ips}, {target.unlimited} addresses are wanted"
        )
    if target.unlimited > target.reachable:
        limits = instance.limits
        message = (
            f"{instance.type} holds {target.reachable} pod addresses at most with "
            f"{capacity.eni_limit(policy, limits)} ENIs of {limits.slots_per_eni} slots, {target.unlimited} are wanted"
        )
        return _limit(Reason.ENI_LIMIT, message)
    if standing.demand > pods:
        return _limit(Reason.ADDRESS_LIMIT, f"maximumPods is {pods}, {standing.demand} pods are on the node")
    if policy.mode is Mode.PREFIX and not instance.limits.prefixes:
        return _limit(Reason.PREFIXES_UNSUPPORTED, f"{instance.type} takes no prefixes; single addresses are assigned")
    return _not_affected(ConditionType.LIMIT_REACHED, "no limit of the instance or the policy is reached")


def _yes(type_: ConditionType, reason: Reason, message: str) -> Verdict:
    return Verdict(type_, status=True, reason=reason, message=message)


def _no(type_: ConditionType, reason: Reason, message: str) -> Verdict:
    return Verdict(type_, status=False, reason=reason, message=message)


def _limit(reason: Reason, message: str) -> Verdict:
    return _yes(ConditionType.LIMIT_REACHED, reason, message)


def _not_affected(type_: ConditionType, message: str) -> Verdict:
    return _no(type_, Reason.NOT_AFFECTED, message)


def clock_time(instant: float) -> str:
    """Returns an instant as people and Kubernetes write it."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
