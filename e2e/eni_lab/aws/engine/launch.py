"""RunInstances: each instance gets its primary ENI at once, on device index 0, deleted with it.

Network interfaces beyond the primary are attached afterwards, as a CNI does; RunInstances' own list is not modelled.
Counterpart: ``instances`` shows and ends them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eni_lab.aws.engine.attachments import attach
from eni_lab.aws.engine.enis import make_eni, remember, remove_eni, replay
from eni_lab.aws.engine.errors import Ec2Error, invalid_combination, invalid_value, missing
from eni_lab.aws.engine.images import require_image
from eni_lab.aws.engine.instance_views import instance_view
from eni_lab.aws.engine.instances import become
from eni_lab.aws.engine.model import OWNER_ID, Attachment, Eni, Instance, InstanceState, MetadataOptions, Tags
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tags_on_create


def run_instances(region: Region, args: Args) -> Reply:
    """Launches up to MaxCount instances, at least MinCount or none; they are ``pending`` in the reply."""
    launched = replay(region, "RunInstances", args)
    if launched is None:
        launched = _launch(region, args)
        remember(region, "RunInstances", args, launched)
    current = [region.instances.get(instance.id) or instance for instance in launched]
    views = [{**instance_view(region, one, region.now), "State": _PENDING} for one in current]
    reservation_id = launched[0].reservation_id
    return {"ReservationId": reservation_id, "OwnerId": OWNER_ID, "Groups": [], "Instances": views}


_PENDING = {"Code": 0, "Name": "pending"}


def _launch(region: Region, args: Args) -> list[Instance]:
    if args.get("NetworkInterfaces"):
        text = "The stand-in does not model NetworkInterfaces of RunInstances; give SubnetId and SecurityGroupIds."
        raise invalid_combination(text)
    for name in ("ImageId", "SubnetId"):
        if not args.get(name):
            raise missing(name)
    kind = region.instance_type(args.get("InstanceType", "m1.small"))
    require_image(args["ImageId"], kind)
    tags = {
        resource: tags_on_create(region, args, resource, others=("instance", "network-interface", "volume"))
        for resource in ("instance", "network-interface")
    }
    metadata = _metadata(args.get("MetadataOptions", {}))
    enis = _primary_enis(region, args, tags["network-interface"])
    reservation_id = region.new_id("r")
    return [
        _start(region, args, eni, _Place(reservation_id, index, kind.name, metadata, tags["instance"]))
        for index, eni in enumerate(enis)
    ]


def _primary_enis(region: Region, args: Args, tags: dict[str, str]) -> list[Eni]:
    low, high = args["MinCount"], args["MaxCount"]
    if not 1 <= low <= high:
        raise invalid_value(
            f"The counts are MinCount {low} and MaxCount {high}; 1 <= MinCount <= MaxCount is required."
        )
    if high > 1 and args.get("PrivateIpAddress"):
        raise invalid_combination("PrivateIpAddress may be specified for a single instance only.")
    request = {
        "SubnetId": args["SubnetId"],
        "Groups": args.get("SecurityGroupIds"),
        "PrivateIpAddress": args.get("PrivateIpAddress"),
        "Ipv6AddressCount": args.get("Ipv6AddressCount"),
    }
    enis: list[Eni] = []
    try:
        while len(enis) < high:
            enis.append(make_eni(region, request, tags))
    except Ec2Error:
        if len(enis) < low:
            for eni in enis:
                remove_eni(region, eni)
            raise
    return enis


@dataclass(frozen=True, slots=True)
class _Place:
    """What an instance shares with the others of its call, and what tells it apart."""

    reservation_id: str
    index: int
    kind: str
    metadata: MetadataOptions
    tags: Tags


def _start(region: Region, args: Args, eni: Eni, place: _Place) -> Instance:
    instance = Instance(
        id=region.new_id("i"),
        reservation_id=place.reservation_id,
        launch_index=place.index,
        type=place.kind,
        image_id=args["ImageId"],
        subnet_id=eni.subnet_id,
        vpc_id=eni.vpc_id,
        private_ip=eni.primary_ip,
        groups=eni.groups,
        state=InstanceState.PENDING,
        launched=region.now,
        metadata=place.metadata,
        role=args.get("IamInstanceProfile", {}).get("Name", ""),
        lifecycle="spot" if args.get("InstanceMarketOptions", {}).get("MarketType") == "spot" else "",
        tags=place.tags,
    )
    region.instances.put(instance.id, instance)
    attachment_id, now = region.new_id("eni-attach"), region.now
    attach(region, eni, Attachment(attachment_id, instance.id, 0, 0, now, now, now, delete_on_termination=True))
    region.later(now + region.knobs.launch_seconds, lambda: become(region, instance.id, InstanceState.RUNNING))
    return instance


def _metadata(options: Mapping[str, Any]) -> MetadataOptions:
    hop_limit = options.get("HttpPutResponseHopLimit", 1)
    if not 1 <= hop_limit <= 64:
        text = f"Value ({hop_limit}) for parameter httpPutResponseHopLimit is invalid. Allowed values are 1 to 64."
        raise invalid_value(text)
    return MetadataOptions(
        endpoint=options.get("HttpEndpoint", "enabled"),
        tokens=options.get("HttpTokens", "required"),
        hop_limit=hop_limit,
        ipv6=options.get("HttpProtocolIpv6", "disabled"),
    )
