"""The ENIs RunInstances makes with each instance: the primary one, or those of its own list of network interfaces.

Reads and checks the request; ``launch`` makes what comes out of it.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceNetworkInterfaceSpecification.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eni_lab.aws.engine.enis import read_addresses
from eni_lab.aws.engine.errors import invalid_combination, invalid_value, missing
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.limits import Place, check_fit, check_place
from eni_lab.aws.engine.region import Args, Region

PRIMARY = (0, 0)


@dataclass(frozen=True, slots=True)
class LaunchInterface:
    """One ENI to make at launch."""

    card: int
    device_index: int
    delete_on_termination: bool
    request: Args
    """Parameters of CreateNetworkInterface."""


def launch_interfaces(region: Region, args: Args, kind: InstanceType) -> list[LaunchInterface]:
    """Returns the ENIs of each instance, the primary one first.

    Raises:
        Ec2Error: the request contradicts itself, or the type has no room for them.
    """
    listed = args.get("NetworkInterfaces")
    if listed:
        _refuse_instance_level(args)
    interfaces = [_listed(one) for one in listed] if listed else [_single(args)]
    _check(region, kind, interfaces)
    return sorted(interfaces, key=lambda one: (one.card, one.device_index))


def _single(args: Args) -> LaunchInterface:
    if not args.get("SubnetId"):
        raise missing("SubnetId")
    names = ("SubnetId", "PrivateIpAddress", "Ipv6AddressCount")
    request = {name: args.get(name) for name in names} | {"Groups": args.get("SecurityGroupIds")}
    return LaunchInterface(*PRIMARY, delete_on_termination=True, request=request)


def _listed(one: Mapping[str, Any]) -> LaunchInterface:
    if "NetworkInterfaceId" in one:
        raise invalid_value("The stand-in launches with new network interfaces only; attach the others afterwards.")
    for name in ("DeviceIndex", "SubnetId"):
        if name not in one:
            raise missing(f"NetworkInterfaces.{name}")
    place = one.get("NetworkCardIndex", 0), one["DeviceIndex"]
    return LaunchInterface(*place, one.get("DeleteOnTermination", place == PRIMARY), one)


def _refuse_instance_level(args: Args) -> None:
    for name, words in (("SubnetId", "subnet ID"), ("SecurityGroupIds", "security groups")):
        if args.get(name):
            text = f"Network interfaces and an instance-level {words} may not be specified on the same request"
            raise invalid_combination(text)


def _check(region: Region, kind: InstanceType, interfaces: list[LaunchInterface]) -> None:
    if PRIMARY not in [(one.card, one.device_index) for one in interfaces]:
        raise invalid_combination("The primary network interface must have device index 0 on network card 0.")
    if len({region.subnet(one.request["SubnetId"]).zone for one in interfaces}) > 1:
        raise invalid_combination("The network interfaces of an instance must be in one availability zone.")
    places: list[Place] = []
    for one in interfaces:
        interface_type = one.request.get("InterfaceType", "interface")
        efa, only = interface_type in {"efa", "efa-only"}, interface_type == "efa-only"
        place = Place(one.card, one.device_index, is_efa=efa, has_network=not only)
        check_place(kind, places, place, "to be launched")
        _, ipv4, ipv6 = read_addresses(one.request)
        check_fit(kind, ipv4, ipv6)
        places.append(place)
