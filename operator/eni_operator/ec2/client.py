"""The EC2 API through aiobotocore: the only module of the product that imports the SDK.

Makes calls and turns their answers and failures into our values; decides nothing. One session and one client for a
process. Counterpart of the protocol in ``ec2.api``.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
)

from eni_crds.names import TAG_CLUSTER, TAG_INSTANCE
from eni_operator.domain.eni import AttachmentId, Eni, EniId, InstanceId, SecurityGroupId, SubnetId
from eni_operator.domain.instance import InstanceLimits, Reservation, Subnet
from eni_operator.ec2 import replies
from eni_operator.ec2.api import MANY, Assigned, EniRequest, InstanceFacts, VpcBlocks
from eni_operator.ec2.errors import CredentialsMissingError, Ec2Error, Ec2UnavailableError, ThrottledError, classify
from eni_operator.ec2.throttle import Throttle, Urgency, not_urgent

PAGE_SIZE: Final = 100
"""ENIs in a page: 100 parse in about 20 ms, 1000 would hold the event loop for a quarter of a second. Never unset:
without it EC2 takes the call as unpaginated, which large accounts are refused."""
CONNECTIONS: Final = 64
"""Calls on the wire at once: what the rates of all APIs give at about a second a call. Opened as they are needed."""
_CREDENTIAL_ERRORS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    NoAuthTokenError,
    FileNotFoundError,  # the web identity's token; nothing else of a call is a file
    PermissionError,
)

_UNATTACHED: Final = ("available", "pending")

Filters = Mapping[str, Sequence[str]]
"""EC2's: every name must fit, one value of each name does."""


class Answered(NamedTuple):
    """How a call went."""

    operation: str
    """The API."""
    failure: Ec2Error | None
    status: int
    """HTTP status; 0: no answer came."""
    seconds: float


Observer = Callable[[Answered], None]
"""Told of every call."""
LineObserver = Callable[[str, float], None]
"""Told of every call before it is made: its API and the seconds it stood in line."""


def _ignore(*_: object) -> None:
    """Observes nothing."""


