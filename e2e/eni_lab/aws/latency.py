"""How long each call takes, in seconds; the times at which the peers were measured.

Counterpart: ``http`` waits before the effect, so that what takes longer still (link, metadata, detachment) counts from
the reply.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVICE_SECONDS: Mapping[str, float] = {
    "AssignIpv6Addresses": 0.30,
    "AssignPrivateIpAddresses": 0.30,
    "AttachNetworkInterface": 0.60,
    "CreateNetworkInterface": 0.40,
    "CreateTags": 0.15,
    "DeleteNetworkInterface": 0.30,
    "DetachNetworkInterface": 0.30,
    "ModifyNetworkInterfaceAttribute": 0.20,
    "UnassignIpv6Addresses": 0.30,
    "UnassignPrivateIpAddresses": 0.30,
}

OTHER_SECONDS = 0.10
"""Describe and everything not named above."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Seconds by action, and for all actions not named."""

    by_action: Mapping[str, float] = field(default_factory=lambda: SERVICE_SECONDS)
    other: float = OTHER_SECONDS

    def of(self, action: str) -> float:
        """Returns how long a call takes."""
        return self.by_action.get(action, self.other)


NO_TIME = ServiceTimes({}, 0.0)
