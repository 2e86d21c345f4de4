"""Instances of some types, and ENIs on them, as the planner is shown them."""

from collections.abc import Mapping

from eni_crds.names import TAG_INSTANCE
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
from eni_operator.domain.instance import Instance, InstanceLimits, Subnet

SUBNET = Subnet(SubnetId("subnet-1"), "eu-1a", "10.0.0.0/16", free_addresses=60000)
GROUP = SecurityGroupId("sg-1")

LIMITS: Mapping[str, tuple[InstanceLimits, int]] = {
    "t2.micro": (InstanceLimits(enis=2, addresses_per_eni=2, prefixes=False), 4),
    "t3.small": (InstanceLimits(enis=3, addresses_per_eni=4, prefixes=True), 110),
    "m5.large": (InstanceLimits(enis=3, addresses_per_eni=10, prefixes=True), 110),
    "c5.xlarge": (InstanceLimits(enis=4, addresses_per_eni=15, prefixes=True), 58),
    "p3dn.24xlarge": (InstanceLimits(enis=15, addresses_per_eni=50, prefixes=True), 737),
}
"""Limits of some types as DescribeInstanceTypes tells them, and the most pods of their nodes."""


def instance_of(type_: str) -> Instance:
    """Returns an instance of this type, named after it."""
    limits, pods = LIMITS[type_]
    return Instance(InstanceId("i-1"), type_, "eu-1a", "vpc-1", SUBNET.id, (GROUP,), limits, pods)


def attachment_of(
    instance: Instance, device_index: int, state: AttachmentState = AttachmentState.ATTACHED, *, card: int = 0
) -> Attachment:
    """Returns an attachment that dies with its instance."""
    return Attachment(
        id=AttachmentId(f"attach-{card}-{device_index}" if card else f"attach-{device_index}"),
        instance_id=instance.id,
        device_index=device_index,
        network_card=card,
        state=state,
        delete_on_termination=True,
    )


def attached(
    instance: Instance,
    device_index: int,
    *,
    addresses: int = 0,
    prefixes: int = 0,
    tags: Mapping[str, str] | None = None,
    subnet: Subnet = SUBNET,
    card: int = 0,
) -> Eni:
    """Returns an attached ENI of ours: addresses from 10.0.<index>.10 on, prefixes from 10.1.<index>.0 on.

    On other cards than 0 the second number is higher by ten for each.
    """
    net = 10 * card
    return Eni(
        id=EniId(f"eni-{card}-{device_index}" if card else f"eni-{device_index}"),
        mac=f"02:00:00:00:{card:02x}:{device_index:02x}",
        subnet_id=subnet.id,
        primary_ip=f"10.{net}.{device_index}.4",
        addresses=tuple(f"10.{net}.{device_index}.{10 + n}" for n in range(addresses)),
        prefixes=tuple(f"10.{net + 1}.{device_index}.{16 * n}/28" for n in range(prefixes)),
        attachment=attachment_of(instance, device_index, card=card),
        tags={TAG_INSTANCE: instance.id} if tags is None else tags,
    )


def cidrs_of(eni: Eni) -> tuple[str, ...]:
    """Returns what pods may have of an ENI."""
    return (*(f"{address}/32" for address in eni.addresses), *eni.prefixes)
