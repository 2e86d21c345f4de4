"""The planner's world, made from the pool object and the belief about EC2. Pure; asks nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eni_crds.names import TAG_CLUSTER, TAG_INSTANCE
from eni_crds.nodeippool import EniState, Releasing, Supply
from eni_crds.nodeippool import Usage as ReportedUsage
from eni_operator.controllers.kube import KubeObject
from eni_operator.domain.eni import EniId, InstanceId
from eni_operator.domain.pool import Handover, Usage

LEAVING_TAINTS: Final = frozenset(
    (
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.cloudprovider.kubernetes.io/shutdown",
    )
)
"""Who sets one of these deletes the instance next."""


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


def usage(reported: ReportedUsage | None) -> Usage:
    """Returns what the agent says; nothing is known before it has spoken."""
    if reported is None:
        return Usage()
    return Usage(
        assigned=reported.assigned,
        cooling=reported.cooling,
        free=reported.free,
        pending=reported.pending,
        idle=tuple(reported.idle),
        released=frozenset(_handovers(reported.released)),
        reported=True,
    )


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


def tags(instance_id: InstanceId, cluster_name: str, *extra: Mapping[str, str]) -> dict[str, str]:
    """Returns a new ENI's tags: the extra ones, later over earlier, then ours. They never vary with time."""
    merged: dict[str, str] = {}
    for more in extra:
        merged |= more
    merged[TAG_INSTANCE] = instance_id
    if cluster_name:
        merged[TAG_CLUSTER] = cluster_name
    return merged
