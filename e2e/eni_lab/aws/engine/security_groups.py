"""Security groups: CreateSecurityGroup, DescribeSecurityGroups, and which an ENI may have. Rules are not modelled."""

from collections.abc import Sequence
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.listing import Filters, refuse_ids_with_pages, select_ids, select_page
from eni_lab.aws.engine.model import OWNER_ID, SecurityGroup, Subnet
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tag_list, tags_on_create


def create_security_group(region: Region, args: Args) -> Reply:
    """Makes a security group in a VPC."""
    vpc = region.vpc(args.get("VpcId", ""))
    name = args["GroupName"]
    if name == "default":
        raise invalid_value("Cannot use reserved security group name: default")
    if any(group.name == name and group.vpc_id == vpc.id for group in region.groups.values()):
        raise Ec2Error("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc.id}'")
    tags = tags_on_create(region, args, "security-group")
    group = SecurityGroup(region.new_id("sg"), name, args["Description"], vpc.id, tags)
    region.groups.put(group.id, group)
    return {"GroupId": group.id, "Tags": tag_list(tags)}


def describe_security_groups(region: Region, args: Args) -> Reply:
    """Lists security groups."""
    refuse_ids_with_pages(args, "GroupIds")
    rows = select_ids(region.groups.as_of(region.seen), args.get("GroupIds", []), _not_found)
    names = args.get("GroupNames", [])
    rows = {key: group for key, group in rows.items() if not names or group.name in names}
    page, token = select_page(region, args, rows, _FILTERS)
    return {"SecurityGroups": [_view(group) for group in page], "NextToken": token}


def groups_for(region: Region, wanted: Sequence[str] | None, subnet: Subnet) -> tuple[str, ...]:
    """Returns the groups an ENI in a subnet gets: those wanted, or the VPC's default one."""
    if not wanted:
        return (region.vpc(subnet.vpc_id).default_group,)
    groups = [region.group(group_id) for group_id in dict.fromkeys(wanted)]
    for group in groups:
        if group.vpc_id != subnet.vpc_id:
            text = f"Security group {group.id} and subnet {subnet.id} belong to different networks."
            raise Ec2Error("InvalidParameter", text)
    if len(groups) > region.knobs.group_quota:
        text = f"The maximum number of security groups per interface is {region.knobs.group_quota}."
        raise Ec2Error("SecurityGroupsPerInterfaceLimitExceeded", text)
    return tuple(group.id for group in groups)


def group_views(region: Region, group_ids: Sequence[str]) -> list[dict[str, str]]:
    """Returns groups as ENIs and instances list them."""
    found = (region.groups.get(group_id) for group_id in group_ids)
    return [{"GroupId": group.id, "GroupName": group.name} for group in found if group is not None]


_RULE_FILTERS = (
    *(f"{prefix}ip-permission.{name}" for prefix in ("", "egress.") for name in ("cidr", "from-port", "group-id")),
    *(f"{prefix}ip-permission.{name}" for prefix in ("", "egress.") for name in ("group-name", "ipv6-cidr")),
    *(f"{prefix}ip-permission.{name}" for prefix in ("", "egress.") for name in ("prefix-list-id", "protocol")),
    *(f"{prefix}ip-permission.{name}" for prefix in ("", "egress.") for name in ("to-port", "user-id")),
)
"""Known names that no group matches, since rules are not modelled."""

_FILTERS: Filters[SecurityGroup] = {
    **dict.fromkeys(_RULE_FILTERS, lambda _: None),
    "description": lambda group: group.description,
    "group-id": lambda group: group.id,
    "group-name": lambda group: group.name,
    "owner-id": lambda _: OWNER_ID,
    "vpc-id": lambda group: group.vpc_id,
}


def _not_found(group_id: str) -> Ec2Error:
    return Ec2Error("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")


def _view(group: SecurityGroup) -> dict[str, Any]:
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "OwnerId": OWNER_ID,
        "VpcId": group.vpc_id,
        "IpPermissions": [],
        "IpPermissionsEgress": [],
        "Tags": tag_list(group.tags),
    }
