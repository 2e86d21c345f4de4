"""VPCs: CreateVpc, AssociateVpcCidrBlock, DescribeVpcs.

Every VPC gets its default security group, as on AWS. Routing is the fabric's business.
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.listing import Filters, select_ids, select_page
from eni_lab.aws.engine.model import OWNER_ID, CidrAssociation, SecurityGroup, Vpc
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tag_list, tags_on_create

AMAZON_IPV6 = int(IPv6Network("2600:1f18::/32").network_address)
"""Where Amazon-provided /56s of us-east-1 come from."""


def create_vpc(region: Region, args: Args) -> Reply:
    """Makes a VPC with one IPv4 block and, if asked, an Amazon-provided IPv6 /56."""
    cidr = parse_cidr(args.get("CidrBlock", ""), "InvalidVpc.Range")
    tags = tags_on_create(region, args, "vpc")
    vpc_id, group_id = region.new_id("vpc"), region.new_id("sg")
    ipv6 = (_amazon_ipv6(region),) if args.get("AmazonProvidedIpv6CidrBlock") else ()
    vpc = Vpc(vpc_id, (_association(region, cidr),), ipv6, group_id, tags)
    region.vpcs.put(vpc_id, vpc)
    region.groups.put(group_id, SecurityGroup(group_id, "default", "default VPC security group", vpc_id))
    return {"Vpc": _view(vpc)}


def associate_vpc_cidr_block(region: Region, args: Args) -> Reply:
    """Adds a secondary IPv4 block or the Amazon-provided IPv6 block."""
    vpc = region.vpc(args["VpcId"])
    if args.get("AmazonProvidedIpv6CidrBlock"):
        association = _amazon_ipv6(region)
        region.vpcs.put(vpc.id, replace(vpc, ipv6_cidrs=(*vpc.ipv6_cidrs, association)))
        return {"VpcId": vpc.id, "Ipv6CidrBlockAssociation": _ipv6_view(association)}
    cidr = parse_cidr(args.get("CidrBlock", ""), "InvalidVpc.Range")
    if any(cidr.overlaps(IPv4Network(known.cidr)) for known in vpc.cidrs):
        raise Ec2Error("InvalidVpc.Range", f"The CIDR '{cidr}' conflicts with another CIDR block of the VPC.")
    association = _association(region, cidr)
    region.vpcs.put(vpc.id, replace(vpc, cidrs=(*vpc.cidrs, association)))
    return {"VpcId": vpc.id, "CidrBlockAssociation": _ipv4_view(association)}


def describe_vpcs(region: Region, args: Args) -> Reply:
    """Lists VPCs."""
    rows = select_ids(region.vpcs.as_of(region.seen), args.get("VpcIds", []), _not_found)
    page, token = select_page(region, args, rows, _FILTERS)
    return {"Vpcs": [_view(vpc) for vpc in page], "NextToken": token}


def parse_cidr(text: str, code: str) -> IPv4Network:
    """Returns an IPv4 block between /16 and /28, which is what VPCs and subnets may have."""
    try:
        cidr = IPv4Network(text, strict=False)
    except ValueError:
        raise invalid_value(
            f"Value ({text}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        ) from None
    if not 16 <= cidr.prefixlen <= 28:
        raise Ec2Error(code, f"The CIDR '{text}' is invalid.")
    return cidr


_FILTERS: Filters[Vpc] = {
    "cidr": lambda vpc: vpc.cidrs[0].cidr,
    "cidr-block-association.association-id": lambda vpc: [block.id for block in vpc.cidrs],
    "cidr-block-association.cidr-block": lambda vpc: _blocks(vpc.cidrs),
    "cidr-block-association.state": lambda _: "associated",
    "dhcp-options-id": lambda _: None,
    "ipv6-cidr-block-association.association-id": lambda vpc: [block.id for block in vpc.ipv6_cidrs],
    "ipv6-cidr-block-association.ipv6-cidr-block": lambda vpc: _blocks(vpc.ipv6_cidrs),
    "ipv6-cidr-block-association.ipv6-pool": lambda vpc: "Amazon" if vpc.ipv6_cidrs else None,
    "ipv6-cidr-block-association.state": lambda vpc: "associated" if vpc.ipv6_cidrs else None,
    "is-default": lambda _: False,
    "owner-id": lambda _: OWNER_ID,
    "state": lambda _: "available",
    "vpc-id": lambda vpc: vpc.id,
}


def _blocks(associations: Sequence[CidrAssociation]) -> list[str]:
    return [block.cidr for block in associations]


def _not_found(vpc_id: str) -> Ec2Error:
    return Ec2Error("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def _association(region: Region, cidr: IPv4Network) -> CidrAssociation:
    return CidrAssociation(region.new_id("vpc-cidr-assoc"), str(cidr))


def _amazon_ipv6(region: Region) -> CidrAssociation:
    network = IPv6Network((AMAZON_IPV6 + (region.rng.getrandbits(24) << 72), 56))
    return CidrAssociation(region.new_id("vpc-cidr-assoc"), str(network))


def _ipv4_view(association: CidrAssociation) -> dict[str, Any]:
    state = {"State": "associated"}
    return {"AssociationId": association.id, "CidrBlock": association.cidr, "CidrBlockState": state}


def _ipv6_view(association: CidrAssociation) -> dict[str, Any]:
    return {
        "AssociationId": association.id,
        "Ipv6CidrBlock": association.cidr,
        "Ipv6CidrBlockState": {"State": "associated"},
        "Ipv6Pool": "Amazon",
    }


def _view(vpc: Vpc) -> dict[str, Any]:
    return {
        "VpcId": vpc.id,
        "OwnerId": OWNER_ID,
        "State": "available",
        "CidrBlock": vpc.cidrs[0].cidr,
        "CidrBlockAssociationSet": [_ipv4_view(block) for block in vpc.cidrs],
        "Ipv6CidrBlockAssociationSet": [_ipv6_view(block) for block in vpc.ipv6_cidrs],
        "InstanceTenancy": "default",
        "IsDefault": False,
        "Tags": tag_list(vpc.tags),
    }
