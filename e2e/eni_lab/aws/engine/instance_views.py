"""Instances as DescribeInstances shows them, and what its filters look at."""

from collections.abc import Callable
from typing import Any

from eni_lab.aws.engine.eni_views import eni_filters, instance_eni_view, private_dns_name, timestamp
from eni_lab.aws.engine.images import IMAGES
from eni_lab.aws.engine.listing import Filters, FilterValue, filter_texts
from eni_lab.aws.engine.model import OWNER_ID, Eni, Instance, InstanceState
from eni_lab.aws.engine.region import Region, slot_of
from eni_lab.aws.engine.security_groups import group_views
from eni_lab.aws.engine.tags import tag_list

STATE_CODES = {
    InstanceState.PENDING: 0,
    InstanceState.RUNNING: 16,
    InstanceState.SHUTTING_DOWN: 32,
    InstanceState.TERMINATED: 48,
}


def state_view(state: InstanceState) -> dict[str, Any]:
    """Returns a state with EC2's number for it."""
    return {"Code": STATE_CODES[state], "Name": state.value}


def instance_view(region: Region, instance: Instance, moment: float) -> dict[str, Any]:
    """Returns an instance as of a moment; terminated ones have lost their network."""
    kind, subnet = region.types[instance.type], region.subnet(instance.subnet_id)
    view = {
        "InstanceId": instance.id,
        "ImageId": instance.image_id,
        "InstanceType": instance.type,
        "AmiLaunchIndex": instance.launch_index,
        "LaunchTime": timestamp(instance.launched),
        "State": state_view(instance.state),
        "Architecture": IMAGES[instance.image_id].architecture,
        "Hypervisor": "xen" if kind.hypervisor == "xen" else None,
        "Placement": {"AvailabilityZone": subnet.zone, "Tenancy": "default"},
        "InstanceLifecycle": instance.lifecycle or None,
        "MetadataOptions": _metadata_view(instance),
        "Tags": tag_list(instance.tags),
    }
    alive = instance.state is not InstanceState.TERMINATED
    return view | (_network_view(region, instance, moment) if alive else {"NetworkInterfaces": []})


def enis_as_of(region: Region, instance: Instance, moment: float) -> list[Eni]:
    """Returns an instance's ENIs as they were at a moment, by card and device index."""
    candidates = region.enis.candidates("attachment.instance-id", [instance.id], moment).values()
    mine = [eni for eni in candidates if eni.attachment is not None and eni.attachment.instance_id == instance.id]
    return sorted(mine, key=slot_of)


def _network_view(region: Region, instance: Instance, moment: float) -> dict[str, Any]:
    enis = enis_as_of(region, instance, moment)
    return {
        "VpcId": instance.vpc_id,
        "SubnetId": instance.subnet_id,
        "PrivateIpAddress": instance.private_ip,
        "PrivateDnsName": private_dns_name(region, instance.private_ip),
        "SecurityGroups": group_views(region, instance.groups),
        "SourceDestCheck": True,
        "NetworkInterfaces": [instance_eni_view(region, eni, moment) for eni in enis],
    }


def _metadata_view(instance: Instance) -> dict[str, Any]:
    options = instance.metadata
    return {
        "State": "applied",
        "HttpEndpoint": options.endpoint,
        "HttpTokens": options.tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpProtocolIpv6": options.ipv6,
    }


def instance_filters(region: Region, moment: float) -> Filters[Instance]:
    """Returns what DescribeInstances can filter by, as of a moment."""

    def of_enis(look: Callable[[Eni], FilterValue]) -> Callable[[Instance], FilterValue]:
        return lambda one: [text for eni in enis_as_of(region, one, moment) for text in filter_texts(look(eni))]

    return {
        **_OF_THE_INSTANCE,
        **{f"network-interface.{name}": of_enis(look) for name, look in eni_filters(region, moment).items()},
        "architecture": lambda one: IMAGES[one.image_id].architecture,
        "availability-zone": lambda one: region.subnet(one.subnet_id).zone,
        "availability-zone-id": lambda one: region.subnet(one.subnet_id).zone_id,
        "hypervisor": lambda one: region.types[one.type].hypervisor,
        "private-dns-name": lambda one: private_dns_name(region, one.private_ip),
    }


_OF_THE_INSTANCE: Filters[Instance] = {
    "group-id": lambda one: one.groups,
    "image-id": lambda one: one.image_id,
    "instance-id": lambda one: one.id,
    "instance-lifecycle": lambda one: one.lifecycle or None,
    "instance-state-code": lambda one: STATE_CODES[one.state],
    "instance-state-name": lambda one: one.state.value,
    "instance-type": lambda one: one.type,
    "instance.group-id": lambda one: one.groups,
    "metadata-options.http-endpoint": lambda one: one.metadata.endpoint,
    "metadata-options.http-put-response-hop-limit": lambda one: one.metadata.hop_limit,
    "metadata-options.http-tokens": lambda one: one.metadata.tokens,
    "owner-id": lambda _: OWNER_ID,
    "private-ip-address": lambda one: one.private_ip,
    "reservation-id": lambda one: one.reservation_id,
    "subnet-id": lambda one: one.subnet_id,
    "vpc-id": lambda one: one.vpc_id,
}
"""Filters about disks, public addresses and licences are not modelled and are refused as invalid."""
