"""EC2's answers, already parsed into dictionaries by the SDK, made into our values.

Decides nothing but which fields matter. ``Attachment`` may be absent from an ENI that looks in use, and sets come in no
promised order: both are allowed for here, once.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    EniId,
    InstanceId,
    InterfaceType,
    SecurityGroupId,
    SubnetId,
)
from eni_operator.domain.instance import InstanceLimits, Reservation, ReservationKind, Subnet
from eni_operator.ec2.api import Assigned, InstanceFacts, VpcBlocks

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
        tags=_tags(item.get("TagSet", [])),
        ipv6_prefixes=tuple(prefix["Ipv6Prefix"] for prefix in item.get("Ipv6Prefixes", [])),
        interface_type=item.get("InterfaceType", InterfaceType.INTERFACE),
    )


def _tags(items: Iterable[Reply]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in items}


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
    """Reads an InstanceType."""
    network = item["NetworkInfo"]
    cards = _cards(network.get("NetworkCards", []))
    return InstanceLimits(
        enis=cards[0] if cards else network["MaximumNetworkInterfaces"],
        addresses_per_eni=network["Ipv4AddressesPerInterface"],
        prefixes=item.get("Hypervisor") == "nitro" or bool(item.get("BareMetal")),
        cards=cards,
    )


def _cards(items: Iterable[Reply]) -> tuple[int, ...]:
    """Returns the ENIs each card takes, by the card's index; zero for an index that EC2 leaves out."""
    by_index = {card.get("NetworkCardIndex", 0): int(card.get("MaximumNetworkInterfaces", 0)) for card in items}
    return tuple(by_index.get(index, 0) for index in range(max(by_index, default=-1) + 1))


def subnet(item: Reply) -> Subnet:
    """Reads a Subnet; of its IPv6 blocks the first associated one."""
    return Subnet(
        id=SubnetId(item["SubnetId"]),
        zone=item.get("AvailabilityZone", ""),
        cidr=item.get("CidrBlock", ""),
        free_addresses=item.get("AvailableIpAddressCount", 0),
        vpc_id=item.get("VpcId", ""),
        ipv6_cidr=next(iter(_associated_ipv6(item)), ""),
        tags=_tags(item.get("Tags", [])),
    )


def reservation(item: Reply) -> Reservation:
    """Reads a SubnetCidrReservation."""
    return Reservation(item["Cidr"], ReservationKind(item["ReservationType"]))


def vpc_blocks(item: Reply) -> VpcBlocks:
    """Reads a VPC's associated blocks, the first ones first."""
    ipv4 = _associated(item.get("CidrBlockAssociationSet", []), "CidrBlock")
    return VpcBlocks(ipv4 or (item["CidrBlock"],), _associated_ipv6(item))


def _associated_ipv6(item: Reply) -> tuple[str, ...]:
    return _associated(item.get("Ipv6CidrBlockAssociationSet", []), "Ipv6CidrBlock")


def _associated(items: Iterable[Reply], block: str) -> tuple[str, ...]:
    """Returns the blocks that are neither on their way in nor out; one without a state counts."""
    found = (item for item in items if item.get(f"{block}State", {}).get("State", "associated") == "associated")
    return tuple(item[block] for item in found)


def assigned(reply: Reply) -> Assigned:
    """Reads the answer of AssignPrivateIpAddresses or AssignIpv6Addresses, which lists the new ones only."""
    return Assigned(
        addresses=tuple(a["PrivateIpAddress"] for a in reply.get("AssignedPrivateIpAddresses", [])),
        prefixes=tuple(p["Ipv4Prefix"] for p in reply.get("AssignedIpv4Prefixes", [])),
        ipv6_prefixes=tuple(reply.get("AssignedIpv6Prefixes", [])),
    )
