"""Subnets: CreateSubnet, DescribeSubnets.

AvailableIpAddressCount is always that of now, also when Describe lags: it is a number of its own on AWS too, and says
nothing of free /28s. Counterpart: ``addresses`` keeps the addresses, ``reservations`` what people set aside.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.listing import Filters, select_ids, select_page
from eni_lab.aws.engine.model import OWNER_ID, CidrAssociation, Subnet, Vpc
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tag_list, tags_on_create
from eni_lab.aws.engine.vpcs import parse_cidr

ZONE_LETTERS = "abcdef"


def zones(region: Region) -> dict[str, str]:
    """Returns the Region's zones by name with their ids, such as us-east-1a: use1-az1."""
    area, direction, number = region.knobs.region.split("-")
    short = f"{area}{direction[0]}{number}"
    return {f"{region.knobs.region}{letter}": f"{short}-az{i}" for i, letter in enumerate(ZONE_LETTERS, 1)}


def create_subnet(region: Region, args: Args) -> Reply:
    """Makes a subnet inside one of its VPC's blocks."""
    vpc = region.vpc(args["VpcId"])
    cidr = parse_cidr(args.get("CidrBlock", ""), "InvalidSubnet.Range")
    _check_place(region, vpc, cidr)
    zone, zone_id = _zone(region, args)
    ipv6 = _ipv6_cidr(region, vpc, args.get("Ipv6CidrBlock"))
    tags = tags_on_create(region, args, "subnet")
    subnet = Subnet(region.new_id("subnet"), vpc.id, zone, zone_id, str(cidr), ipv6, tags)
    region.add_subnet(subnet)
    return {"Subnet": _view(region, subnet)}


def describe_subnets(region: Region, args: Args) -> Reply:
    """Lists subnets."""
    rows = select_ids(region.subnets.as_of(region.seen), args.get("SubnetIds", []), _not_found)
    page, token = select_page(region, args, rows, _filters(region))
    return {"Subnets": [_view(region, subnet) for subnet in page], "NextToken": token}


def _check_place(region: Region, vpc: Vpc, cidr: IPv4Network) -> None:
    if not any(cidr.subnet_of(IPv4Network(block.cidr)) for block in vpc.cidrs):
        raise Ec2Error("InvalidSubnet.Range", f"The CIDR '{cidr}' is invalid.")
    siblings = (IPv4Network(s.cidr) for s in region.subnets.values() if s.vpc_id == vpc.id)
    if any(cidr.overlaps(sibling) for sibling in siblings):
        raise Ec2Error("InvalidSubnet.Conflict", f"The CIDR '{cidr}' conflicts with another subnet")


def _zone(region: Region, args: Args) -> tuple[str, str]:
    known = zones(region)
    wanted, wanted_id = args.get("AvailabilityZone"), args.get("AvailabilityZoneId")
    for name, zone_id in known.items():
        if wanted in {None, name} and wanted_id in {None, zone_id}:
            return name, zone_id
    text = f"Value ({wanted or wanted_id}) for parameter availabilityZone is invalid. "
    text += f"Subnets can currently only be created in the following availability zones: {', '.join(known)}."
    raise invalid_value(text)


def _ipv6_cidr(region: Region, vpc: Vpc, wanted: str | None) -> CidrAssociation | None:
    if wanted is None:
        return None
    try:
        cidr = IPv6Network(wanted)
    except ValueError:
        raise invalid_value(f"invalid value for parameter ipv6CidrBlock: {wanted}") from None
    if cidr.prefixlen != 64 or not any(cidr.subnet_of(IPv6Network(block.cidr)) for block in vpc.ipv6_cidrs):
        raise Ec2Error("InvalidSubnet.Range", f"The CIDR '{wanted}' is invalid.")
    taken = (s.ipv6_cidr.cidr for s in region.subnets.values() if s.ipv6_cidr is not None)
    if str(cidr) in taken:
        raise Ec2Error("InvalidSubnet.Conflict", f"The CIDR '{wanted}' conflicts with another subnet")
    return CidrAssociation(region.new_id("subnet-cidr-assoc"), str(cidr))


def _filters(region: Region) -> Filters[Subnet]:
    def free(subnet: Subnet) -> int:
        return region.pools[subnet.id].free

    return _FILTERS | {"available-ip-address-count": free, "availableIpAddressCount": free}


_CONSTANT: Filters[Subnet] = {
    "auto-assign-ipv6-address-on-creation": lambda _: False,
    "customer-owned-ipv4-pool": lambda _: None,
    "default-for-az": lambda _: False,
    "defaultForAz": lambda _: False,
    "enable-dns64": lambda _: False,
    "enable-lni-at-device-index": lambda _: None,
    "ipv6-native": lambda _: False,
    "map-customer-owned-ip-on-launch": lambda _: False,
    "map-public-ip-on-launch": lambda _: False,
    "outpost-arn": lambda _: None,
    "owner-id": lambda _: OWNER_ID,
    "private-dns-name-options-on-launch.enable-resource-name-dns-a-record": lambda _: False,
    "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": lambda _: False,
    "private-dns-name-options-on-launch.hostname-type": lambda _: "ip-name",
    "state": lambda _: "available",
}

_FILTERS: dict[str, Any] = {
    **_CONSTANT,
    "availability-zone": lambda subnet: subnet.zone,
    "availabilityZone": lambda subnet: subnet.zone,
    "availability-zone-id": lambda subnet: subnet.zone_id,
    "availabilityZoneId": lambda subnet: subnet.zone_id,
    "cidr": lambda subnet: subnet.cidr,
    "cidr-block": lambda subnet: subnet.cidr,
    "cidrBlock": lambda subnet: subnet.cidr,
    "ipv6-cidr-block-association.association-id": lambda subnet: subnet.ipv6_cidr and subnet.ipv6_cidr.id,
    "ipv6-cidr-block-association.ipv6-cidr-block": lambda subnet: subnet.ipv6_cidr and subnet.ipv6_cidr.cidr,
    "ipv6-cidr-block-association.state": lambda subnet: "associated" if subnet.ipv6_cidr else None,
    "subnet-arn": lambda subnet: f"arn:aws:ec2:{subnet.zone[:-1]}:{OWNER_ID}:subnet/{subnet.id}",
    "subnet-id": lambda subnet: subnet.id,
    "vpc-id": lambda subnet: subnet.vpc_id,
}


def _not_found(subnet_id: str) -> Ec2Error:
    return Ec2Error("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")


def _ipv6_view(association: CidrAssociation) -> dict[str, Any]:
    return {
        "AssociationId": association.id,
        "Ipv6CidrBlock": association.cidr,
        "Ipv6CidrBlockState": {"State": "associated"},
    }


def _view(region: Region, subnet: Subnet) -> dict[str, Any]:
    return {
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc_id,
        "OwnerId": OWNER_ID,
        "SubnetArn": f"arn:aws:ec2:{region.knobs.region}:{OWNER_ID}:subnet/{subnet.id}",
        "State": "available",
        "CidrBlock": subnet.cidr,
        "Ipv6CidrBlockAssociationSet": [_ipv6_view(subnet.ipv6_cidr)] if subnet.ipv6_cidr else [],
        "AvailableIpAddressCount": region.pools[subnet.id].free,
        "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": subnet.zone_id,
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6Native": False,
        "EnableDns64": False,
        "Tags": tag_list(subnet.tags),
    }
