"""What is written to ``status``: supply from the belief and the plan, conditions from the verdicts. Pure.

Decides shape, not content. Counterparts: ``eni_crds.nodeippool`` has the types, the agent programs the host from them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network

from eni_crds.nodeippool import (
    Condition,
    ConditionStatus,
    EniRole,
    EniState,
    PolicySpec,
    PolicyValue,
    Releasing,
    Supply,
    SupplyEni,
    SupplyInstance,
    SupplyLimits,
    Totals,
)
from eni_operator.domain.eni import Attachment, AttachmentState, Eni, SubnetId
from eni_operator.domain.instance import Instance
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import Handover
from eni_operator.domain.reasons import Verdict
from eni_operator.planning.holdings import is_managed
from eni_operator.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Facts:
    """What the supply is made from beside the plan."""

    instance: Instance
    enis: tuple[Eni, ...]
    subnet_cidrs: Mapping[SubnetId, str]
    vpc_cidrs: tuple[str, ...]
    policy: Policy
    eniconfig: str | None
    generation: int


def supply(facts: Facts, plan: Plan) -> Supply:
    """Returns the operator's part of the status. An ENI that is not attached yet is not the agent's to know."""
    instance, limits = facts.instance, facts.instance.limits
    attached = [_eni(eni, eni.attachment, facts, plan) for eni in facts.enis if eni.attachment is not None]
    return Supply(
        instance=SupplyInstance(id=instance.id, type=instance.type, zone=instance.zone, vpc_id=instance.vpc_id),
        limits=SupplyLimits(
            enis=limits.enis, addresses_per_eni=limits.addresses_per_eni, maximum_pods=instance.maximum_pods
        ),
        vpc_cidrs=list(facts.vpc_cidrs),
        policy=_policy(facts.policy),
        eni_config=facts.eniconfig,
        wanted=plan.wanted,
        totals=_totals(attached),
        generation=facts.generation,
        enis=attached,
    )


def _eni(eni: Eni, attachment: Attachment, facts: Facts, plan: Plan) -> SupplyEni:
    managed = is_managed(eni, facts.instance)
    cidr = facts.subnet_cidrs[eni.subnet_id]
    return SupplyEni(
        id=eni.id,
        mac=eni.mac,
        device_index=attachment.device_index,
        network_card=attachment.network_card,
        role=EniRole.PRIMARY if eni.is_primary else EniRole.SECONDARY if managed else EniRole.UNMANAGED,
        subnet_id=eni.subnet_id,
        subnet_cidr=cidr,
        gateway=str(IPv4Network(cidr)[1]),
        primary_ip=eni.primary_ip,
        security_groups=list(eni.security_groups),
        state=_state(attachment, draining=eni.id in plan.draining),
        addresses=list(eni.addresses) if managed else [],
        prefixes=list(eni.prefixes) if managed else [],
        releasing=_releasing(plan.releasing.get(eni.id, ())),
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
    held = [e for e in enis if e.role is not EniRole.UNMANAGED and e.state is not EniState.DETACHING]
    prefixes = sum(len(eni.prefixes) for eni in held)
    addresses = sum(len(eni.addresses) for eni in held) + 16 * prefixes
    return Totals(enis=len(held), prefixes=prefixes, addresses=addresses)


def _policy(policy: Policy) -> dict[str, PolicyValue]:
    """Names settings as ``spec.policy`` does on the wire: ``warmIPs``."""
    values = {}
    for name, origin in sorted(policy.origins.items()):
        value = getattr(policy, name)
        if value is not None:
            wire = PolicySpec.model_fields[name].alias or name
            values[wire] = PolicyValue(value=str(value) if isinstance(value, str) else int(value), origin=str(origin))
    return values


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
