"""What is asked: how many nodes join, what their pods need, and the soonest it could be done.

Values only. The floor is EC2's, not ours: the published bucket of the one API that every node must call
(https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), whoever calls it and however well.
"""

from dataclasses import dataclass
from typing import Final

from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.throttle import bucket_of

PODS: Final = 12
"""Pods on a node: three more than an m5.large's primary ENI has secondary addresses for."""
JOIN_SECONDS: Final = 10.0
"""All nodes join within this, each at an instant of its own."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of node and the call that none of them can do without."""

    name: str
    instance_type: str
    maximum_pods: int
    prefixes: bool
    needed: str
    """The API each node must call once before all its pods can have an address."""

    def floor(self, nodes: int) -> float:
        """Returns the seconds after which EC2 can have admitted the last node's needed call."""
        _, rate = bucket_of(self.needed, {}, Knobs())
        return max(0.0, (nodes - rate.capacity) / rate.refill)


SECONDARY: Final = Scenario("secondary", "m5.large", 29, prefixes=False, needed="AttachNetworkInterface")
PREFIX: Final = Scenario("prefix", "m5.large", 110, prefixes=True, needed="AssignPrivateIpAddresses")
SCENARIOS: Final = {scenario.name: scenario for scenario in (SECONDARY, PREFIX)}
