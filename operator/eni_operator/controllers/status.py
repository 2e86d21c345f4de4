"""What is written to ``status``: supply from the belief and the plan, conditions from the verdicts. Pure.

Decides shape, not content. Counterparts: ``eni_crds.nodeippool`` has the types, the agent programs the host from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network

from eni_crds.nodeippool import (
    SERVING_ROLES,
    Condition,
    ConditionStatus,
    EniState,
    PolicySpec,
    PolicyValue,
    Releasing,
    Snat,
    Supply,
    SupplyEni,
    SupplyInstance,
    SupplyLimits,
    SupplySubnet,
    Totals,
)
from eni_operator.domain.eni import ADDRESSES_PER_PREFIX, Attachment, AttachmentState, Eni
from eni_operator.domain.instance import InstanceLimits, Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import Handover, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import subnet_choice
from eni_operator.planning.holdings import role
from eni_operator.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Facts:
    """What the supply is made from beside the plan."""

    world: World
    policy: Policy
    vpc_cidrs: tuple[str, ...]
    vpc_ipv6_cidrs: tuple[str, ...] = ()
    eniconfig: str | None = None
    snat: Snat | None = None


def supply(facts: Facts, plan: Plan) -> Supply:
    """Returns the operator's part of the status. An ENI that is not attached yet is not the agent's to know."""
    world, instance = facts.world, facts.world.instance
    attached = [_eni(eni, eni.attachment, world, plan) for eni in world.enis if eni.attachment is not None]
    return Supply(
        instance=SupplyInstance(id=instance.id, type=instance.type, zone=instance.zone, vpc_id=instance.vpc_id),
        limits=_limits(instance.limits, plan.maximum_pods),
        vpc_cidrs=list(facts.vpc_cidrs),
        policy=_policy(facts.policy),
        eni_config=facts.eniconfig,
        wanted=plan.wanted,
        totals=_totals(attached),
        generation=plan.generation,
        enis=attached,
        cards=list(plan.cards) if len(plan.cards) > 1 else [],
        families=list(facts.policy.families),
        vpc_ipv6_cidrs=list(facts.vpc_ipv6_cidrs),
        subnets=[_subnet(subnet) for subnet in subnet_choice.ordered(world)],
        snat=facts.snat,
    )


def _limits(limits: InstanceLimits, maximum_pods: int) -> SupplyLimits:
    return SupplyLimits(
        enis=limits.enis,
        addresses_per_eni=limits.addresses_per_eni,
        maximum_pods=maximum_pods,
        cards=list(limits.cards or (limits.enis,)),
    )


def _subnet(subnet: Subnet) -> SupplySubnet:
    return SupplySubnet(
        id=subnet.id,
        zone=subnet.zone,
        cidr=subnet.cidr,
        free=subnet.free_addresses,
        exhausted_until=_instant(subnet.exhausted_until),
        fragmented_until=_instant(subnet.fragmented_until),
    )


def _instant(at: float) -> datetime | None:
    """Returns when a back-off ends or ended: one that is over is not taken away, that would be a write for nothing."""
    return datetime.fromtimestamp(int(at), UTC) if at else None


def _eni(eni: Eni, attachment: Attachment, world: World, plan: Plan) -> SupplyEni:
    what = role(eni, world)
    serves = what in SERVING_ROLES
    subnet = world.subnets[eni.subnet_id]
    return SupplyEni(
        id=eni.id,
        mac=eni.mac,
        device_index=attachment.device_index,
        network_card=attachment.network_card,
        role=what,
        subnet_id=eni.subnet_id,
        subnet_cidr=subnet.cidr,
        gateway=str(IPv4Network(subnet.cidr)[1]),
        primary_ip=eni.primary_ip,
        security_groups=list(eni.security_groups),
        state=_state(attachment, draining=eni.id in plan.draining),
        addresses=list(eni.addresses) if serves else [],
        prefixes=list(eni.prefixes) if serves else [],
        releasing=_releasing(plan.releasing.get(eni.id, ())),
        subnet_ipv6_cidr=subnet.ipv6_cidr or None,
        ipv6_prefixes=list(eni.ipv6_prefixes) if serves else [],
        excluded=world.excluded.get(eni.id),
    )


def _state(attachment: Attachment, *, draining: bool) -> EniState:
    if attachment.state is AttachmentState.ATTACHING:
        return EniState.ATTACHING
    if attachment.state is AttachmentState.ATTACHED:
        return EniState.RELEASING if draining else EniState.ATTACHED
    return EniState.DETACHING


def _releasing(handovers: Iterable[Handover]) -> list[Releasing]:
    return [Releasing(cidr=handover.cidr, token=handover.token) for handover in handovers]


def _totals(enis: Sequence[SupplyEni]) -> Totals:
    held = [eni for eni in enis if eni.role in SERVING_ROLES and eni.state is not EniState.DETACHING]
    prefixes = sum(len(eni.prefixes) for eni in held)
    addresses = sum(len(eni.addresses) for eni in held) + ADDRESSES_PER_PREFIX * prefixes
    return Totals(enis=len(held), prefixes=prefixes, addresses=addresses)


def _policy(policy: Policy) -> dict[str, PolicyValue]:
    """Names settings as ``spec.policy`` does on the wire: ``warmIPs``."""
    values, wire_names = {}, PolicySpec.wire_names()
    for name, origin in sorted(policy.origins.items()):
        value = getattr(policy, name)
        if value is not None:
            values[wire_names[name]] = PolicyValue(value=_plain(value), origin=str(origin))
    return values


def _plain(value: float | bool | str) -> int | str:  # noqa: FBT001 - a value of any kind
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str) else int(value)


def conditions(verdicts: Iterable[Verdict], before: Iterable[Condition], now: datetime) -> list[Condition]:
    """Returns the conditions; the transition time is kept where the status is."""
    old = {condition.type: condition for condition in before}
    return [_condition(verdict, old.get(verdict.type), now) for verdict in verdicts]


def _condition(verdict: Verdict, old: Condition | None, now: datetime) -> Condition:
    status = ConditionStatus.TRUE if verdict.status else ConditionStatus.FALSE
    kept = old.last_transition_time if old is not None and old.status is status else now
    return Condition(
        type=verdict.type, status=status, reason=verdict.reason, message=verdict.message, last_transition_time=kept
    )
