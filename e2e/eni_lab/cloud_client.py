"""The laboratory's administrator at its cloud: makes the VPC and instances through EC2, tells the fabric of nodes.

Everything is asked of the same endpoint that the product asks, under a caller name of its own (``eni-lab``), so that
the product's calls can be counted apart. ``eni_lab.cloud`` is the counterpart.
"""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

from eni_lab.errors import LabError
from eni_lab.fabric.namespaces import enter
from eni_lab.kube.addresses import CLOUD_URL
from eni_lab.node.config import Instance, max_pods
from eni_lab.waiting import wait_for

REGION = "us-east-1"
VPC_CIDR = "10.0.0.0/16"
ADMINISTRATOR = "eni-lab"
"""Access key, and so the name of the caller, of the laboratory itself."""
CLUSTER_TAG = {"Key": "kubernetes.io/cluster/eni-lab", "Value": "owned"}


@dataclass(frozen=True)
class Zone:
    """An availability zone and its subnet."""

    letter: str
    cidr: str

    @property
    def name(self) -> str:
        """Such as ``us-east-1a``."""
        return REGION + self.letter


ZONES = (Zone("a", "10.0.1.0/24"), Zone("b", "10.0.2.0/24"))


class Cloud:
    """EC2 and the control endpoints, called from a thread inside the laboratory's network."""

    def __init__(self, pid: int) -> None:
        """``pid`` is a process in that network."""
        self._thread = ThreadPoolExecutor(1, "cloud-client", enter, (f"/proc/{pid}/ns/net",))
        self._client: Any = None

    def ec2(self, method: str, **arguments: object) -> Any:
        """Calls EC2 by botocore's method name, such as ``describe_instances``; its reply.

        Raises:
            LabError: EC2 refused, or nobody answers.
        """
        try:
            return self._thread.submit(lambda: getattr(self._ec2(), method)(**arguments)).result()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise LabError(str(error)) from error

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Calls a control endpoint, such as ``GET /_lab/calls``; its reply.

        Raises:
            LabError: the endpoint refused, or nobody answers.
        """
        return self._thread.submit(_request, method, path, body).result()

    def close(self) -> None:
        """Closes connections and ends the thread."""
        if self._client is not None:
            self._thread.submit(self._client.close).result()
        self._thread.shutdown()

    def wait_until_up(self, seconds: float = 30) -> None:
        """Until the endpoint answers."""

        def answers() -> bool:
            try:
                self.control("GET", "/_lab/calls")
            except LabError:
                return False
            return True

        wait_for("the cloud answers", answers, seconds=seconds, interval=0.05)

    def create_vpc(self, zones: tuple[Zone, ...] = ZONES) -> None:
        """Makes a VPC with a subnet and a security group for each zone, found again by their tag Name."""
        vpc = self.ec2("create_vpc", CidrBlock=VPC_CIDR)["Vpc"]["VpcId"]
        for zone in zones:
            self.ec2(
                "create_subnet",
                VpcId=vpc,
                CidrBlock=zone.cidr,
                AvailabilityZone=zone.name,
                TagSpecifications=_tags("subnet", f"lab-{zone.letter}"),
            )
            self.ec2(
                "create_security_group",
                VpcId=vpc,
                GroupName=f"lab-{zone.letter}",
                Description=f"nodes of zone {zone.letter}",
                TagSpecifications=_tags("security-group", f"lab-{zone.letter}"),
            )

    def run_instance(self, node: str, instance_type: str, zone: Zone) -> Instance:
        """Starts an instance in a zone's subnet, with that zone's security group."""
        named = [{"Name": "tag:Name", "Values": [f"lab-{zone.letter}"]}]
        subnet = self.ec2("describe_subnets", Filters=named)["Subnets"][0]["SubnetId"]
        group = self.ec2("describe_security_groups", Filters=named)["SecurityGroups"][0]["GroupId"]
        limits = self._limits(instance_type)
        reply = self.ec2(
            "run_instances",
            ImageId=self.ec2("describe_images")["Images"][0]["ImageId"],
            InstanceType=instance_type,
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet,
            SecurityGroupIds=[group],
            TagSpecifications=_tags("instance", node),
        )
        started = reply["Instances"][0]
        return Instance(
            node=node,
            instance_id=started["InstanceId"],
            instance_type=instance_type,
            zone=zone.name,
            address=started["PrivateIpAddress"],
            max_pods=max_pods(limits["MaximumNetworkInterfaces"], limits["Ipv4AddressesPerInterface"]),
        )

    def terminate(self, instance: Instance) -> None:
        """Ends an instance; ENIs that die with it are deleted by EC2."""
        self.ec2("terminate_instances", InstanceIds=[instance.instance_id])

    def connect(self, instance: Instance, pid: int) -> None:
        """Tells the fabric in which process's network the instance's interfaces appear (a pid of the laboratory's)."""
        self.control("POST", "/_lab/nodes", {"instance": instance.instance_id, "pid": pid})

    def disconnect(self, instance: Instance) -> None:
        """Tells the fabric that the instance has no network for now."""
        self.control("DELETE", f"/_lab/nodes/{instance.instance_id}")

    def _limits(self, instance_type: str) -> Any:
        reply = self.ec2("describe_instance_types", InstanceTypes=[instance_type])
        return reply["InstanceTypes"][0]["NetworkInfo"]

    def _ec2(self) -> Any:
        if self._client is None:
            self._client = botocore.session.get_session().create_client(
                "ec2",
                region_name=REGION,
                endpoint_url=CLOUD_URL,
                aws_access_key_id=ADMINISTRATOR,
                aws_secret_access_key="eni-lab",  # noqa: S106 - the stand-in checks no signature
                config=botocore.config.Config(user_agent=ADMINISTRATOR, proxies={}),
            )
        return self._client


def _request(method: str, path: str, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - always http, to the laboratory's own address
        CLOUD_URL + path, data, {"Content-Type": "application/json"}, method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as reply:
            text = reply.read()
    except urllib.error.HTTPError as error:
        raise LabError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise LabError(f"{method} {path}: {error}") from error
    return json.loads(text) if text else None


def _tags(resource: str, name: str) -> list[dict[str, object]]:
    return [{"ResourceType": resource, "Tags": [{"Key": "Name", "Value": name}, CLUSTER_TAG]}]
