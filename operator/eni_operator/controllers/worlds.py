"""The planner's world, made from the pool object and the belief about EC2. Pure; asks nothing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from eni_crds.names import TAG_CLUSTER, TAG_FORBIDDEN, TAG_INSTANCE, TAG_RESERVED
from eni_crds.nodeippool import EniState, Releasing, Supply
from eni_crds.nodeippool import Usage as ReportedUsage
from eni_operator.controllers.kube import KubeObject
from eni_operator.domain.eni import Eni, EniId, InstanceId, SubnetId
from eni_operator.domain.instance import Instance, Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import CardUsage, Handover, Usage, World
from eni_operator.planning import sourcing
from eni_operator.planning.sourcing import Choice, Rules, Source
from eni_operator.settings import Settings

LEAVING_TAINTS: Final = frozenset(
    (
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.cloudprovider.kubernetes.io/shutdown",
    )
)
"""Who sets one of these deletes the instance next."""
UNSCHEDULABLE_TAINT: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of the node before its ENIs are counted."""

    choice: Choice | None
    source: Source
    instance: Instance


@dataclass(frozen=True, slots=True)
class Believed:
    """What is believed of EC2."""

    enis: tuple[Eni, ...]
    subnets: Mapping[SubnetId, Subnet]


@dataclass(frozen=True, slots=True)
class Handshakes:
    """The release handshakes as last written to ``status.supply``; only what is written can be answered."""

    releasing: Mapping[EniId, tuple[Handover, ...]] = field(default_factory=dict)
    draining: frozenset[EniId] = frozenset()


def handshakes(supply: Supply | None) -> Handshakes:
    """Returns the handshakes a supply says are under way."""
    enis = supply.enis if supply is not None else []
    on_their_way = (EniState.RELEASING, EniState.DETACHING)
    return Handshakes(
        releasing={EniId(eni.id): _handovers(eni.releasing) for eni in enis if eni.releasing},
        draining=frozenset(EniId(eni.id) for eni in enis if eni.state in on_their_way),
    )


def cidrs(supply: Supply | None) -> frozenset[tuple[EniId, str]]:
    """Returns what a supply says is on which ENI, as EC2 lists it."""
    enis = supply.enis if supply is not None else []
    return frozenset(
        (EniId(eni.id), cidr) for eni in enis for cidr in (*eni.addresses, *eni.prefixes, *eni.ipv6_prefixes)
    )


def usage(reported: ReportedUsage | None, *, silent_after: float, now: float) -> Usage:
    """Returns what the agent says; nothing is known before it has spoken.

    ``silent_after`` is how many seconds its last word may be old; ``now`` is in Unix seconds.
    """
    if reported is None:
        return Usage()
    spoke_at = spoken_at(reported)
    return Usage(
        assigned=reported.assigned,
        cooling=reported.cooling,
        free=reported.free,
        pending=reported.pending,
        idle=tuple(reported.idle),
        released=frozenset(_handovers(reported.released)),
        reported=True,
        silent_since=spoke_at if spoke_at is not None and now - spoke_at > silent_after else None,
        leaving={Handover(item.cidr, item.token): item.held for item in reported.leaving},
        cards={card.network_card: CardUsage(card.assigned, card.cooling, card.pending) for card in reported.cards},
    )


def spoken_at(reported: ReportedUsage | None) -> float | None:
    """Returns when the agent last spoke, in Unix seconds; None where it never did, or does not say."""
    at = reported.reported_at if reported is not None else None
    return at.timestamp() if at is not None else None


def _handovers(items: list[Releasing]) -> tuple[Handover, ...]:
    return tuple(Handover(item.cidr, item.token) for item in items)


def maximum_pods(node: KubeObject) -> int | None:
    """Returns the kubelet's limit; None before it has said."""
    text = node.get("status", {}).get("capacity", {}).get("pods")
    return int(text) if text and str(text).isdigit() and int(text) > 0 else None


def is_leaving(node: KubeObject) -> bool:
    """Tells whether the node is being deleted, or marked by who is about to delete its instance."""
    taints = node.get("spec", {}).get("taints") or []
    return "deletionTimestamp" in node["metadata"] or any(taint.get("key") in LEAVING_TAINTS for taint in taints)


def is_unschedulable(node: KubeObject) -> bool:
    """Tells whether the node is cordoned."""
    taints = node.get("spec", {}).get("taints") or []
    return any(t.get("key") == UNSCHEDULABLE_TAINT and t.get("effect") == "NoSchedule" for t in taints)


def spread(instance_id: InstanceId) -> float:
    """Returns a number from 0 to 1 that is always the same for an instance."""
    return int.from_bytes(hashlib.sha256(instance_id.encode()).digest()[:4]) / 2**32


def tags(instance_id: InstanceId, cluster_name: str, *extra: Mapping[str, str]) -> dict[str, str]:
    """Returns a new ENI's tags: the extra ones, later over earlier, then ours. They never vary with time.

    Keys that are Kubernetes' or EKS's own are left out: the CRD refuses them, VPC CNI's definition of it did not.
    """
    merged: dict[str, str] = {}
    for more in extra:
        merged |= {key: value for key, value in more.items() if TAG_RESERVED not in key and key != TAG_FORBIDDEN}
    merged[TAG_INSTANCE] = instance_id
    if cluster_name:
        merged[TAG_CLUSTER] = cluster_name
    return merged


def source(
    rules: Rules,
    choice: Choice | None,
    instance: Instance,
    found: tuple[Subnet, ...],
    believed: Believed,
    policy: Policy,
) -> Source:
    """Returns where new ENIs come from; with ``drainOnChange`` ENIs of a former ENIConfig are excluded too."""
    answer = sourcing.source(rules, choice, instance, found, believed.enis, believed.subnets)
    if choice is None or not policy.drain_on_change or not sourcing.uses_config(rules, choice):
        return answer
    ours = frozenset(eni.id for eni in believed.enis if eni.tags.get(TAG_INSTANCE) == instance.id)
    former = sourcing.replaced(choice.name, answer, believed.enis, ours=ours)
    return replace(answer, excluded={**former, **answer.excluded})


def world(
    node: KubeObject, settings: Settings, asked: Asked, usage: Usage, promised: Handshakes, believed: Believed
) -> World:
    """Returns the world; what the loop remembers between plans is ``controllers.deciding``'s to add."""
    instance, source = asked.instance, asked.source
    config = asked.choice.config if asked.choice is not None else None
    return World(
        instance=instance,
        subnets=believed.subnets,
        candidates=source.candidates,
        enis=believed.enis,
        usage=usage,
        releasing=promised.releasing,
        draining=promised.draining,
        security_groups=source.security_groups,
        groups_follow=source.groups_follow,
        tags=tags(instance.id, settings.cluster_name, settings.tags, config.tags if config is not None else {}),
        leaving=is_leaving(node),
        unschedulable=is_unschedulable(node) and not settings.manage_unschedulable,
        subnet_policy=source.subnet_policy,
        obstacle=source.obstacle,
        excluded=source.excluded,
        cards=tuple(range(max(1, len(instance.limits.cards)))) if settings.multi_card else (0,),
        manage_untagged=settings.manage_untagged,
        spread=spread(instance.id),
    )
