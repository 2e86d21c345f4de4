"""How many addresses a pool should hold: the scaling law, a function of demand, policy and what the instance can take.

Decides ``wanted`` and how many free slots should stay attached. Does not decide on which ENI (``placement``) or what
leaves (``release``). The law is derived in ``docs/ipam-math.md``; the targets mean what they mean to VPC CNI
(https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/eni-and-ip-target.md).
"""

from dataclasses import dataclass, replace
from typing import Final

from eni_crds.nodeippool import Mode
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX
from eni_operator.domain.instance import InstanceLimits
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning.holdings import Holding, Holdings, size

BURST: Final = ADDRESSES_PER_PREFIX
"""Pods that may come at once without waiting for a new ENI, under our default: what one /28 holds."""


@dataclass(frozen=True, slots=True)
class Grain:
    """What one slot of an ENI is filled with."""

    size: int
    """Pod addresses a slot gives: one or sixteen."""
    exclusive: bool
    """True: CIDRs of the other size are not wanted and leave when they are idle."""

    def is_wrong(self, cidr: str) -> bool:
        """Tells whether the mode does not want this CIDR."""
        return self.exclusive and size(cidr) != self.size

    def slots(self, addresses: int) -> int:
        """Returns the slots that give this many addresses; negative when there are too many."""
        return -(-addresses // self.size)

    def whole(self, addresses: int) -> int:
        """Returns the addresses in the slots that give at least this many."""
        return self.slots(addresses) * self.size


@dataclass(frozen=True, slots=True)
class Target:
    """How much to hold, all in pod addresses unless said otherwise."""

    pending: int
    """Addresses pods wait for at this moment; part of every other figure."""
    wanted: int
    """What the pool grows or shrinks to: demand, cooling and spare, in whole slots or ENIs, under every limit."""
    unlimited: int
    """What ``wanted`` would be if ENIs and ``maximumIPs`` set no limit."""
    reachable: int
    """The most this instance can come to hold."""
    maximum_ips: int | None
    """The policy's ceiling, as far as whole slots reach up to it."""
    burst_slots: int
    """Free slots to keep attached beyond ``wanted``."""


@dataclass(frozen=True, slots=True)
class _Law:
    """One of the five ways to say how much is spare."""

    spare: int
    minimum: int
    unit: int
    """Addresses are held in multiples of this."""
    keeps_burst: bool = False


def grain(policy: Policy, limits: InstanceLimits, *, fragmented: bool) -> Grain:
    """Returns what slots are filled with; ``auto`` takes prefixes while the subnet has any and minds neither kind."""
    if not limits.prefixes or policy.mode is Mode.SECONDARY:
        return Grain(1, exclusive=True)
    if policy.mode is Mode.PREFIX:
        return Grain(ADDRESSES_PER_PREFIX, exclusive=True)
    return Grain(1 if fragmented else ADDRESSES_PER_PREFIX, exclusive=False)


def eni_limit(policy: Policy, limits: InstanceLimits) -> int:
    """Returns the most ENIs on the instance, the primary and those of others included."""
    return min(limits.enis, policy.maximum_enis or limits.enis)


def eni_room(world: World, policy: Policy, holdings: Holdings) -> int:
    """Returns how many ENIs can still be attached."""
    return max(0, eni_limit(policy, world.instance.limits) - len(holdings.devices_taken))


def target(world: World, policy: Policy, grain: Grain, holdings: Holdings) -> Target:
    """Returns how much to hold. Law: more demand never gives less; nothing of an earlier plan enters."""
    usage = world.usage
    law = _law(policy, grain, world.instance.limits)
    pods = maximum_pods(world, policy) + usage.cooling
    asked = max(usage.assigned + usage.pending + usage.cooling + law.spare, law.minimum)
    needed = min(asked, pods)
    unlimited = -(-needed // law.unit) * law.unit
    ceiling = None if policy.maximum_ips is None else _ceiling(policy.maximum_ips, grain, holdings)
    reachable = _reachable(world, policy, grain, holdings)
    wanted = min(unlimited, reachable, unlimited if ceiling is None else ceiling)
    useful = grain.whole(pods) if ceiling is None else min(grain.whole(pods), ceiling)
    return Target(
        pending=usage.pending,
        wanted=wanted,
        unlimited=unlimited,
        reachable=reachable,
        maximum_ips=ceiling,
        burst_slots=_burst_slots(grain, world.instance.limits, useful - wanted) if law.keeps_burst else 0,
    )


def maximum_pods(world: World, policy: Policy) -> int:
    """Returns the most pod addresses worth holding beside those that cool."""
    return min(world.instance.maximum_pods, policy.maximum_pods or world.instance.maximum_pods)


def counted(holding: Holding, grain: Grain) -> int:
    """Counts the addresses of an ENI that are supply: all kept ones but idle ones of the wrong kind."""
    idle = frozenset(holding.idle)
    return sum(size(cidr) for cidr in holding.kept if not (grain.is_wrong(cidr) and cidr in idle))


def supply(holdings: Holdings, grain: Grain) -> int:
    """Counts the addresses that pods may have and go on having."""
    return sum(counted(holding, grain) for holding in holdings.serving)


def spare_slots(holdings: Holdings, grain: Grain, target: Target) -> int:
    """Returns the slots left on staying ENIs once ``wanted`` is held; negative when a new ENI is needed for it."""
    free = sum(holding.slots_unkept for holding in holdings.staying)
    return free - grain.slots(target.wanted - supply(holdings, grain))


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
    """Returns the most that whole slots give under the ceiling, beside the supply that came in the other size."""
    others = sum(counted(replace(holding, kept=_of_other_size(holding, grain)), grain) for holding in holdings.serving)
    return others + max(0, maximum_ips - others) // grain.size * grain.size


def _of_other_size(holding: Holding, grain: Grain) -> tuple[str, ...]:
    return tuple(cidr for cidr in holding.kept if size(cidr) != grain.size)


def _reachable(world: World, policy: Policy, grain: Grain, holdings: Holdings) -> int:
    held = sum(counted(holding, grain) for holding in holdings.serving)
    occupied = sum(_slots_bound(holding, grain) for holding in holdings.serving)
    slots = sum(holding.slots for holding in holdings.serving)
    slots += eni_room(world, policy, holdings) * world.instance.limits.slots_per_eni
    return held + max(0, slots - occupied) * grain.size


def _slots_bound(holding: Holding, grain: Grain) -> int:
    """Counts slots that nothing else can be put into: a pod may have slipped into what was about to be handed over."""
    wrong_idle = sum(1 for cidr in holding.idle if grain.is_wrong(cidr))
    slipped = sum(1 for h in holding.handshakes if grain.is_wrong(h.cidr) and h.cidr not in holding.let_go)
    return len(holding.kept) - wrong_idle + slipped
