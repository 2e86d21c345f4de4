"""The tree of one instance's metadata, by path.

An ENI shows when its link does; what it shows of it is a moment old, so an address or prefix assigned just now is
missing. Items that do not apply are absent, which IMDS answers with 404. Counterpart: ``imds`` serves it.
"""

from eni_lab.aws.engine.eni_views import private_dns_name
from eni_lab.aws.engine.model import OWNER_ID, Eni, Instance
from eni_lab.aws.engine.region import Region, slot_of


def metadata_tree(region: Region, instance: Instance) -> dict[str, str]:
    """Returns all items below ``meta-data``."""
    subnet = region.subnet(instance.subnet_id)
    tree = {
        "ami-id": instance.image_id,
        "hostname": private_dns_name(region, instance.private_ip),
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.type,
        "local-hostname": private_dns_name(region, instance.private_ip),
        "local-ipv4": instance.private_ip,
        "owner-id": OWNER_ID,
        "placement/availability-zone": subnet.zone,
        "placement/availability-zone-id": subnet.zone_id,
        "placement/region": region.knobs.region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    for eni in _shown(region, instance):
        if slot_of(eni) == (0, 0):
            tree["mac"] = eni.mac
        folder = f"network/interfaces/macs/{eni.mac}/"
        tree |= {folder + name: value for name, value in _eni_items(region, eni).items() if value}
    scripted = region.metadata_items.get(instance.id, {})
    return {path: value for path, value in {**tree, **scripted}.items() if value is not None}


def _shown(region: Region, instance: Instance) -> list[Eni]:
    """Returns the ENIs whose link is up, as they were a lag ago, or when their link came up if that is later."""
    lagging = region.now - region.knobs.metadata_lag_seconds
    shown = []
    for eni in region.enis_of(instance.id):
        assert eni.attachment is not None
        if eni.attachment.link_at <= region.now:
            then = region.enis.as_of(max(lagging, eni.attachment.link_at))
            shown.append(then.get(eni.id, eni))
    return shown


def _eni_items(region: Region, eni: Eni) -> dict[str, str]:
    """Returns one ENI's items; an empty value is an item that is not there."""
    subnet, vpc = region.subnet(eni.subnet_id), region.vpc(eni.vpc_id)
    card, device_index = slot_of(eni)
    groups = (region.groups.get(group_id) for group_id in eni.groups)
    return {
        "device-number": str(device_index),
        "interface-id": eni.id,
        "ipv4-prefix": "\n".join(eni.prefixes),
        "ipv6-prefix": "\n".join(eni.ipv6_prefixes),
        "ipv6s": "\n".join(eni.ipv6_addresses),
        "local-hostname": private_dns_name(region, eni.primary_ip) if eni.primary_ip else "",
        "local-ipv4s": "\n".join(eni.ipv4_addresses),
        "mac": eni.mac,
        "network-card": str(card),
        "network-card-index": str(card),
        "owner-id": OWNER_ID,
        "security-group-ids": "\n".join(eni.groups),
        "security-groups": "\n".join(group.name for group in groups if group is not None),
        "subnet-id": eni.subnet_id,
        "subnet-ipv4-cidr-block": subnet.cidr,
        "subnet-ipv6-cidr-blocks": subnet.ipv6_cidr.cidr if subnet.ipv6_cidr else "",
        "vpc-id": eni.vpc_id,
        "vpc-ipv4-cidr-block": vpc.cidrs[0].cidr,
        "vpc-ipv4-cidr-blocks": "\n".join(block.cidr for block in vpc.cidrs),
        "vpc-ipv6-cidr-blocks": "\n".join(block.cidr for block in vpc.ipv6_cidrs),
    }
