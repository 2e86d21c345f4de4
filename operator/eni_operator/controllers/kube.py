"""What the loop needs of the Kubernetes API, declared by its user. Objects are raw dictionaries as the API sends them.

``controllers.kube_client`` implements it; nothing else in the operator talks to the API server but the watches of
``controllers.watches``.
"""

from typing import Any, Protocol

KubeObject = dict[str, Any]


class KubeError(Exception):
    """The API server refused or did not answer; ``status`` is the HTTP status, 0 without an answer."""

    def __init__(self, what: str, status: int, detail: str) -> None:
        super().__init__(f"{what} failed: {status or 'no answer'}: {detail}")
        self.status = status


class KubeApi(Protocol):
    """The calls used. All raise KubeError; what is absent is None."""

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
