"""The world a plan is made from: instance, ENIs, usage, handshake. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eni_operator.domain.eni import Eni, EniId
from eni_operator.domain.instance import Instance, Subnet


@dataclass(frozen=True, slots=True)
class Handover:
    """A CIDR (``10.0.1.7/32`` or ``10.0.1.16/28``) with the token of one turn of the release handshake."""

    cidr: str
    token: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the agent says; all zero before it has spoken."""

    assigned: int = 0
    cooling: int = 0
    free: int = 0
    pending: int = 0
    idle: tuple[str, ...] = ()
    """CIDRs with no assigned and no cooling address, the least useful first."""
    released: frozenset[Handover] = frozenset()
    reported: bool = False
    """True once an agent has reported; nothing is ever released before."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything a plan depends on. Two equal worlds give two equal plans."""

    instance: Instance
    subnet: Subnet
    """Where new ENIs go and what the ENIs' own subnet is believed to have."""
    enis: tuple[Eni, ...]
    """Every ENI on the instance, ours or not, and ours that are not attached yet."""
    usage: Usage = Usage()
    releasing: Mapping[EniId, tuple[Handover, ...]] = field(default_factory=dict)
    """Handshakes under way, as last written to ``status.supply``."""
    draining: frozenset[EniId] = frozenset()
    """ENIs on their way out, as last written: state releasing or detaching."""
    surplus_since: float | None = None
    """Since when the pool has held more than wanted without a break; None: it does not."""
    generation: int = 0
    """Counts ENIs that left; see ``Supply.generation``."""
    security_groups: tuple[str, ...] = ()
    """Groups for a new ENI."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags for a new ENI."""
    leaving: bool = False
    """The node is being deleted or drained for deletion: nothing is grown or released."""
