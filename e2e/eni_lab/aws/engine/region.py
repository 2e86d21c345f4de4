"""The state of one Region: its resources, its time, and what will become true later by itself.

Only holds and finds; what a call may do is decided in the action modules. Counterpart: ``engine`` dispatches calls.
"""

import heapq
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from typing import Any, TypeVar

from eni_lab.aws.engine.addresses import SubnetPool
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.ipv6_addresses import Ipv6SubnetPool
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import CidrReservation, Eni, Instance, SecurityGroup, Subnet, Vpc
from eni_lab.aws.engine.table import Table, Term

Args = Mapping[str, Any]
"""A request: members of botocore's input shape."""

Reply = dict[str, Any]
"""An answer: members of botocore's output shape."""

Value = TypeVar("Value")

_ENI_ID = re.compile(r"eni-([0-9a-f]{8}|[0-9a-f]{17})")
_INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")


class Region:
    """Everything one account has in one Region."""

    def __init__(self, rng: random.Random, types: Mapping[str, InstanceType], knobs: Knobs, now: float) -> None:
        self.rng = rng
        self.types = types
        self.knobs = knobs
        self.now = now
        self.vpcs: Table[Vpc] = self._table()
        self.subnets: Table[Subnet] = self._table()
        self.groups: Table[SecurityGroup] = self._table()
        self.reservations: Table[CidrReservation] = self._table()
        self.enis: Table[Eni] = self._table(_terms_of_eni)
        self.instances: Table[Instance] = self._table(lambda instance: [("instance-id", instance.id)])
        self.pools: dict[str, SubnetPool] = {}
        self.ipv6_pools: dict[str, Ipv6SubnetPool] = {}
        self.client_tokens: dict[tuple[str, str], tuple[str, Any]] = {}
        self.metadata_items: dict[str, dict[str, str | None]] = {}
        """Scripted metadata by instance and path, such as a spot notice; None takes an item away."""
        self._due: list[tuple[float, int, Callable[[], None] | None]] = []
        self._sequence = count()
        self._elapsed = 0

    def _table(self, terms: Callable[[Any], Iterable[Term]] = lambda _: ()) -> Table[Any]:
        return Table(lambda: self.now, lambda: self.knobs.longest_lag, terms)

    # --- time

    @property
    def version(self) -> int:
        """Counts changes of resources and the moments at which something became true by itself."""
        tables = (self.vpcs, self.subnets, self.groups, self.reservations, self.enis, self.instances)
        return self._elapsed + sum(table.changes for table in tables)

    def later(self, moment: float, effect: Callable[[], None] | None = None) -> None:
        """Arranges an effect for a moment; without one, the moment is when a view changes by itself."""
        heapq.heappush(self._due, (moment, next(self._sequence), effect))

    def advance(self, now: float) -> None:
        """Lets time pass: performs what is due, each at its own moment."""
        while self._due and self._due[0][0] <= now:
            moment, _, effect = heapq.heappop(self._due)
            self.now = max(self.now, moment)
            self._elapsed += 1
            if effect is not None:
                effect()
        self.now = max(self.now, now)

    @property
    def seen(self) -> float:
        """Returns the moment as of which Describe answers."""
        return self.now - self.knobs.describe_lag_seconds

    # --- making

    def new_id(self, kind: str) -> str:
        """Returns a fresh id such as ``eni-0123456789abcdef0``."""
        return f"{kind}-0{self.rng.getrandbits(64):016x}"

    def add_subnet(self, subnet: Subnet) -> None:
        """Adds a subnet with all of its addresses free."""
        self.subnets.put(subnet.id, subnet)
        self.pools[subnet.id] = SubnetPool(IPv4Network(subnet.cidr), self.rng)
        if subnet.ipv6_cidr is not None:
            self.ipv6_pools[subnet.id] = Ipv6SubnetPool(IPv6Network(subnet.ipv6_cidr.cidr), self.rng)

    # --- finding

    def eni(self, eni_id: str) -> Eni:
        """Returns an ENI a mutation names."""
        require_eni_id(eni_id)
        eni = self.enis.get(eni_id)
        if eni is None or self.now < eni.created + self.knobs.visible_after_seconds:
            raise eni_not_found(eni_id)
        return eni

    def eni_of_attachment(self, attachment_id: str) -> Eni:
        """Returns the ENI an attachment belongs to."""
        for eni in self.enis.find("attachment.attachment-id", attachment_id):
            return eni
        raise attachment_not_found(attachment_id)

    def enis_of(self, instance_id: str) -> list[Eni]:
        """Returns the ENIs of an instance, by card and device index."""
        return sorted(self.enis.find("attachment.instance-id", instance_id), key=slot_of)

    def subnet(self, subnet_id: str) -> Subnet:
        """Returns a subnet by id."""
        text = f"The subnet ID '{subnet_id}' does not exist"
        return _found(self.subnets.get(subnet_id), "InvalidSubnetID.NotFound", text)

    def vpc(self, vpc_id: str) -> Vpc:
        """Returns a VPC by id."""
        return _found(self.vpcs.get(vpc_id), "InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")

    def instance(self, instance_id: str) -> Instance:
        """Returns an instance by id."""
        require_instance_id(instance_id)
        text = f"The instance ID '{instance_id}' does not exist"
        return _found(self.instances.get(instance_id), "InvalidInstanceID.NotFound", text)

    def group(self, group_id: str) -> SecurityGroup:
        """Returns a security group by id."""
        text = f"The securityGroup ID '{group_id}' does not exist"
        return _found(self.groups.get(group_id), "InvalidSecurityGroupID.NotFound", text)

    def instance_type(self, name: str) -> InstanceType:
        """Returns an instance type by name."""
        text = f"The following supplied instance types do not exist: [{name}]"
        return _found(self.types.get(name), "InvalidInstanceType", text)


def _terms_of_eni(eni: Eni) -> Iterator[Term]:
    """Yields what ENIs are found by, under the names of DescribeNetworkInterfaces' filters."""
    yield "mac-address", eni.mac
    yield from ((f"tag:{key}", value) for key, value in eni.tags.items())
    if eni.attachment is not None:
        yield "attachment.attachment-id", eni.attachment.id
        yield "attachment.instance-id", eni.attachment.instance_id


def slot_of(eni: Eni) -> tuple[int, int]:
    """Returns (network card, device index) of an attached ENI."""
    assert eni.attachment is not None
    return eni.attachment.network_card, eni.attachment.device_index


def require_eni_id(eni_id: str) -> None:
    """Raises what EC2 answers for an id of another shape."""
    if not _ENI_ID.fullmatch(eni_id):
        raise Ec2Error("InvalidNetworkInterfaceId.Malformed", f'Invalid id: "{eni_id}"')


def require_instance_id(instance_id: str) -> None:
    """Raises what EC2 answers for an id of another shape."""
    if not _INSTANCE_ID.fullmatch(instance_id):
        raise Ec2Error("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')


def eni_not_found(eni_id: str) -> Ec2Error:
    """Returns the error for an ENI that is not (or not yet) there."""
    text = f"The networkInterface ID '{eni_id}' does not exist"
    return Ec2Error("InvalidNetworkInterfaceID.NotFound", text)


def attachment_not_found(attachment_id: str) -> Ec2Error:
    """Returns the error for an attachment that is not there."""
    text = f"The network interface attachment ID '{attachment_id}' does not exist."
    return Ec2Error("InvalidAttachmentID.NotFound", text)


def _found(value: Value | None, code: str, text: str) -> Value:
    if value is None:
        raise Ec2Error(code, text)
    return value
