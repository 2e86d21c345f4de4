"""The last seen Kubernetes objects of one node, as the watches and the periodic look hand them over.

Decides which changes are worth a run of the loop: what we write ourselves and the kubelet's heartbeats are not.
"""

from dataclasses import dataclass, field
from typing import Final

from eni_operator.controllers.kube import ENICONFIGS, NODES, KubeApi, KubeObject

DELETED: Final = "DELETED"
_NODE_STATUS: Final = ("capacity", "allocatable", "nodeInfo")


@dataclass(slots=True)
class Observed:
    """Written by feeds, read by the loop, all on the loop's thread."""

    node_name: str
    node: KubeObject | None = None
    pool: KubeObject | None = None
    eniconfigs: dict[str, KubeObject] = field(default_factory=dict)
    kept: bool = False
    """True: whoever feeds it also looks for what the watches missed (``controllers.fleet``)."""

    def take(self, plural: str, event: str | None, item: KubeObject) -> bool:
        """Takes a watch event in; returns whether the loop should run."""
        gone = event == DELETED
        if plural == ENICONFIGS:
            return self._take_eniconfig(item, gone=gone)
        if item["metadata"]["name"] != self.node_name:
            return False
        if plural == NODES:
            return self._take_node(None if gone else item)
        if gone and self._is_former(item):
            return False
        return self._take_pool(None if gone else item)

    def _take_node(self, item: KubeObject | None) -> bool:
        old, self.node = self.node, item
        return _node_matters(old) != _node_matters(item)

    def _is_former(self, item: KubeObject) -> bool:
        """The end of a pool that another one of the same name has followed already."""
        held = self.pool["metadata"].get("uid") if self.pool is not None else None
        uid = item["metadata"].get("uid")
        return None not in (held, uid) and held != uid

    def _take_pool(self, item: KubeObject | None) -> bool:
        old, self.pool = self.pool, item
        return _pool_matters(old) != _pool_matters(item)

    def _take_eniconfig(self, item: KubeObject, *, gone: bool) -> bool:
        name = item["metadata"]["name"]
        old = self.eniconfigs.pop(name, None)
        if gone:
            return old is not None
        self.eniconfigs[name] = item
        return old is None or old.get("spec") != item.get("spec")

    async def look(self, kube: KubeApi) -> None:
        """Asks for everything, so that what vanished while a watch was down is forgotten. Raises KubeError."""
        if self.kept:
            return
        node, pool = await kube.get_node(self.node_name), await kube.get_pool(self.node_name)
        configs = await kube.list_eniconfigs()
        self.node, self.pool = node, pool
        self.eniconfigs = {item["metadata"]["name"]: item for item in configs}


def trim(plural: str, item: KubeObject) -> KubeObject:
    """Returns the object without what nobody here reads: most of a Node is its images, heartbeats and field owners."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    trimmed = {**item, "metadata": metadata}
    if plural == NODES:
        status = item.get("status") or {}
        trimmed["status"] = {key: status[key] for key in _NODE_STATUS if key in status}
    return trimmed


def _node_matters(node: KubeObject | None) -> object:
    """A Node's status changes with every heartbeat; this does not."""
    if node is None:
        return None
    metadata, spec = node["metadata"], node.get("spec", {})
    identity = (
        metadata.get("uid"),
        metadata.get("labels"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
    )
    return identity, spec.get("providerID"), spec.get("taints"), node.get("status", {}).get("capacity", {}).get("pods")


def _pool_matters(pool: KubeObject | None) -> object:
    """Supply and our conditions are our own writing; when the agent last reported does not change a plan."""
    if pool is None:
        return None
    usage = {k: v for k, v in (pool.get("status", {}).get("usage") or {}).items() if k != "reportedAt"}
    return pool["metadata"].get("uid"), pool.get("spec"), "usage" in pool.get("status", {}), usage
