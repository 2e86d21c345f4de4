"""How many addresses a pool should hold: the scaling law, a function of demand, policy and what the instance can take.

Decides ``wanted`` and how many free slots should stay attached. Does not decide on which ENI (``placement``) or what
leaves (``release``). The law is derived in ``docs/ipam-math.md``; the targets mean what they mean to VPC CNI
(https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/eni-and-ip-target.md).
"""

from dataclasses import dataclass
from typing import Final

from eni_crds.nodeippool import SERVING_ROLES, Family
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX, Eni
from eni_operator.domain.instance import InstanceLimits
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning import supply
from eni_operator.planning.grain import Grain
from eni_operator.planning.holdings import Holding, Holdings, is_removable, role, size

BURST: Final = ADDRESSES_PER_PREFIX
"""Pods that may come at once without waiting for a new ENI, under our default: what one /28 holds."""
HOST_NETWORK_PODS: Final = 2
"""Pods of the host's network that AWS adds to what an instance can address: aws-node and kube-proxy
(https://github.com/awslabs/amazon-eks-ami, eni-max-pods.txt)."""


@dataclass(frozen=True, slots=True)
class Target:
    """How much to hold, all in pod addresses unless said otherwise."""

    pending: int
    """Addresses pods wait for at this moment; part of every other figure."""
    wanted: int
    """What the pool grows or shrinks to: demand, cooling and spare, in whole slots or ENIs, under every limit."""
    wanted_in_prefixes: int
    """The same where prefixes can be had: in mode ``auto`` none is given back below this, or it would come again when
    its slot is free."""
    unlimited: int
    """What ``wanted`` would be if ENIs and ``maximumIPs`` set no limit."""
    reachable: int
    """The most this instance can come to hold."""
    ceiling: int | None
    """The most supply under ``maximumIPs``, as far as whole slots reach up to it."""
    maximum_ips: int | None
    """The policy's ceiling on everything held, in a handshake or not."""
    burst_slots: int
    """Free slots to keep attached beyond ``wanted``."""
    bare_least: int = BURST
    """Free addresses a subnet must have to give a bare ENI: the last ones are for pods."""


@dataclass(frozen=True, slots=True)
class _Law:
    """One of the five ways to say how much is spare."""

    spare: int
    minimum: int
    unit: int
    """Addresses are held in multiples of this."""
    keeps_burst: bool = False


def eni_limit(policy: Policy, limits: InstanceLimits) -> int:
    """Returns the most ENIs on the instance, the primary and those of others included."""
    return min(limits.enis, policy.maximum_enis or limits.enis)


def eni_room(world: World, policy: Policy, holdings: Holdings) -> int:
    """Returns how many ENIs can still be attached."""
    return max(0, eni_limit(policy, world.instance.limits) - len(holdings.devices_taken))


def target(world: World, policy: Policy, grain: Grain, holdings: Holdings) -> Target:
    """Returns how much to hold. Law: more demand never gives less; nothing of an earlier plan enters."""
    if Family.IPV4 not in policy.families:
        return _ONE_ENI
    needed = _needed(world, policy, grain, holdings)
    useful = grain.whole(maximum_pods(world, policy) + world.usage.cooling)
    useful = useful if needed.ceiling is None else min(useful, needed.ceiling)
    keeps_burst = _law(policy, grain, world.instance.limits).keeps_burst
    return Target(
        pending=world.usage.pending,
        wanted=needed.wanted,
        wanted_in_prefixes=max(needed.wanted, _needed(world, policy, grain.in_prefixes(), holdings).wanted),
        unlimited=needed.unlimited,
        reachable=needed.reachable,
        ceiling=needed.ceiling,
        maximum_ips=policy.maximum_ips,
        burst_slots=_burst_slots(grain, world.instance.limits, useful - needed.wanted) if keeps_burst else 0,
    )


@dataclass(frozen=True, slots=True)
class _Needed:
    """What the law comes to for one grain; see ``Target``."""

    unlimited: int
    reachable: int
    ceiling: int | None

    @property
    def wanted(self) -> int:
        """Returns what is to be held under every limit."""
        return min(self.unlimited, self.reachable, self.unlimited if self.ceiling is None else self.ceiling)


