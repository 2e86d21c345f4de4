"""What the agent asks of an API server, as values and protocols; ``cluster.kube`` speaks it over REST.

Apart from it so that whoever only needs the words does not pay for an HTTP client: the agent serves its socket first.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

Json = Mapping[str, Any]


class ApiError(Exception):
    """The API server answered, and said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"API server answered {status}: {message}")
        self.status = status
        """HTTP status."""


class UnreachableError(Exception):
    """The API server did not answer, not in time, or not in its own words."""


class Selection(NamedTuple):
    """Which objects are meant."""

    path: str
    """Of the collection, as in ``/api/v1/pods``."""
    field_selector: str
    may_be_stale: bool = False
    """True: a list may come from the API server's cache; cheaper, but it may show a moment before one seen already."""


class Listing(NamedTuple):
    """Objects at one moment."""

    items: Iterator[Json]
    """Each is made when it is asked for, and may raise as the list: 500 pods are 4 MB of JSON, and 25 as objects."""
    resource_version: str


class ListWatch(Protocol):
    """What following objects needs of an API server. Every method may raise ApiError and UnreachableError."""

    async def list_objects(self, selection: Selection) -> Listing:
        """Returns the selected objects."""
        ...

    def watch_objects(
        self, selection: Selection, resource_version: str, server_seconds: int
    ) -> AsyncGenerator[Json, None]:
        """Yields watch events from a resource version on; ends when the API server ends it.

        An ApiError of status 410 says that the resource version is too old to go on from.
        """
        ...


class PatchKind(StrEnum):
    """How a patch is to be read, by its content type."""

    MERGE = "application/merge-patch+json"
    """RFC 7396: fields to be laid over the object."""
    JSON = "application/json-patch+json"
    """RFC 6902: steps; those of kind ``test`` make all of them conditional."""


class Patch(Protocol):
    """What changing objects of others needs of an API server; may raise ApiError and UnreachableError."""

    async def patch(self, path: str, document: Json | Sequence[Json], kind: PatchKind) -> None:
        """Changes an object that exists."""
        ...


class Apply(Protocol):
    """What reporting needs of an API server; may raise ApiError and UnreachableError."""

    async def apply(self, path: str, manifest: Json, field_manager: str) -> None:
        """Applies our fields of an object (server-side apply without force: another's field is a 409)."""
        ...
