"""What each side says of the node, as values. Decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eni_node_agent.introspection.state import State


@dataclass(frozen=True, slots=True)
class AgentView:
    """EC2's view and the ledger, as the agent has them."""

    state: State
    is_running: bool
    """False: the state was read from what a dead agent left."""
    has_conflist: bool
    """True: the runtime has been told of this node."""


class HostLink(NamedTuple):
    """A link of the host."""

    mac: str
    is_up: bool
    kind: str
    """Empty for hardware; ``veth`` and so on."""


class Neighbour(NamedTuple):
    """A permanent entry of the neighbour table. One address may have entries on several links."""

    ifname: str
    address: str


@dataclass(frozen=True, slots=True)
class KernelView:
    """The host's network."""

    links: Mapping[str, HostLink]
    """By name."""
    pod_routes: Mapping[str, str]
    """Name of the host's link by pod address, as the pod table has it."""
    neighbours: frozenset[Neighbour]
    """Permanent ones; the kernel makes others itself."""
    veth_prefix: str = "eni"
    """What names of pods' host links begin with."""
    host_differences: tuple[str, ...] = ()
    """Sentences: what of links, addresses, routes, rules, sysctls and firewall is not as the supply asks."""


class Attachment(NamedTuple):
    """What the runtime remembers of a successful ADD of ours."""

    network: str
    container_id: str
    ifname: str
    addresses: tuple[str, ...]
    pod: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """The container runtime."""

    attachments: tuple[Attachment, ...]
    live: frozenset[str] | None = None
    """Ids of the sandboxes that run; None: the runtime could not be asked, its cached results must do."""


@dataclass(frozen=True, slots=True)
class Views:
    """All sides; None: it could not be looked at, ``blind`` says why."""

    agent: AgentView | None
    kernel: KernelView | None
    runtime: RuntimeView | None
    blind: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each side's word was taken from."""
