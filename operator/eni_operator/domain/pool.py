"""The world a plan is made from: instance, ENIs, usage, handshake. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eni_crds.conditions import Reason
from eni_crds.eniconfig import SubnetPolicy
from eni_operator.domain.eni import Eni, EniId, SubnetId
from eni_operator.domain.instance import Instance, Subnet


@dataclass(frozen=True, slots=True)
class Handover:
    """A CIDR (``10.0.1.7/32`` or ``10.0.1.16/28``) with the token of one turn of the release handshake."""

    cidr: str
    token: str


@dataclass(frozen=True, slots=True)
class CardUsage:
    """What pods have of one network card."""

    assigned: int = 0
    cooling: int = 0
    pending: int = 0
    """Pods that want an address of this card and have none yet."""


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
    silent_since: float | None = None
    """Since when the agent that once reported has said nothing, where that is too long; None: it speaks."""
    leaving: Mapping[Handover, int] = field(default_factory=dict)
    """Handshakes the agent has seen and that pods hold up: addresses assigned or cooling in each, never zero."""
    cards: Mapping[int, CardUsage] = field(default_factory=dict)
    """Network cards above 0: part of ``assigned`` and ``cooling``, and who waits for an address there too."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why no subnet may be asked for a new ENI: the ENIConfig is missing, its subnet is unknown or in another zone."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything a plan depends on. Two equal worlds give two equal plans."""

    instance: Instance
    subnets: Mapping[SubnetId, Subnet]
    """The candidates and every ENI's own subnet."""
    candidates: tuple[SubnetId, ...]
    """Where new ENIs may go, as listed; ``subnet_policy`` says which first. All in the instance's zone."""
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
    groups_follow: bool = False
    """True: attached ENIs the pool manages get these groups too when theirs differ."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags for a new ENI, and for those of ours and the primary where they differ."""
    leaving: bool = False
    """The node is being deleted or drained for deletion: nothing is grown or released."""
    unschedulable: bool = False
    """The node is cordoned and AWS_MANAGE_ENIS_NON_SCHEDULABLE is not set: no growth, no ENI leaves."""
    subnet_policy: SubnetPolicy = SubnetPolicy.MOST_FREE
    obstacle: Obstacle | None = None
    """Why ``candidates`` is empty or shorter than asked for."""
    excluded: Mapping[EniId, str] = field(default_factory=dict)
    """ENIs whose addresses no pod gets any more, and why: not grown, drained as pods leave them."""
    cards: tuple[int, ...] = (0,)
    """Network cards the pool manages."""
    manage_untagged: bool = True
    """MANAGE_UNTAGGED_ENI: attached ENIs without our tag serve pods too."""
    spread: float = 0.0
    """From 0 to 1, fixed for a node: so that a fleet does not release in step."""
