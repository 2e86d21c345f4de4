"""ENIs as EC2 shows them, by themselves and inside an instance, and what their filters look at."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from eni_lab.aws.engine.listing import Filters, FilterValue
from eni_lab.aws.engine.model import OWNER_ID, Attachment, Eni
from eni_lab.aws.engine.region import Region
from eni_lab.aws.engine.security_groups import group_views
from eni_lab.aws.engine.tags import tag_list


def timestamp(moment: float) -> datetime:
    """Returns epoch seconds as EC2's time values."""
    return datetime.fromtimestamp(moment, UTC)


def private_dns_name(region: Region, address: str) -> str:
    """Returns the resource name AWS's resolver gives an address."""
    domain = "ec2.internal" if region.knobs.region == "us-east-1" else f"{region.knobs.region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"


def eni_view(region: Region, eni: Eni, moment: float) -> dict[str, Any]:
    """Returns an ENI as DescribeNetworkInterfaces shows it at a moment."""
    subnet = region.subnet(eni.subnet_id)
    return _common_view(region, eni, moment) | {
        "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": subnet.zone_id,
        "Attachment": _attachment_view(region, eni, moment),
        "RequesterId": f"{OWNER_ID}:stand-in",
        "RequesterManaged": False,
        "TagSet": tag_list(eni.tags),
    }


def instance_eni_view(region: Region, eni: Eni, moment: float) -> dict[str, Any]:
    """Returns an ENI as DescribeInstances shows it: without tags, and the attachment without its instance."""
    attachment = _attachment_view(region, eni, moment)
    if attachment is not None:
        attachment = {key: value for key, value in attachment.items() if not key.startswith("Instance")}
    return _common_view(region, eni, moment) | {"Attachment": attachment}


def status(region: Region, eni: Eni, moment: float) -> str:
    """Returns the ENI's Status."""
    if eni.attachment is not None:
        return "in-use"
    return "pending" if moment < eni.created + region.knobs.creating_seconds else "available"


def _common_view(region: Region, eni: Eni, moment: float) -> dict[str, Any]:
    return {
        "NetworkInterfaceId": eni.id,
        "SubnetId": eni.subnet_id,
        "VpcId": eni.vpc_id,
        "OwnerId": OWNER_ID,
        "Description": eni.description,
        "InterfaceType": eni.interface_type,
        "MacAddress": eni.mac,
        "Status": status(region, eni, moment),
        "SourceDestCheck": eni.source_dest_check,
        "PrivateIpAddress": eni.primary_ip or None,
        "PrivateDnsName": private_dns_name(region, eni.primary_ip) if eni.primary_ip else None,
        "PrivateIpAddresses": [
            {"PrivateIpAddress": address, "PrivateDnsName": private_dns_name(region, address), "Primary": not index}
            for index, address in enumerate(eni.ipv4_addresses)
        ],
        "Ipv4Prefixes": [{"Ipv4Prefix": prefix} for prefix in eni.prefixes] or None,
        "Ipv6Addresses": [{"Ipv6Address": address, "IsPrimaryIpv6": False} for address in eni.ipv6_addresses],
        "Ipv6Prefixes": [{"Ipv6Prefix": prefix} for prefix in eni.ipv6_prefixes] or None,
        "Groups": group_views(region, eni.groups),
    }


def _attachment_view(region: Region, eni: Eni, moment: float) -> dict[str, Any] | None:
    attachment = eni.attachment
    if attachment is None or _attachment_hidden(region, eni, moment):
        return None
    return {
        "AttachmentId": attachment.id,
        "AttachTime": timestamp(attachment.since),
        "DeleteOnTermination": attachment.delete_on_termination,
        "DeviceIndex": attachment.device_index,
        "NetworkCardIndex": attachment.network_card,
        "InstanceId": attachment.instance_id,
        "InstanceOwnerId": OWNER_ID,
        "Status": attachment.state(moment).value,
    }


def _attachment_hidden(region: Region, eni: Eni, moment: float) -> bool:
    assert eni.attachment is not None
    shown = eni.attachment.since + region.knobs.attachment_hidden_seconds
    return not eni.attachment.is_primary and moment < shown


def eni_filters(region: Region, moment: float) -> Filters[Eni]:
    """Returns what DescribeNetworkInterfaces can filter by, as of a moment."""

    def attachment(look: Callable[[Attachment], FilterValue]) -> Callable[[Eni], FilterValue]:
        def of_eni(eni: Eni) -> FilterValue:
            hidden = eni.attachment is None or _attachment_hidden(region, eni, moment)
            return None if hidden or eni.attachment is None else look(eni.attachment)

        return of_eni

    def names(eni: Eni) -> list[str]:
        return [private_dns_name(region, address) for address in eni.ipv4_addresses]

    return {
        **_CONSTANT,
        **_OF_THE_ENI,
        **{f"attachment.{name}": attachment(look) for name, look in _OF_THE_ATTACHMENT.items()},
        "attachment.status": attachment(lambda tie: tie.state(moment).value),
        "availability-zone": lambda eni: region.subnet(eni.subnet_id).zone,
        "availability-zone-id": lambda eni: region.subnet(eni.subnet_id).zone_id,
        "group-name": lambda eni: [group["GroupName"] for group in group_views(region, eni.groups)],
        "private-dns-name": names,
        "addresses.private-dns-name": names,
        "status": lambda eni: status(region, eni, moment),
    }


_OF_THE_ATTACHMENT: Mapping[str, Callable[[Attachment], FilterValue]] = {
    "attachment-id": lambda tie: tie.id,
    "delete-on-termination": lambda tie: tie.delete_on_termination,
    "device-index": lambda tie: tie.device_index,
    "instance-id": lambda tie: tie.instance_id,
    "instance-owner-id": lambda _: OWNER_ID,
    "network-card-index": lambda tie: tie.network_card,
}

_UNMODELLED = (
    *(f"{prefix}association.{name}" for prefix in ("", "addresses.") for name in ("owner-id", "public-ip")),
    *(f"association.{name}" for name in ("allocation-id", "association-id", "ip-owner-id", "public-dns-name")),
    "attachment.attach-time",
    "attachment.nat-gateway-id",
    "operator.managed",
    "operator.principal",
    "requester-id",
)
"""Known names that no ENI matches: public addresses, gateways and other AWS services are not modelled."""

_CONSTANT: Filters[Eni] = {
    **dict.fromkeys(_UNMODELLED, lambda _: None),
    "owner-id": lambda _: OWNER_ID,
    "requester-managed": lambda _: False,
}

_OF_THE_ENI: Filters[Eni] = {
    "addresses.primary": lambda eni: ["true", "false"][: len(eni.ipv4_addresses)],
    "addresses.private-ip-address": lambda eni: eni.ipv4_addresses,
    "description": lambda eni: eni.description,
    "group-id": lambda eni: eni.groups,
    "interface-type": lambda eni: eni.interface_type,
    "ipv6-addresses.ipv6-address": lambda eni: eni.ipv6_addresses,
    "mac-address": lambda eni: eni.mac,
    "network-interface-id": lambda eni: eni.id,
    "private-ip-address": lambda eni: eni.ipv4_addresses,
    "source-dest-check": lambda eni: eni.source_dest_check,
    "subnet-id": lambda eni: eni.subnet_id,
    "vpc-id": lambda eni: eni.vpc_id,
}
