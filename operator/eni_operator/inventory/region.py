"""What all instances of one Region share: the EC2 client, requests made together, what was learnt of subnets and VPCs.

Decides nothing. Nothing in here is about one instance: a node that comes back as another inherits nothing.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

from eni_crds.names import TAG_INSTANCE
from eni_operator.domain.eni import Eni, InstanceId
from eni_operator.ec2.api import Ec2Api, InstanceFacts
from eni_operator.inventory import attachments, metadata_source
from eni_operator.inventory.gathering import AT_ONCE, Gatherer
from eni_operator.inventory.instance_types import InstanceTypes
from eni_operator.inventory.source import InstanceSource
from eni_operator.inventory.subnets import Subnets
from eni_operator.inventory.vpc import Vpcs


class Region:
    """One for a process.

    Args:
        ec2: the client; with a ``source`` nothing is read through it.
        clock: Unix seconds.
        source: who answers in EC2's place, as ``MetadataSource`` does.
        spare: who knows the blocks of subnets in use where IAM denies to describe them.
        gather_seconds: how long a request waits for others to go with it in one call; zero: at once.
        sleep: waits out the window.
        vpc_seconds: VPC blocks older than this are asked for again at a resync; infinite where ``Hints`` tells of them.
    """

    def __init__(  # noqa: PLR0913 - what has a default is passed by name
        self,
        ec2: Ec2Api,
        clock: Callable[[], float],
        *,
        source: InstanceSource | None = None,
        spare: InstanceSource | None = None,
        gather_seconds: float = AT_ONCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        vpc_seconds: float = math.inf,
    ) -> None:
        self.ec2 = ec2
        self._gathers = gather_seconds > AT_ONCE
        asked: InstanceSource = source if source is not None else ec2
        self.subnets = Subnets(asked, clock, spare)
        self.types = InstanceTypes(asked, clock)
        self.vpcs = Vpcs(asked, clock)
        self.instances = Gatherer(
            lambda ids: asked.describe_instances(ids),  # noqa: PLW0108 - bound late: who only writes need not read
            _id_of,
            seconds=gather_seconds,
            sleep=sleep,
        )
        self.attached = Gatherer(
            lambda ids: asked.describe_attached(ids),  # noqa: PLW0108 - bound late: who only writes need not read
            _whose,
            seconds=gather_seconds,
            sleep=sleep,
        )
        self.available = Gatherer(
            lambda ids: asked.describe_available(ids),  # noqa: PLW0108 - bound late: who only writes need not read
            _whose,
            seconds=gather_seconds,
            sleep=sleep,
        )
        self.confirm_seconds = attachments.CONFIRM_SECONDS if source is None else metadata_source.CONFIRM_SECONDS
        self.vpc_seconds = vpc_seconds

    def resync_at(self, now: float, seconds: float, jitter: Callable[[], float]) -> float:
        """Returns when an instance is looked at again: where requests are gathered all at the same instants.

        So a whole cluster is one filtered call for each 200 instances, in pages; alone an instance keeps out of step.
        """
        return (now // seconds + 1) * seconds if self._gathers else now + seconds * jitter()

    def forget(self, instance_id: InstanceId) -> None:
        """Drops what waits for an instance that has left."""
        self.instances.forget(instance_id)
        self.attached.forget(instance_id)
        self.available.forget(instance_id)


def _id_of(facts: InstanceFacts) -> str:
    return facts.id


def _whose(eni: Eni) -> str:
    """EC2 may show an ENI that attaches without its attachment; our own carry their instance in a tag."""
    return eni.attachment.instance_id if eni.attachment is not None else eni.tags.get(TAG_INSTANCE, "")
