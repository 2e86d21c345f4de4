"""The effective policy of one pool, where each value came from, and what the environment asks.

Values; ``planning.precedence`` resolves them, the operator's settings parse the environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from eni_crds.nodeippool import Family, Mode


class Origin(StrEnum):
    """Where a setting came from, strongest first."""

    POOL = "pool"
    ENICONFIG = "eniconfig"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class EnvironmentPolicy:
    """What VPC CNI's environment variables ask, already parsed; ``None`` where a variable is not set."""

    mode: Mode | None = None
    """ENABLE_PREFIX_DELEGATION: prefix or secondary."""
    warm_ips: int | None = None
    """WARM_IP_TARGET; AWS's zero means not set."""
    minimum_ips: int | None = None
    """MINIMUM_IP_TARGET; AWS's zero means not set."""
    warm_prefixes: int | None = None
    """WARM_PREFIX_TARGET."""
    warm_enis: int | None = None
    """WARM_ENI_TARGET; zero is a target: one free address, then a whole ENI."""
    maximum_enis: int | None = None
    """MAX_ENI; below one means not set."""
    cooldown_seconds: int | None = None
    """IP_COOLDOWN_PERIOD."""
    families: tuple[Family, ...] | None = None
    """ENABLE_IPv4 and ENABLE_IPv6; ``None`` where neither is set."""
    provisioning: bool = True
    """False: DISABLE_NETWORK_RESOURCE_PROVISIONING or ENABLE_IMDS_ONLY_MODE, so nothing is changed in EC2."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much to hold and for how long. ``None`` targets are not set; when none is set, demand alone counts."""

    mode: Mode
    """secondary or prefix; ``auto`` is resolved by the planner."""
    warm_ips: int | None
    minimum_ips: int | None
    warm_prefixes: int | None
    warm_enis: int | None
    maximum_enis: int | None
    maximum_pods: int | None
    maximum_ips: int | None
    cooldown_seconds: float
    release_after_seconds: float
    headroom: int
    """Free addresses beyond demand where no target is set."""
    paused: bool
    origins: Mapping[str, Origin]
    """By field name of ``spec.policy`` in snake case."""
    release_batch: int | None = None
    """Most CIDRs given back in one turn; None: the whole surplus."""
    drain_on_change: bool = False
    """True: ENIs made from a former ENIConfig are drained."""
    families: tuple[Family, ...] = (Family.IPV4,)
    provisioning: bool = True
    """False: nothing is changed in EC2, for the environment says so."""

    @property
    def is_halted(self) -> bool:
        """Tells whether nothing may be changed in EC2."""
        return self.paused or not self.provisioning
