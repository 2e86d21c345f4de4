"""What the loops need of the Kubernetes API, declared by their users. Objects are raw dictionaries as the API has them.

``controllers.kube_client`` implements it; nothing else in the operator talks to the API server but the watches of
``controllers.watches``.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

KubeObject = dict[str, Any]

Pages = Callable[[], AsyncIterator[list[KubeObject]]]
"""All objects of a kind, a page at a time; raises KubeError."""

NODES: Final = "nodes"
POOLS: Final = "nodeippools"
ENICONFIGS: Final = "eniconfigs"
"""Kinds by their plural, as the watches name them."""


class KubeError(Exception):
    """The API server refused or did not answer; ``status`` is the HTTP status, 0 without an answer."""

    def __init__(self, what: str, status: int, detail: str) -> None:
        super().__init__(f"{what} failed: {status or 'no answer'}: {detail}")
        self.status = status


class KubeApi(Protocol):
    """What one node's loop calls. All raise KubeError; what is absent is None."""

    async def get_node(self, name: str) -> KubeObject | None:
        """Returns a Node."""
        ...

    async def get_pool(self, name: str) -> KubeObject | None:
        """Returns a NodeIPPool."""
        ...

    async def list_eniconfigs(self) -> list[KubeObject]:
        """Returns every ENIConfig; none where the kind is not installed."""
        ...

    async def apply_pool(self, pool: KubeObject) -> KubeObject:
        """Creates or updates a NodeIPPool's metadata by server-side apply; returns the object."""
        ...

    async def apply_pool_status(self, pool: KubeObject) -> KubeObject:
        """Writes our part of a NodeIPPool's status by server-side apply, never by force; returns the object."""
        ...

    async def create_event(self, event: KubeObject) -> None:
        """Creates an Event in the namespace its metadata names."""
        ...

    async def patch_event(self, namespace: str, name: str, patch: KubeObject) -> None:
        """Merges into an Event."""
        ...


class FleetApi(Protocol):
    """What the keeper of the loops calls beside the watches. All raise KubeError; what is absent is None."""

    async def get(self, plural: str, name: str) -> KubeObject | None:
        """Returns a Node, NodeIPPool or ENIConfig."""
        ...

    async def names(self, plural: str, only: str | None = None) -> frozenset[str]:
        """Returns the names there are of a kind; with ``only`` that one, if it is there."""
        ...

    async def list_eniconfigs(self) -> list[KubeObject]:
        """Returns every ENIConfig; none where the kind is not installed."""
        ...

    async def delete_pool(self, name: str, uid: str) -> None:
        """Deletes this very NodeIPPool; nothing to do is fine, 409 when another one has its name now."""
        ...


class LeaderApi(Protocol):
    """What the leader's duties call. All raise KubeError."""

    def pages(self, plural: str) -> AsyncIterator[list[KubeObject]]:
        """Yields all objects of a kind, a page at a time, so that thousands are never held at once."""
        ...

    async def apply_eniconfig_status(self, config: KubeObject) -> KubeObject:
        """Writes an ENIConfig's status by server-side apply as the leader, never by force; returns the object."""
        ...


class LeaseApi(Protocol):
    """What the election calls: the one Lease ``names.LEASE``. All raise KubeError."""

    async def get_lease(self) -> KubeObject | None:
        """Returns the Lease; None where there is none."""
        ...

    async def create_lease(self, lease: KubeObject) -> KubeObject:
        """Creates it; 409 when there is one already."""
        ...

    async def update_lease(self, lease: KubeObject) -> KubeObject:
        """Replaces the version its metadata names; 409 when there is another one by now."""
        ...
