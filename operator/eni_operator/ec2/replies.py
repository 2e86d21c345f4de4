"""EC2's answers, already parsed into dictionaries by the SDK, made into our values.

Decides nothing but which fields matter. ``Attachment`` may be absent from an ENI that looks in use, and sets come in no
promised order: both are allowed for here, once.
"""

from collections.abc import Mapping
from typing import Any

from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    EniId,
    InstanceId,
    SecurityGroupId,
    SubnetId,
)
from eni_operator.domain.instance import InstanceLimits, Subnet
from eni_operator.ec2.api import Assigned, InstanceFacts

Reply = Mapping[str, Any]


def eni(item: Reply) -> Eni:
    """Reads a NetworkInterface."""
    return Eni(
        id=EniId(item["NetworkInterfaceId"]),
        mac=item.get("MacAddress", ""),
        subnet_id=SubnetId(item["SubnetId"]),
        primary_ip=item.get("PrivateIpAddress", ""),
        security_groups=tuple(SecurityGroupId(group["GroupId"]) for group in item.get("Groups", [])),
        addresses=tuple(a["PrivateIpAddress"] for a in item.get("PrivateIpAddresses", []) if not a.get("Primary")),
        prefixes=tuple(prefix["Ipv4Prefix"] for prefix in item.get("Ipv4Prefixes", [])),
        attachment=attachment(item.get("Attachment")),
        description=item.get("Description", ""),
        tags={tag["Key"]: tag["Value"] for tag in item.get("TagSet", [])},
    )


def attachment(item: Reply | None) -> Attachment | None:
    """Reads an ENI's attachment; None where there is none or it is over."""
    if not item or item.get("Status") == AttachmentState.DETACHED or "AttachmentId" not in item:
        return None
    return Attachment(
        id=AttachmentId(item["AttachmentId"]),
        instance_id=InstanceId(item.get("InstanceId", "")),
        device_index=item.get("DeviceIndex", 0),
        network_card=item.get("NetworkCardIndex", 0),
        state=AttachmentState(item.get("Status", AttachmentState.ATTACHING)),
        delete_on_termination=item.get("DeleteOnTermination", False),
    )


def instance(item: Reply) -> InstanceFacts:
    """Reads an Instance; the security groups are those of device 0 on card 0, which new ENIs inherit."""
    primary: Reply = next((e for e in item.get("NetworkInterfaces", []) if _is_primary(e.get("Attachment", {}))), {})
    return InstanceFacts(
        id=InstanceId(item["InstanceId"]),
        type=item["InstanceType"],
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        vpc_id=item["VpcId"],
        subnet_id=SubnetId(primary.get("SubnetId", item["SubnetId"])),
        security_groups=tuple(
            SecurityGroupId(group["GroupId"]) for group in primary.get("Groups", item.get("SecurityGroups", []))
        ),
    )


def _is_primary(item: Reply) -> bool:
    return (item.get("DeviceIndex"), item.get("NetworkCardIndex", 0)) == (0, 0)


def limits(item: Reply) -> InstanceLimits:
    """Reads an InstanceType; of its network cards only card 0 counts, for we attach nowhere else."""
    network = item["NetworkInfo"]
    card: Reply = next((c for c in network.get("NetworkCards", []) if c.get("NetworkCardIndex") == 0), {})
    return InstanceLimits(
        enis=card.get("MaximumNetworkInterfaces", network["MaximumNetworkInterfaces"]),
        addresses_per_eni=network["Ipv4AddressesPerInterface"],
        prefixes=item.get("Hypervisor") == "nitro" or bool(item.get("BareMetal")),
    )


def subnet(item: Reply) -> Subnet:
    """Reads a Subnet."""
    return Subnet(
        id=SubnetId(item["SubnetId"]),
        zone=item.get("AvailabilityZone", ""),
        cidr=item["CidrBlock"],
        free_addresses=item["AvailableIpAddressCount"],
    )


def vpc_cidrs(item: Reply) -> list[str]:
    """Reads a VPC's associated IPv4 blocks, the first one first."""
    blocks = [
        block["CidrBlock"]
        for block in item.get("CidrBlockAssociationSet", [])
        if block.get("CidrBlockState", {}).get("State", "associated") == "associated"
    ]
    return blocks or [item["CidrBlock"]]


def assigned(reply: Reply) -> Assigned:
    """Reads the answer of AssignPrivateIpAddresses, which lists the new ones only."""
    return Assigned(
        addresses=tuple(a["PrivateIpAddress"] for a in reply.get("AssignedPrivateIpAddresses", [])),
        prefixes=tuple(p["Ipv4Prefix"] for p in reply.get("AssignedIpv4Prefixes", [])),
    )
