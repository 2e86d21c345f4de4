"""One AWS account on virtual time: the stand-in's engine with its buckets, the instances of the fleet, and a tally.

Decides how long calls take (the stand-in's own service times) and keeps count of them. Who calls, and how often it
tries again, is the contenders' business (``ours``, ``ipamd``).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network
from typing import Any, Final

from benchmarks.fleet.scenarios import Scenario

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import Eni
from eni_lab.aws.instance_types import load_instance_types
from eni_lab.aws.latency import ServiceTimes
from eni_testing.ec2 import run_instance, seed_vpc
from eni_testing.virtual_loop import now

EPOCH: Final = 1_700_000_000.0
"""Unix time at the virtual instant zero."""
SUBNETS: Final = ("10.0.0.0/17", "10.0.128.0/17")
SPREAD: Final = 0.2
"""A call takes its service time, a fifth more or less: no two calls of a fleet stay in step."""
THROTTLED: Final = "RequestLimitExceeded"
READS: Final = ("Describe", "Get")


def wall() -> float:
    """Returns the Unix time of the loop that runs."""
    return EPOCH + now()


@cache
def _types() -> Mapping[str, InstanceType]:
    return load_instance_types()


@dataclass(slots=True)
class Tally:
    """What was asked of EC2."""

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Calls answered RequestLimitExceeded."""
    failed: Counter[str] = field(default_factory=Counter)
    """Calls answered any other error, by API and code."""
    changed_at: float = 0.0
    """When EC2 was last asked to change something."""


class Account:
    """The account; to be made inside the running loop."""

    def __init__(self, scenario: Scenario, nodes: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.tally = Tally()
        self._times = ServiceTimes()
        # Generous to VPC CNI, which lists its ENIs by their ids: the larger bucket. Our lists have filters.
        knobs = Knobs(throttling=False, ids_count_as_filter=True)
        self.engine = Engine(wall, random.Random(seed), _types(), knobs)
        self.seed = seed_vpc(self.engine, SUBNETS)
        self.instances = [
            run_instance(self.engine, self.seed, scenario.instance_type, number % len(SUBNETS))
            for number in range(nodes)
        ]
        self.engine.configure(throttling=True)

    async def call(self, action: str, args: Mapping[str, Any]) -> Any:
        """Performs one call; raises the engine's Ec2Error."""
        self.tally.calls[action] += 1
        if not action.startswith(READS):
            self.tally.changed_at = now()
        await asyncio.sleep(self._times.of(action) * self.random.uniform(1 - SPREAD, 1 + SPREAD))
        try:
            return self.engine.call(action, args)
        except Ec2Error as error:
            if error.code == THROTTLED:
                self.tally.refused[action] += 1
            else:
                self.tally.failed[f"{action} {error.code}"] += 1
            raise

    def enis(self, instance_id: str) -> list[Eni]:
        """Returns an instance's ENIs, as they are in EC2."""
        return self.engine.region.enis_of(instance_id)

    def linked(self, eni_id: str) -> float:
        """Returns from which virtual instant the ENI's link is up on its instance."""
        eni = self.engine.region.enis.get(eni_id)
        return eni.attachment.link_at - EPOCH if eni is not None and eni.attachment is not None else float("inf")

    def held(self) -> int:
        """Counts pod addresses held by all instances: secondary ones and those of prefixes."""
        attached = [eni for instance_id in self.instances for eni in self.enis(instance_id)]
        return sum(len(eni.addresses) + sum(IPv4Network(p).num_addresses for p in eni.prefixes) for eni in attached)

    def attached(self) -> int:
        """Counts the ENIs of all instances."""
        return sum(len(self.enis(instance_id)) for instance_id in self.instances)