class Ec2Client:
    """Implements ``Ec2Api``. Safe for concurrent tasks of one event loop.

    No call is retried here: AssignPrivateIpAddresses has no client token, so a repeat after a lost answer may assign
    twice, and only the reconcile loop can ask EC2 in between.
    """

    def __init__(
        self,
        sdk: Any,
        throttle: Throttle,
        observe: Observer = _ignore,
        queued: LineObserver = _ignore,
        urgency: Urgency = not_urgent,
    ) -> None:
        self._sdk = sdk
        self._throttle = throttle
        self._observe = observe
        self._queued = queued
        self._urgency = urgency

    def for_pool(self, urgency: Urgency) -> "Ec2Client":
        """Returns a client on the same connections and in the same lines, whose calls are as urgent as that says."""
        return Ec2Client(self._sdk, self._throttle, self._observe, self._queued, urgency)

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        async with self._throttle.turn(operation, self._urgency) as waited:
            self._queued(operation, waited)
            return await self._send(operation, parameters)

    async def _send(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        failure: Ec2Error | None = None
        status = HTTPStatus.OK.value
        try:
            reply: dict[str, Any] = await self._sdk._make_api_call(operation, parameters)  # noqa: SLF001 - what every generated method calls; lets us keep to EC2's own names
        except (ClientError, BotoCoreError, OSError, TimeoutError) as error:
            failure, status = _translate(operation, error), _status(error)
            if isinstance(failure, ThrottledError) and failure.operation == operation:  # it may be STS's refusal
                self._throttle.refused(operation)
            raise failure from error
        finally:
            self._observe(Answered(operation, failure, status, time.monotonic() - began))
        return reply

    async def _pages(self, operation: str, key: str, **parameters: Any) -> AsyncIterator[list[dict[str, Any]]]:
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            reply = await self._call(operation, MaxResults=PAGE_SIZE, **parameters, **more)
            yield reply.get(key, [])
            token = reply.get("NextToken")
            if not token:
                return

    async def _all(self, operation: str, key: str, **parameters: Any) -> list[dict[str, Any]]:
        return [item async for page in self._pages(operation, key, **parameters) for item in page]

    async def _eni_pages(self, filters: Filters) -> AsyncIterator[list[Eni]]:
        async for page in self._pages("DescribeNetworkInterfaces", "NetworkInterfaces", Filters=_wire(filters)):
            yield [replies.eni(item) for item in page]

    async def _enis(self, filters: Filters) -> list[Eni]:
        return [eni async for page in self._eni_pages(filters) for eni in page]

    async def describe_instances(self, instance_ids: Sequence[InstanceId]) -> list[InstanceFacts]:
        """Returns the facts of those of the instances that EC2 knows; at most ``MANY``. Terminated ones have none."""
        found = await self._all("DescribeInstances", "Reservations", Filters=_wire({"instance-id": instance_ids}))
        items = (item for reservation in found for item in reservation.get("Instances", []))
        return [replies.instance(item) for item in items if "VpcId" in item]

    async def describe_limits(self, instance_type: str) -> InstanceLimits:
        """Returns what the type can hold; UnknownInstanceTypeError when EC2 does not know it."""
        reply = await self._call("DescribeInstanceTypes", InstanceTypes=[instance_type])
        found = reply.get("InstanceTypes", [])
        if not found:
            raise classify("DescribeInstanceTypes", "InvalidInstanceType", f"no instance type {instance_type}")
        return replies.limits(found[0])

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        """Returns those of the subnets that exist."""
        return await self._subnets({"subnet-id": subnet_ids})

    async def find_subnets(self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None) -> list[Subnet]:
        """Returns the VPC's subnets in a zone (any: empty) with all these tags; an empty value matches any."""
        asked = tags or {}
        keys = [key for key, value in asked.items() if not value]
        filters = {f"tag:{key}": [value] for key, value in asked.items() if value} | {"vpc-id": [vpc_id]}
        if zone:
            filters["availability-zone"] = [zone]
        if keys:
            filters["tag-key"] = keys[:1]  # with several keys EC2 returns what has any of them
        return [subnet for subnet in await self._subnets(filters) if subnet.tags.keys() >= set(keys)]

    async def _subnets(self, filters: Filters) -> list[Subnet]:
        return [replies.subnet(item) for item in await self._all("DescribeSubnets", "Subnets", Filters=_wire(filters))]

    async def describe_reservations(self, subnet_id: SubnetId) -> tuple[Reservation, ...]:
        """Returns the IPv4 reservations of a subnet."""
        found = await self._all("GetSubnetCidrReservations", "SubnetIpv4CidrReservations", SubnetId=subnet_id)
        return tuple(replies.reservation(item) for item in found)

    async def describe_vpc(self, vpc_id: str) -> VpcBlocks:
        """Returns the VPC's blocks."""
        [vpc] = (await self._call("DescribeVpcs", VpcIds=[vpc_id]))["Vpcs"]
        return replies.vpc_blocks(vpc)

    async def describe_attached(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns every ENI attached to, attaching to or detaching from one of the instances, ours or not."""
        return await self._enis({"attachment.instance-id": instance_ids})

    async def describe_available(self, instance_ids: Sequence[InstanceId]) -> list[Eni]:
        """Returns unattached ENIs that carry our instance tag with one of these ids."""
        room = MANY - len(_UNATTACHED)
        parts = [instance_ids[start : start + room] for start in range(0, len(instance_ids), room)]
        found = [await self._enis({f"tag:{TAG_INSTANCE}": part, "status": _UNATTACHED}) for part in parts]
        return [eni for enis in found for eni in enis]

    async def available_pages(self, vpc_id: str, cluster_name: str) -> AsyncIterator[list[Eni]]:
        """Yields page by page the VPC's unattached ENIs that carry our instance tag, whoever's id it names."""
        filters = {"vpc-id": [vpc_id], "status": ["available"], "tag-key": [TAG_INSTANCE]}
        if cluster_name:
            filters[f"tag:{TAG_CLUSTER}"] = [cluster_name]
        async for page in self._eni_pages(filters):
            yield page

    async def create_eni(self, request: EniRequest) -> Eni:
        """Creates an ENI with its addresses or prefixes and tags; the same token gives the same ENI again."""
        amounts = {"SecondaryPrivateIpAddressCount": request.addresses, "Ipv4PrefixCount": request.prefixes}
        amounts["Ipv6PrefixCount"] = request.ipv6_prefixes
        reply = await self._call(
            "CreateNetworkInterface",
            SubnetId=request.subnet_id,
            Groups=list(request.security_groups),
            Description=request.description,
            ClientToken=request.client_token,
            TagSpecifications=[{"ResourceType": "network-interface", "Tags": _tag_list(request.tags)}],
            **{name: count for name, count in amounts.items() if count},
        )
        return replies.eni(reply["NetworkInterface"])

    async def attach_eni(
        self, eni_id: EniId, instance_id: InstanceId, device_index: int, network_card: int = 0
    ) -> AttachmentId:
        """Names the card always, because EC2 misjudges the slot on types with several cards otherwise."""
        reply = await self._call(
            "AttachNetworkInterface",
            NetworkInterfaceId=eni_id,
            InstanceId=instance_id,
            DeviceIndex=device_index,
            NetworkCardIndex=network_card,
        )
        return AttachmentId(reply["AttachmentId"])

    async def set_delete_on_termination(self, eni_id: EniId, attachment_id: AttachmentId) -> None:
        """Lets the ENI die with its instance."""
        attachment = {"AttachmentId": attachment_id, "DeleteOnTermination": True}
        await self._call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni_id, Attachment=attachment)

    async def detach_eni(self, attachment_id: AttachmentId) -> None:
        """Starts detaching; EC2 needs seconds to finish."""
        await self._call("DetachNetworkInterface", AttachmentId=attachment_id)

    async def delete_eni(self, eni_id: EniId) -> None:
        """Deletes an unattached ENI; BusyError while it is still in use."""
        await self._call("DeleteNetworkInterface", NetworkInterfaceId=eni_id)

    async def assign(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> Assigned:
        """Assigns so many addresses or prefixes, all or none; not idempotent."""
        amount = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {"Ipv4PrefixCount": prefixes}
        return replies.assigned(await self._call("AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, **amount))

    async def assign_ipv6_prefix(self, eni_id: EniId) -> Assigned:
        """Assigns one /80; not idempotent."""
        return replies.assigned(await self._call("AssignIpv6Addresses", NetworkInterfaceId=eni_id, Ipv6PrefixCount=1))

    async def set_security_groups(self, eni_id: EniId, security_groups: Sequence[SecurityGroupId]) -> None:
        """Replaces an ENI's groups; UnknownSecurityGroupError when there is none of that id in the VPC."""
        await self._call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni_id, Groups=list(security_groups))

    async def set_tags(self, eni_id: EniId, tags: Mapping[str, str]) -> None:
        """Adds or changes tags of an ENI."""
        await self._call("CreateTags", Resources=[eni_id], Tags=_tag_list(tags))

    async def unassign(self, eni_id: EniId, *, addresses: Sequence[str] = (), prefixes: Sequence[str] = ()) -> None:
        """Gives addresses and prefixes back; NotAssignedError when one is not there."""
        amounts = {"PrivateIpAddresses": list(addresses), "Ipv4Prefixes": list(prefixes)}
        given = {name: values for name, values in amounts.items() if values}
        await self._call("UnassignPrivateIpAddresses", NetworkInterfaceId=eni_id, **given)


def _wire(filters: Filters) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)} for name, values in filters.items()]


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _translate(operation: str, error: Exception) -> Ec2Error:
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        called = error.operation_name or operation
        return classify(called, str(answer.get("Code", "")), str(answer.get("Message", "")), _status(error))
    if isinstance(error, _CREDENTIAL_ERRORS):
        return CredentialsMissingError(operation, detail=str(error))
    return Ec2UnavailableError(operation, detail=str(error) or type(error).__name__)


def _status(error: Exception) -> int:
    """Returns the HTTP status; 0: no answer came."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", HTTPStatus.BAD_REQUEST))


@asynccontextmanager
async def open_client(
    throttle: Throttle,
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    read_timeout_seconds: float = 10,
    observe: Observer = _ignore,
    queued: LineObserver = _ignore,
) -> AsyncIterator[Ec2Client]:
    """Opens the process's client; region, endpoint and credentials come from the environment where not given.

    An answer that takes longer than ``read_timeout_seconds`` is ``Ec2UnavailableError``: the effect is unknown.

    With ``AWS_DATA_PATH`` pointing at what ``ec2.model`` wrote, the client costs 2 MB instead of 24.
    """
    config = AioConfig(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=3,
        read_timeout=read_timeout_seconds,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        user_agent_extra=f"eni-operator/{version('eni-operator')}",
        warm_up_loader_caches=True,
    )
    session = get_session()
    async with session.create_client("ec2", region_name=region, endpoint_url=endpoint_url, config=config) as sdk:
        yield Ec2Client(sdk, throttle, observe, queued)
