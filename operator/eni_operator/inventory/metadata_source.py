"""The instance as its metadata service tells it, where no EC2 call may be made: ENABLE_IMDS_ONLY_MODE.

Tells facts, ENIs, subnets and blocks; knows no tags, no interface types, no unattached ENIs, no free addresses and no
limits (``inventory.instance_types`` has a table of its own). Counterpart: ``ec2.client``, which tells all of it.
Paths: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    InstanceId,
    SubnetId,
)
from eni_operator.domain.instance import InstanceLimits, Reservation, Subnet
from eni_operator.ec2.api import InstanceFacts, VpcBlocks
from eni_operator.ec2.errors import DeniedError, Ec2UnavailableError, UnknownInstanceTypeError
from eni_operator.inventory import metadata
from eni_operator.inventory.metadata import Metadata, MetadataError

RESYNC_SECONDS: Final = 60.0
"""Nothing else tells of changes in this mode, and asking costs no EC2 call: VPC CNI's own interval."""
CONFIRM_SECONDS: Final = 300.0
"""Metadata can lack ENIs and addresses for minutes; what an answer lacks is believed for so long."""

_MACS: Final = "network/interfaces/macs/"
_WORD: Final = metadata.matching(r"[a-z0-9-]+")
_TYPE: Final = metadata.matching(r"[a-z0-9-]+\.[a-z0-9-]+")
_VPC: Final = metadata.matching(r"vpc-[0-9a-f]+")

Value = TypeVar("Value")


class MetadataSource:
    """Implements ``InstanceSource`` for the instance this process runs on, and for no other."""

    def __init__(self, service: Metadata) -> None:
        self._service = service

    async def describe_instances(self, instance_ids: Sequence[InstanceId]) -> list[InstanceFacts]:
        """Returns the facts of this instance, if it is asked for."""
        own = InstanceId(await self._item("instance-id", metadata.matching(r"i-[0-9a-f]+")))
        primary = _folder(await self._item("mac", metadata.mac))
        facts = InstanceFacts(
            id=own,
            type=await self._item("instance-type", _TYPE),
            zone=await self._item("placement/availability-zone", _WORD),
            vpc_id=await self._item(primary + "vpc-id", _VPC),
            subnet_id=await self._item(primary + "subnet-id", metadata.subnet_id),
            security_groups=await self._items(primary + "security-group-ids", metadata.security_group),
        )
        return [facts] if own in instance_ids else []

    async def describe_attached(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns the ENIs whose links are up."""
        [instance_id] = instance_ids
        primary = await self._item("mac", metadata.mac)
        enis = [await self._eni(instance_id, mac, primary) for mac in await self._items(_MACS, metadata.mac)]
        return [eni for eni in enis if eni is not None]

    async def _eni(self, instance_id: InstanceId, mac: str, primary: str) -> Eni | None:
        folder = _folder(mac)
        ids = await self._items(folder + "interface-id", metadata.eni_id)
        if not ids:  # it left while we asked
            return None
        addresses = await self._items(folder + "local-ipv4s", metadata.address)
        return Eni(
            id=ids[0],
            mac=mac,
            subnet_id=await self._item(folder + "subnet-id", metadata.subnet_id),
            primary_ip=addresses[0] if addresses else "",
            security_groups=await self._items(folder + "security-group-ids", metadata.security_group),
            addresses=addresses[1:],
            prefixes=await self._items(folder + "ipv4-prefix", metadata.cidr),
            ipv6_prefixes=await self._items(folder + "ipv6-prefix", metadata.cidr),
            attachment=await self._attachment(instance_id, folder, is_primary=mac == primary),
        )

    async def _attachment(self, instance_id: InstanceId, folder: str, *, is_primary: bool) -> Attachment:
        """The primary ENI's device number may be told wrong; its id is never told, and nothing is detached by it."""
        device_index = 0 if is_primary else await self._item(folder + "device-number", metadata.number)
        cards = await self._items(folder + "network-card", metadata.number)
        return Attachment(
            id=AttachmentId(""),
            instance_id=instance_id,
            device_index=device_index,
            network_card=cards[0] if cards and not is_primary else 0,
            state=AttachmentState.ATTACHED,
            delete_on_termination=True,
        )

    async def describe_available(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:  # noqa: ARG002 - the protocol's
        """Returns nothing: metadata shows what is attached."""
        return []

    async def describe_limits(self, instance_type: str) -> InstanceLimits:
        """Raises UnknownInstanceTypeError: metadata does not tell."""
        raise UnknownInstanceTypeError("the metadata service", detail=f"it does not tell the limits of {instance_type}")

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        """Returns those of the subnets that an ENI of this instance is in; their free addresses are not known."""
        zone = await self._item("placement/availability-zone", _WORD)
        found: dict[SubnetId, Subnet] = {}
        for mac in await self._items(_MACS, metadata.mac):
            for subnet_id in await self._items(_folder(mac) + "subnet-id", metadata.subnet_id):
                if subnet_id in subnet_ids and subnet_id not in found:
                    found[subnet_id] = await self._subnet(subnet_id, _folder(mac), zone)
        return list(found.values())

    async def _subnet(self, subnet_id: SubnetId, folder: str, zone: str) -> Subnet:
        ipv6 = await self._items(folder + "subnet-ipv6-cidr-blocks", metadata.cidr)
        return Subnet(
            id=subnet_id,
            zone=zone,
            cidr=await self._item(folder + "subnet-ipv4-cidr-block", metadata.cidr),
            free_addresses=0,
            vpc_id=await self._item(folder + "vpc-id", _VPC),
            ipv6_cidr=ipv6[0] if ipv6 else "",
        )

    async def find_subnets(self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None) -> list[Subnet]:  # noqa: ARG002 - the protocol's
        """Returns nothing: no ENI is made in this mode."""
        return []

    async def describe_reservations(self, subnet_id: SubnetId) -> tuple[Reservation, ...]:
        """Raises DeniedError: metadata does not tell, however often it is asked."""
        raise DeniedError("the metadata service", detail=f"it does not tell the reservations of {subnet_id}")

    async def describe_vpc(self, vpc_id: str) -> VpcBlocks:  # noqa: ARG002 - an instance has one
        """Returns the blocks of the instance's VPC."""
        folder = _folder(await self._item("mac", metadata.mac))
        return VpcBlocks(
            ipv4=await self._items(folder + "vpc-ipv4-cidr-blocks", metadata.cidr),
            ipv6=await self._items(folder + "vpc-ipv6-cidr-blocks", metadata.cidr),
        )

    async def _item(self, path: str, parse: Callable[[str], Value]) -> Value:
        with _told_as_ec2_would():
            return await self._service.item(path, parse)

    async def _items(self, path: str, parse: Callable[[str], Value]) -> tuple[Value, ...]:
        with _told_as_ec2_would():
            return await self._service.items(path, parse)


def _folder(mac: str) -> str:
    return f"{_MACS}{mac}/"


@contextmanager
def _told_as_ec2_would() -> Iterator[None]:
    try:
        yield
    except MetadataError as error:
        raise Ec2UnavailableError("the metadata service", detail=str(error)) from error
