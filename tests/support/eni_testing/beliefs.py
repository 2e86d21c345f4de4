"""The inventory of one instance on the stand-in's engine, without HTTP and in virtual time."""

from typing import Any

from eni_lab.aws.engine.knobs import Knobs
from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.region import Region
from eni_testing.ec2_engine import EngineLab
from eni_testing.engine_sdk import EngineSdk, Life


class BelievedNode:
    """An instance and what is believed of it; ``calls`` names every call to EC2."""

    def __init__(self, instance_type: str = "m5.large", *, knobs: Knobs | None = None, **region: Any) -> None:
        self.lab = EngineLab(knobs=knobs)
        self.id = InstanceId(self.lab.instance(instance_type))
        self.calls: list[str] = []
        self.refuse: dict[str, tuple[str, str, int]] = {}
        sdk = EngineSdk(self.lab, Life(), self.calls, self.refuse)
        self.ec2 = Ec2Client(sdk, Throttle(self.clock, self.sleep))
        self.region = Region(self.ec2, self.clock, **region)
        self.inventory = self.inventory_of(self.id)

    def inventory_of(self, instance_id: InstanceId) -> InstanceInventory:
        """Returns a new belief about an instance of the Region."""
        return InstanceInventory(instance_id, self.region, clock=self.clock, jitter=lambda: 1.0, resync_seconds=3600.0)

    def clock(self) -> float:
        """Returns the virtual time."""
        return self.lab.now

    async def sleep(self, seconds: float) -> None:
        """Lets virtual time pass."""
        self.lab.now += seconds

    async def live(self, seconds: float) -> None:
        """Looks whenever it is time to, as the loop does, until so much time has passed."""
        end = self.lab.now + seconds
        while (at := max(self.inventory.look_at(), self.lab.now)) <= end:
            self.lab.now = at
            await self.inventory.look()
            assert self.inventory.look_at() > self.lab.now, "the loop would spin"
        self.lab.now = end

    async def started(self) -> "BelievedNode":
        """Looks for the first time and forgets the calls it took."""
        await self.inventory.look()
        self.calls.clear()
        return self
