"""Pods bound to this node that have no address yet: demand, known before the runtime asks.

Decides which pods will want an address. Does not decide what the operator makes of it; ``usage`` reports the number.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import Sandbox
from eni_cni_shim.spec import CARDS_ANNOTATION, EVERY_CARD
from eni_node_agent.cluster.api import Json, ListWatch, Selection
from eni_node_agent.cluster.reflector import Reflector

PODS_PATH: Final = "/api/v1/pods"
_NOTED: Final = "vpc.amazonaws.com/pod-ips"
_MIRROR: Final = "kubernetes.io/config.mirror"
"""On a static pod's mirror: the uid by which kubelet and runtime know the pod itself."""


class Pod(NamedTuple):
    """What matters of a pod that needs an address."""

    namespace: str
    name: str
    uid: str
    address: str
    """As its status has it; empty before it runs."""
    noted_addresses: str = ""
    """What its annotation ``vpc.amazonaws.com/pod-ips`` says."""
    every_card: bool = False
    """It asks for a link on every network card."""


def follow_pods(api: ListWatch, node: str, changed: Callable[[Mapping[str, Pod]], None]) -> Reflector[Pod]:
    """Returns a reflector of the pods bound to a node that need an address from it."""
    selection = Selection(PODS_PATH, f"spec.nodeName={node}", may_be_stale=True)
    return Reflector(api, selection, keep=parse_pod, changed=changed)


async def list_documents(api: ListWatch, node: str) -> list[Json]:
    """Returns all pods bound to a node as the API server has them; raises ApiError and UnreachableError."""
    return list((await api.list_objects(Selection(PODS_PATH, f"spec.nodeName={node}"))).items)


def parse_pod(document: Json) -> Pod | None:
    """Returns a pod that needs an address of the pool: not on the host's network, not finished, not on its way out.

    A pod that is being deleted before it had a sandbox never gets one; one that has a sandbox is counted there.
    """
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    if spec.get("hostNetwork") or metadata.get("deletionTimestamp"):
        return None
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    annotations = metadata.get("annotations") or {}
    uid = annotations.get(_MIRROR) or metadata["uid"]
    address, noted = status.get("podIP") or "", annotations.get(_NOTED) or ""
    every_card = annotations.get(CARDS_ANNOTATION) == EVERY_CARD
    return Pod(metadata["namespace"], metadata["name"], uid, address, noted, every_card)


def uid_of(pods: Mapping[str, Pod], sandbox: Sandbox) -> str:
    """Returns the uid under which the API server knows a sandbox's pod: a static pod's mirror has one of its own.

    Args:
        pods: bound to this node, by the API server's uid.
        sandbox: as the runtime names its pod.
    """
    for uid, pod in pods.items():
        is_same = not sandbox.pod_uid or pod.uid == sandbox.pod_uid
        if is_same and (pod.namespace, pod.name) == (sandbox.pod_namespace, sandbox.pod_name):
            return uid
    return sandbox.pod_uid


def pending(
    pods: Iterable[Pod], assigned: Iterable[Sandbox], waiting: Iterable[Sandbox], addresses: Collection[str]
) -> int:
    """Returns how many pods have no address yet.

    Args:
        pods: bound to this node and in need of an address.
        assigned: sandboxes that have an address.
        waiting: sandboxes that wait for one, also those whose pod the watch has not brought yet.
        addresses: held on this node, also by sandboxes of which nothing else is known.
    """
    served_uids = {sandbox.pod_uid for sandbox in assigned if sandbox.pod_uid}
    served_names = {(sandbox.pod_namespace, sandbox.pod_name) for sandbox in assigned if not sandbox.pod_uid}
    lacking = {
        (pod.namespace, pod.name)
        for pod in pods
        if pod.uid not in served_uids and (pod.namespace, pod.name) not in served_names and pod.address not in addresses
    }
    lacking.update(_name_of(sandbox) for sandbox in waiting)
    return len(lacking)


def _name_of(sandbox: Sandbox) -> tuple[str, str]:
    """Returns the pod's name; a sandbox outside Kubernetes is its own."""
    if sandbox.pod_name:
        return sandbox.pod_namespace, sandbox.pod_name
    return "", sandbox.key.container_id
