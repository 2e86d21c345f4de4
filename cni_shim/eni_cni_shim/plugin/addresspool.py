"""What the plugin needs from whoever owns the addresses; implemented by ``eni_node_agent.sandbox.pool``."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class SandboxKey(NamedTuple):
    """What identifies an attachment: the CNI specification's (network name, container id, interface name)."""

    network: str
    container_id: str
    ifname: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Who asks for addresses."""

    key: SandboxKey
    netns: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    every_card: bool = False
    """True: one link on every network card; False: one link, on whichever card."""


@dataclass(frozen=True, slots=True)
class PodLink:
    """A veth of a sandbox and the addresses on it, those of the VPC all from one ENI."""

    ifname: str
    """Of the pod's end."""
    host_ifname: str
    """Of the host's end; derived from the key, so a new sandbox of the same pod never collides."""
    eni_id: str
    addresses: tuple[str, ...]
    """Of the VPC, one of each family of the pool, without mask, IPv4 first: ``("10.0.1.23", "2001:db8::17")``."""
    egress: str = ""
    """A node-local address of the family the pool does not have, for connections to the world; empty: none."""

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """All addresses on the link."""
        return (*self.addresses, self.egress) if self.egress else self.addresses


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a sandbox was given, and what the plugin must know to program it."""

    sandbox: Sandbox
    links: tuple[PodLink, ...]
    """At least one; the first is the pod's way to everywhere, each further one is on a network card of its own."""
    route_table: int
    """Table for the host's routes to the pod."""

    @property
    def address(self) -> str:
        """The address the pod is known by."""
        return self.links[0].addresses[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of the VPC, the one the pod is known by first."""
        return tuple(address for link in self.links for address in link.addresses)

    @property
    def eni_id(self) -> str:
        """The ENI of the first link."""
        return self.links[0].eni_id

    @property
    def host_ifname(self) -> str:
        """The host's end of the first link."""
        return self.links[0].host_ifname


class NoAddressError(Exception):
    """Not all addresses could be had, the runtime may try again. ``reason`` is for machines, the message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PoolUnavailableError(Exception):
    """The pool cannot serve (journal broken, no supply ever seen): CNI code 11 for ADD, 50 for STATUS.

    ``limits_pods``: what is wrong reaches pods that run too, as when the host's network is not in order; 51 for STATUS.
    """

    def __init__(self, message: str, *, limits_pods: bool = False) -> None:
        super().__init__(message)
        self.limits_pods = limits_pods


class AddressPool(Protocol):
    """The addresses of this node."""

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the sandbox's addresses, the same again for the same key; waits while the pool grows.

        All or none: a sandbox that waits for one address holds no other meanwhile.

        Raises:
            NoAddressError: not all could be had in time.
            PoolUnavailableError: the pool cannot serve.
        """
        ...

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the addresses back, they cool; None when the key is not known (which is no error)."""
        ...

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        ...

    def assignments(self) -> Collection[Assignment]:
        """Returns all that is assigned."""
        ...

    def check_ready(self) -> None:
        """Returns when ADD could be served; raises NoAddressError or PoolUnavailableError otherwise."""
        ...
