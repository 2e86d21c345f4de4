"""The laboratory's administrator at its cloud: makes the VPC and instances through EC2, tells the fabric of nodes.

Everything is asked of the same endpoint that the product asks. ``eni_lab.cloud`` is the counterpart.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Network
from itertools import islice
from typing import Any

from eni_lab.cloud_acts import CloudActs
from eni_lab.cloud_calls import ADMINISTRATOR
from eni_lab.node.config import Instance, max_pods
from eni_lab.vpc_layout import GROUPS, SUBNETS, VPC_BLOCKS, ZONES, SubnetPlan, Zone

__all__ = ["ADMINISTRATOR", "ZONES", "Cloud", "Zone"]

CLUSTER_TAG = {"kubernetes.io/cluster/eni-lab": "owned"}


class Cloud(CloudActs):
    """EC2 and the control endpoints, as the laboratory's administrator."""

    def create_vpc(self, plans: Iterable[SubnetPlan] = SUBNETS, groups: Iterable[str] = GROUPS) -> None:
        """Makes the VPC, its subnets and its security groups, found again by their tag Name."""
        created = self.ec2("create_vpc", CidrBlock=VPC_BLOCKS[0], AmazonProvidedIpv6CidrBlock=True)["Vpc"]
        for block in VPC_BLOCKS[1:]:
            self.ec2("associate_vpc_cidr_block", VpcId=created["VpcId"], CidrBlock=block)
        ipv6 = IPv6Network(created["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
        for plan in plans:
            self._create_subnet(created["VpcId"], ipv6, plan)
        for name in groups:
            tags = _tags("security-group", name)
            words = {"GroupName": name, "Description": f"laboratory's {name}", "TagSpecifications": tags}
            self.ec2("create_security_group", VpcId=created["VpcId"], **words)

    def run_instance(
        self, node: str, instance_type: str, zone: Zone, interfaces: Sequence[Mapping[str, object]] = ()
    ) -> Instance:
        """Starts an instance in the subnet of a zone's nodes, with their security group.

        With ``interfaces`` (RunInstances' NetworkInterfaces) it has those ENIs from the start, in the same subnet.
        Where that subnet has IPv6, the instance has an address of it.
        """
        limits = self._limits(instance_type)
        subnet, groups = self.subnet(zone.node_subnet), [self.group(zone.node_subnet)]
        listed = [{"SubnetId": subnet, "Groups": groups, **one} for one in interfaces]
        plain: dict[str, object] = {"SubnetId": subnet, "SecurityGroupIds": groups}
        if self.ipv6_block(zone.node_subnet):
            plain["Ipv6AddressCount"] = 1
        network = {"NetworkInterfaces": listed} if listed else plain
        reply = self.ec2(
            "run_instances",
            ImageId=self.ec2("describe_images")["Images"][0]["ImageId"],
            InstanceType=instance_type,
            MinCount=1,
            MaxCount=1,
            **network,
            TagSpecifications=_tags("instance", node),
        )
        started = reply["Instances"][0]
        return Instance(
            node=node,
            instance_id=started["InstanceId"],
            instance_type=instance_type,
            zone=zone.name,
            address=started["PrivateIpAddress"],
            ipv6_address=_ipv6_of(self.enis(started["InstanceId"])[0]),
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

    def _create_subnet(self, vpc_id: str, ipv6: IPv6Network, plan: SubnetPlan) -> None:
        place = {"VpcId": vpc_id, "CidrBlock": plan.cidr, "AvailabilityZone": plan.zone.name}
        if plan.ipv6 is not None:
            place["Ipv6CidrBlock"] = str(next(islice(ipv6.subnets(new_prefix=64), plan.ipv6, None)))
        tags = _tags("subnet", plan.name, plan.tags)
        subnet_id = self.ec2("create_subnet", **place, TagSpecifications=tags)["Subnet"]["SubnetId"]
        if plan.reserved:
            kept = {"SubnetId": subnet_id, "Cidr": plan.reserved, "ReservationType": "prefix"}
            self.ec2("create_subnet_cidr_reservation", **kept)

    def _limits(self, instance_type: str) -> Any:
        reply = self.ec2("describe_instance_types", InstanceTypes=[instance_type])
        return reply["InstanceTypes"][0]["NetworkInfo"]


def _ipv6_of(eni: Mapping[str, Any]) -> str:
    addresses = [str(one["Ipv6Address"]) for one in eni.get("Ipv6Addresses", [])]
    return addresses[0] if addresses else ""


def _tags(resource: str, name: str, more: Mapping[str, str] | None = None) -> list[dict[str, object]]:
    tags = {"Name": name, **CLUSTER_TAG, **(more or {})}
    return [{"ResourceType": resource, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
