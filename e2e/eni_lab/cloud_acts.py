"""What others do to the cloud while the product runs: people, other controllers, and AWS itself.

Names are those of ``vpc_layout``. What fails is given back when a ``with`` ends, so that no test inherits it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from eni_lab.cloud_calls import CloudCalls
from eni_lab.errors import LabError

NO_MANAGE = {"node.k8s.amazonaws.com/no_manage": "true"}
"""The tag by which people keep VPC CNI, and us, from an ENI."""


class CloudActs(CloudCalls):
    """Acts on ENIs and subnets, and faults."""

    def subnet(self, name: str) -> str:
        """The id of the subnet called so."""
        return str(self._named("describe_subnets", "Subnets", name)["SubnetId"])

    def ipv6_block(self, subnet: str) -> str:
        """The IPv6 block of the subnet called so, empty when it has none."""
        blocks = self._named("describe_subnets", "Subnets", subnet).get("Ipv6CidrBlockAssociationSet", [])
        return str(blocks[0]["Ipv6CidrBlock"]) if blocks else ""

    def group(self, name: str) -> str:
        """The id of the security group called so."""
        return str(self._named("describe_security_groups", "SecurityGroups", name)["GroupId"])

    def free_addresses(self, subnet: str) -> int:
        """How many addresses of the subnet called so EC2 says are free."""
        return int(self._named("describe_subnets", "Subnets", subnet)["AvailableIpAddressCount"])

    def enis(self, instance_id: str) -> list[dict[str, Any]]:
        """The instance's ENIs as EC2 describes them, by network card and device index."""
        mine = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
        found = self.ec2("describe_network_interfaces", Filters=mine)["NetworkInterfaces"]
        return sorted(found, key=_slot)

    def tag(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Adds or changes tags, as a person does; ``NO_MANAGE`` is one of them."""
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.ec2("create_tags", Resources=[resource_id], Tags=listed)

    def untag(self, resource_id: str, *keys: str) -> None:
        """Takes tags away."""
        self.ec2("delete_tags", Resources=[resource_id], Tags=[{"Key": key} for key in keys])

    def set_groups(self, eni_id: str, *names: str) -> None:
        """Replaces an ENI's security groups by those called so."""
        groups = [self.group(name) for name in names]
        self.ec2("modify_network_interface_attribute", NetworkInterfaceId=eni_id, Groups=groups)

    def attach_foreign_eni(
        self, instance_id: str, *, subnet: str = "", addresses: int = 0, tags: Mapping[str, str] | None = None
    ) -> str:
        """Creates an ENI and attaches it at the last free device index, as another controller does; its id.

        It carries no tag of the product's. Without ``subnet`` it is in the primary ENI's.
        """
        present = self.enis(instance_id)
        subnet_id = self.subnet(subnet) if subnet else present[0]["SubnetId"]
        more = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {}
        made = self.ec2("create_network_interface", SubnetId=subnet_id, Description="somebody else's", **more)
        eni_id = str(made["NetworkInterface"]["NetworkInterfaceId"])
        if tags:
            self.tag(eni_id, tags)
        index = self._last_free_index(instance_id, present)
        self.ec2(
            "attach_network_interface",
            NetworkInterfaceId=eni_id,
            InstanceId=instance_id,
            DeviceIndex=index,
            NetworkCardIndex=0,
        )
        return eni_id

    @contextmanager
    def fault(self, **fields: object) -> Iterator[None]:
        """Calls fail, or are slow, as scripted (fields of ``eni_lab.aws.faults.Fault``), until the block ends.

        A caller is told apart by name, user agent or address: ``machine.instance.address`` is one node's operator.
        """
        rule = self.control("POST", "/_lab/faults", {"count": 0, **fields})["id"]
        try:
            yield
        finally:
            self.control("DELETE", f"/_lab/faults/{rule}")

    @contextmanager
    def expired_credentials(self, caller: str) -> Iterator[None]:
        """EC2 takes the caller's credentials for expired until the block ends."""
        with self.fault(caller=caller, code="RequestExpired", message="Request has expired."):
            yield

    @contextmanager
    def denied(self, action: str, caller: str = "*") -> Iterator[None]:
        """IAM denies an action until the block ends, and then no action any more."""
        self.control("POST", "/_lab/denials", {"action": action, "caller": caller})
        try:
            yield
        finally:
            self.control("DELETE", "/_lab/denials")

    @contextmanager
    def endpoint_away(self, address: str, how: Literal["refused", "unheard"] = "refused") -> Iterator[None]:
        """Whoever calls from an address finds no AWS endpoint until the block ends, and then everybody does."""
        self.control("POST", "/_lab/outages", {"address": address, "how": how})
        try:
            yield
        finally:
            self.control("DELETE", "/_lab/outages")

    @contextmanager
    def knobs(self, **changes: object) -> Iterator[None]:
        """The stand-in behaves so (``docs/standin-aws.md``) until the block ends."""
        before = self.control("GET", "/_lab/knobs")
        self.control("POST", "/_lab/knobs", changes)
        try:
            yield
        finally:
            self.control("POST", "/_lab/knobs", {name: before[name] for name in changes})

    def _last_free_index(self, instance_id: str, present: list[dict[str, Any]]) -> int:
        [reservation] = self.ec2("describe_instances", InstanceIds=[instance_id])["Reservations"]
        kind = reservation["Instances"][0]["InstanceType"]
        [described] = self.ec2("describe_instance_types", InstanceTypes=[kind])["InstanceTypes"]
        size = int(described["NetworkInfo"]["NetworkCards"][0]["MaximumNetworkInterfaces"])
        free = set(range(size)) - {index for card, index in map(_slot, present) if card == 0}
        if not free:
            raise LabError(f"instance {instance_id} ({kind}) has {len(present)} ENIs already, {size} fit on card 0")
        return max(free)

    def _named(self, method: str, key: str, name: str) -> dict[str, Any]:
        found = self.ec2(method, Filters=[{"Name": "tag:Name", "Values": [name]}])[key]
        if not found:
            raise LabError(f"{method}: nothing is called {name!r}")
        described: dict[str, Any] = found[0]
        return described


def _slot(eni: Mapping[str, Any]) -> tuple[int, int]:
    return eni["Attachment"].get("NetworkCardIndex", 0), eni["Attachment"]["DeviceIndex"]