def _needed(world: World, policy: Policy, grain: Grain, holdings: Holdings) -> _Needed:
    usage = world.usage
    law = _law(policy, grain, world.instance.limits)
    asked = max(usage.assigned + usage.pending + usage.cooling + law.spare, law.minimum)
    needed = min(asked, maximum_pods(world, policy) + usage.cooling)
    return _Needed(
        unlimited=-(-needed // law.unit) * law.unit,
        reachable=_reachable(world, policy, grain, holdings),
        ceiling=None if policy.maximum_ips is None else _ceiling(policy.maximum_ips, grain, holdings),
    )


_ONE_ENI: Final = Target(
    pending=0,
    wanted=0,
    wanted_in_prefixes=0,
    unlimited=0,
    reachable=0,
    ceiling=None,
    maximum_ips=None,
    burst_slots=1,
    bare_least=1,
)
"""IPv6 alone: a /80 outlasts every pod, so one ENI that new addresses may go onto is all there is to hold."""


def maximum_pods(world: World, policy: Policy) -> int:
    """Returns the most pod addresses worth holding beside those that cool."""
    return min(world.instance.maximum_pods, policy.maximum_pods or world.instance.maximum_pods)


def addressable_pods(world: World, policy: Policy, grain: Grain) -> int:
    """Returns how many pods the instance can address under the policy, those of the host's network included.

    VPC CNI's formula, ``ENIs * (IPv4 - 1) + 2``, of the ENIs that pods may use; not its ceiling of 110 for types with
    fewer than 30 vCPUs, which the kubelet's own limit says better. A /80 sets no limit.
    """
    if Family.IPV4 not in policy.families:
        return world.instance.maximum_pods
    limits = world.instance.limits
    useless = sum(1 for eni in world.enis if eni.attachment is not None and _is_in_the_way(eni, world))
    pods = max(0, eni_limit(policy, limits) - useless) * limits.slots_per_eni * grain.size
    ceilings = (ceiling for ceiling in (policy.maximum_pods, policy.maximum_ips) if ceiling is not None)
    return min((pods, *ceilings)) + HOST_NETWORK_PODS


def _is_in_the_way(eni: Eni, world: World) -> bool:
    """Tells whether an ENI takes a place on the instance and will never serve new pods."""
    if role(eni, world) not in SERVING_ROLES:
        return True
    return eni.id in world.excluded and not is_removable(eni, world)


def spare_slots(holdings: Holdings, grain: Grain, target: Target) -> int:
    """Returns the slots left on usable ENIs once ``wanted`` is held; negative when a new ENI is needed for it."""
    free = sum(holding.slots_unkept for holding in holdings.usable)
    return free - grain.slots(target.wanted - supply.most(holdings, grain))


def _law(policy: Policy, grain: Grain, limits: InstanceLimits) -> _Law:
    """Address targets first, then the target of the mode; an explicit zero spares nothing; else our default.

    A warm ENI or prefix target of zero still keeps one address free, as VPC CNI grows when none is.
    """
    if policy.warm_ips or policy.minimum_ips:
        return _Law(policy.warm_ips or 0, policy.minimum_ips or 0, grain.size)
    if grain.size > 1 and policy.warm_prefixes is not None:
        return _Law(max(1, grain.size * policy.warm_prefixes), 0, grain.size)
    if grain.size == 1 and policy.warm_enis is not None:
        return _Law(max(1, limits.slots_per_eni * policy.warm_enis), 0, limits.slots_per_eni)
    if policy.warm_ips == 0 or policy.minimum_ips == 0:
        return _Law(0, 0, grain.size)
    return _Law(policy.headroom, 0, grain.size, keeps_burst=True)


def _burst_slots(grain: Grain, limits: InstanceLimits, useful: int) -> int:
    """One ENI's worth at most, so that at most one bare ENI is kept; nothing beyond what pods could ever use."""
    return max(0, min(grain.slots(BURST), limits.slots_per_eni, useful // grain.size))


def _ceiling(maximum_ips: int, grain: Grain, holdings: Holdings) -> int:
    """Returns the most that whole slots give under the ceiling, beside what came in another size or pods must leave."""
    odd = sum(
        size(cidr)
        for holding in holdings.serving
        for cidr in holding.kept
        if size(cidr) != grain.size and not supply.is_unwanted(holding, cidr, grain)
    )
    stuck = sum(size(cidr) for holding in holdings.serving for cidr in _stuck(holding, grain))
    return odd + _on_stuck(holdings, grain) + max(0, maximum_ips - odd - stuck) // grain.size * grain.size


def _reachable(world: World, policy: Policy, grain: Grain, holdings: Holdings) -> int:
    held = supply.open_to_pods(holdings, grain) + _on_stuck(holdings, grain)
    slots = sum(holding.slots - _slots_bound(holding, grain) for holding in holdings.serving if not holding.excluded)
    slots += eni_room(world, policy, holdings) * world.instance.limits.slots_per_eni
    return held + max(0, slots) * grain.size


def _slots_bound(holding: Holding, grain: Grain) -> int:
    """Counts slots that nothing else can be put into now."""
    return sum(1 for cidr in holding.kept if not grain.is_wrong(cidr)) + len(_stuck(holding, grain))


def _stuck(holding: Holding, grain: Grain) -> tuple[str, ...]:
    """Returns the CIDRs that pods must leave and may have: kept ones, and those whose handshake is not over."""
    idle = frozenset(holding.idle)
    kept = (cidr for cidr in holding.kept if cidr not in idle)
    given = (handover.cidr for handover in holding.handshakes if handover.cidr not in holding.let_go)
    return tuple(cidr for cidr in (*kept, *given) if supply.is_unwanted(holding, cidr, grain))


def _on_stuck(holdings: Holdings, grain: Grain) -> int:
    """Counts the addresses pods have of what they must leave; handshakes that can be taken back are free slots."""
    revocable = sum(
        holding.leaving.get(h.cidr, size(h.cidr) if h.cidr in holding.unseen else 0)
        for holding in holdings.serving
        for h in holding.handshakes
        if not supply.is_unwanted(holding, h.cidr, grain)
    )
    return supply.most(holdings, grain) - supply.open_to_pods(holdings, grain) - revocable
