"""The stand-in's EC2: takes a call, answers as EC2 would, and tells the fabric which links exist.

Synchronous and free of I/O; time comes from the clock it is given, and what takes time is resolved when somebody looks.
Counterparts: ``eni_lab.aws.http`` puts it on the wire, ``eni_lab.fabric`` reads ``ports``.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from eni_lab.aws.engine import (
    assignment,
    attachments,
    attributes,
    enis,
    images,
    instances,
    launch,
    reservations,
    security_groups,
    subnets,
    tags,
    type_listing,
    vpcs,
)
from eni_lab.aws.engine.access import Access
from eni_lab.aws.engine.caller import IN_PROCESS, Caller
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import Eni, Instance, InstanceState
from eni_lab.aws.engine.ports import Port
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.throttle import Throttle

ACTIONS: Mapping[str, Callable[[Region, Args], Reply]] = {
    "AssignIpv6Addresses": assignment.assign_ipv6_addresses,
    "AssignPrivateIpAddresses": assignment.assign_private_ip_addresses,
    "AssociateVpcCidrBlock": vpcs.associate_vpc_cidr_block,
    "AttachNetworkInterface": attachments.attach_network_interface,
    "CreateNetworkInterface": enis.create_network_interface,
    "CreateSecurityGroup": security_groups.create_security_group,
    "CreateSubnet": subnets.create_subnet,
    "CreateSubnetCidrReservation": reservations.create_subnet_cidr_reservation,
    "CreateTags": tags.create_tags,
    "CreateVpc": vpcs.create_vpc,
    "DeleteNetworkInterface": enis.delete_network_interface,
    "DeleteSubnetCidrReservation": reservations.delete_subnet_cidr_reservation,
    "DeleteTags": tags.delete_tags,
    "DescribeImages": images.describe_images,
    "DescribeInstanceTypes": type_listing.describe_instance_types,
    "DescribeInstances": instances.describe_instances,
    "DescribeNetworkInterfaceAttribute": attributes.describe_network_interface_attribute,
    "DescribeNetworkInterfaces": enis.describe_network_interfaces,
    "DescribeSecurityGroups": security_groups.describe_security_groups,
    "DescribeSubnets": subnets.describe_subnets,
    "DescribeTags": tags.describe_tags,
    "DescribeVpcs": vpcs.describe_vpcs,
    "DetachNetworkInterface": attachments.detach_network_interface,
    "GetSubnetCidrReservations": reservations.get_subnet_cidr_reservations,
    "ModifyNetworkInterfaceAttribute": attributes.modify_network_interface_attribute,
    "RunInstances": launch.run_instances,
    "TerminateInstances": instances.terminate_instances,
    "UnassignIpv6Addresses": assignment.unassign_ipv6_addresses,
    "UnassignPrivateIpAddresses": assignment.unassign_private_ip_addresses,
}


class Engine:
    """EC2 of one account in one Region.

    Args:
        clock: wall time in seconds since the epoch.
        rng: source of ids and of every choice EC2 makes at random.
        types: the table of instance types by name.
        knobs: undocumented behaviour and delays.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        types: Mapping[str, InstanceType],
        knobs: Knobs | None = None,
    ) -> None:
        self.clock = clock
        self.access = Access()
        self._region = Region(rng, types, knobs or Knobs(), clock())
        self._throttle = Throttle()

    @property
    def knobs(self) -> Knobs:
        """Returns the knobs in force."""
        return self._region.knobs

    def configure(self, **changes: Any) -> None:
        """Turns knobs; delays already running keep their length."""
        self._region.knobs = self._region.knobs.changed(**changes)

    @property
    def region(self) -> Region:
        """Returns the state as of now."""
        self._region.advance(self.clock())
        return self._region

    @property
    def version(self) -> int:
        """Counts state changes up to now, those included that time alone brought about; never decreases."""
        return self.region.version

    def call(self, action: str, args: Args, caller: Caller = IN_PROCESS) -> Reply:
        """Performs one EC2 call; parameters and reply are members of botocore's shapes.

        Raises:
            Ec2Error: what EC2 would answer; nothing was changed then.
        """
        region = self.region
        perform = ACTIONS.get(action)
        if perform is None:
            raise Ec2Error("InvalidAction", f"The action {action} is not valid for this web service.")
        self._throttle.admit(action, args, region.knobs, region.now)
        self.access.check(action, caller, region.knobs.region)
        if args.get("DryRun"):
            raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        given = {name: value for name, value in args.items() if value is not None and name != "DryRun"}
        reply = perform(region, given)
        region.advance(region.now)  # what takes no time is done before anyone looks
        return reply

    def throttle_levels(self) -> dict[str, dict[str, float]]:
        """Returns the buckets that calls were drawn from so far: tokens in them now, capacity and refill a second."""
        region = self.region
        return self._throttle.levels(region.knobs, region.now)

    def ports(self) -> list[Port]:
        """Returns the ENIs whose kernel link exists now, by instance, card and device index."""
        region = self.region
        found = [_port(region, eni) for eni in region.enis.values() if _has_link(region, eni)]
        return sorted(found, key=lambda port: (port.instance_id, port.network_card, port.device_index))


def _has_link(region: Region, eni: Eni) -> bool:
    if eni.attachment is None or not eni.has_network or region.now < eni.attachment.link_at:
        return False
    instance: Instance | None = region.instances.get(eni.attachment.instance_id)
    return instance is not None and instance.state in {InstanceState.PENDING, InstanceState.RUNNING}


def _port(region: Region, eni: Eni) -> Port:
    assert eni.attachment is not None
    return Port(
        eni_id=eni.id,
        mac=eni.mac,
        instance_id=eni.attachment.instance_id,
        device_index=eni.attachment.device_index,
        network_card=eni.attachment.network_card,
        vpc_id=eni.vpc_id,
        subnet_id=eni.subnet_id,
        subnet_cidr=region.subnet(eni.subnet_id).cidr,
        primary_ip=eni.primary_ip,
        addresses=eni.addresses,
        prefixes=eni.prefixes,
        ipv6_addresses=eni.ipv6_addresses,
        ipv6_prefixes=eni.ipv6_prefixes,
    )
