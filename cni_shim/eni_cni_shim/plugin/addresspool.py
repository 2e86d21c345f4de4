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
    """Who asks for an address."""

    key: SandboxKey
    netns: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """An address given to a sandbox, and what the plugin must know to program it."""

    sandbox: Sandbox
    address: str
    """Without mask: ``10.0.1.23``."""
    eni_id: str
    route_table: int
    """Table for the host's route to the pod."""
    host_ifname: str
    """Name of the host's end of the veth; derived from the key, so a new sandbox of the same pod never collides."""


class NoAddressError(Exception):
    """No address now; the runtime may try again. ``reason`` is a machine reason, the message is for a person."""

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
        """Returns the sandbox's address, the same again for the same key; waits while the pool grows.

        Raises:
            NoAddressError: none could be had in time.
            PoolUnavailableError: the pool cannot serve.
        """
        ...

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the address back, it cools; None when the key is not known (which is no error)."""
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
