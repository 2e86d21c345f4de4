"""The stand-in's engine on a clock of its own, with a small VPC, for tests without HTTP."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.instance_types import load_instance_types
from eni_testing.ec2 import run_instance, seed_vpc


@cache
def instance_types() -> dict[str, InstanceType]:
    """Returns the table of types, read once."""
    return load_instance_types()


class EngineLab:
    """An engine, its time, and short ways to say what tests say often."""

    def __init__(self, *cidrs: str, knobs: Knobs | None = None, seed: int = 1) -> None:
        self.now = 1_700_000_000.0
        settled = Knobs(throttling=False).without_delays() if knobs is None else knobs
        self.engine = Engine(lambda: self.now, random.Random(seed), instance_types(), settled)
        self.seed = seed_vpc(self.engine, cidrs or ("10.0.1.0/24", "10.0.2.0/24"))

    def call(self, action: str, **args: Any) -> Any:
        """Performs a call."""
        return self.engine.call(action, args)

    @contextmanager
    def refused(self, code: str, text: str = "") -> Iterator[None]:
        """Expects the body to be refused with a code and a text, and to change nothing."""
        before = self.engine.version
        with pytest.raises(Ec2Error) as caught:
            yield
        assert caught.value.code == code
        assert text in caught.value.message
        assert self.engine.version == before

    def instance(
        self, instance_type: str = "m5.large", subnet: int = 0, interfaces: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Launches an instance, with more ENIs than the primary one if they are given."""
        return run_instance(self.engine, self.seed, instance_type, subnet, interfaces)

    def eni(self, subnet: int = 0, **args: Any) -> str:
        """Creates an ENI and returns its id."""
        request = {"SubnetId": self.seed.subnet_ids[subnet], **args}
        return str(self.call("CreateNetworkInterface", **request)["NetworkInterface"]["NetworkInterfaceId"])

    def attach(self, eni_id: str, instance_id: str, index: int = 1, **args: Any) -> str:
        """Attaches an ENI and returns the attachment's id."""
        request = {"NetworkInterfaceId": eni_id, "InstanceId": instance_id, "DeviceIndex": index, **args}
        return str(self.call("AttachNetworkInterface", **request)["AttachmentId"])

    def show(self, eni_id: str) -> Any:
        """Describes one ENI."""
        return self.call("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni_id])["NetworkInterfaces"][0]

    def free(self, subnet: int = 0) -> int:
        """Returns AvailableIpAddressCount of a seeded subnet."""
        subnets = self.call("DescribeSubnets", SubnetIds=[self.seed.subnet_ids[subnet]])["Subnets"]
        return int(subnets[0]["AvailableIpAddressCount"])
