"""A running stand-in EC2 with a small VPC in it, for tests that speak to EC2 over HTTP."""

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.images import IMAGES
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.http import Endpoint
from eni_lab.aws.instance_types import load_instance_types
from eni_lab.aws.server import serve

IMAGE_OF_ARCHITECTURE = {image.architecture: image.id for image in IMAGES.values()}


@dataclass(frozen=True, slots=True)
class Ec2Seed:
    """Ids of what is there from the start; one subnet and one security group per zone, in the same order."""

    vpc_id: str
    subnet_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningEc2:
    """A served engine; ``url`` is the endpoint URL for EC2 and STS."""

    url: str
    endpoint: Endpoint
    seed: Ec2Seed

    @property
    def engine(self) -> Engine:
        """Returns the engine, to look inside or to change knobs."""
        return self.endpoint.engine

    def run_instance(self, instance_type: str = "m5.large", subnet: int = 0) -> str:
        """Launches an instance in a seeded subnet and returns its id."""
        return run_instance(self.engine, self.seed, instance_type, subnet)


@asynccontextmanager
async def running_ec2(
    *,
    knobs: Knobs | None = None,
    service_times: bool = False,
    subnet_cidrs: Sequence[str] = ("10.0.0.0/20", "10.0.16.0/20"),
    seed: int = 1,
) -> AsyncIterator[RunningEc2]:
    """Serves a seeded EC2 on a free loopback port while the context lasts.

    Without knobs there are no delays and no throttling; ``service_times`` adds what each call takes on AWS.
    """
    if knobs is None:
        knobs = Knobs(throttling=False) if service_times else Knobs(throttling=False).without_delays()
    engine = Engine(time.time, random.Random(seed), load_instance_types(), knobs)
    seeded = seed_vpc(engine, subnet_cidrs)
    async with serve("127.0.0.1", 0, engine, service_times=service_times) as server:
        yield RunningEc2(server.url, server.endpoint, seeded)


def seed_vpc(engine: Engine, subnet_cidrs: Sequence[str]) -> Ec2Seed:
    """Makes VPC 10.0.0.0/16 with a subnet and a security group in each of as many zones."""
    vpc_id = engine.call("CreateVpc", {"CidrBlock": "10.0.0.0/16"})["Vpc"]["VpcId"]
    subnets, groups, zones = [], [], []
    for letter, cidr in zip("abcdef", subnet_cidrs, strict=False):
        zone = engine.knobs.region + letter
        request = {"VpcId": vpc_id, "CidrBlock": cidr, "AvailabilityZone": zone}
        subnets.append(engine.call("CreateSubnet", request)["Subnet"]["SubnetId"])
        group = {"VpcId": vpc_id, "GroupName": f"nodes-{letter}", "Description": f"nodes in {zone}"}
        groups.append(engine.call("CreateSecurityGroup", group)["GroupId"])
        zones.append(zone)
    return Ec2Seed(vpc_id, tuple(subnets), tuple(groups), tuple(zones))


def run_instance(
    engine: Engine,
    seed: Ec2Seed,
    instance_type: str = "m5.large",
    subnet: int = 0,
    interfaces: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Launches an instance in a seeded subnet and returns its id.

    With ``interfaces`` it has those ENIs from the start (RunInstances' NetworkInterfaces), all in that subnet.
    """
    architecture = engine.region.instance_type(instance_type).architectures[-1]
    place, groups = seed.subnet_ids[subnet], [seed.group_ids[subnet]]
    request = {
        "ImageId": IMAGE_OF_ARCHITECTURE[architecture],
        "InstanceType": instance_type,
        "MinCount": 1,
        "MaxCount": 1,
    }
    listed = [{"SubnetId": place, "Groups": groups, **one} for one in interfaces]
    network = {"NetworkInterfaces": listed} if listed else {"SubnetId": place, "SecurityGroupIds": groups}
    return str(engine.call("RunInstances", request | network)["Instances"][0]["InstanceId"])
