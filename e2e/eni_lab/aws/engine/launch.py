"""RunInstances: each instance has its ENIs at once, the primary one on device index 0 of card 0 deleted with it.

Counterparts: ``launch_interfaces`` says which ENIs a request asks for, ``instances`` shows and ends instances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eni_lab.aws.engine.attachments import attach
from eni_lab.aws.engine.enis import make_eni, remember, remove_eni, replay
from eni_lab.aws.engine.errors import Ec2Error, invalid_combination, invalid_value, missing
from eni_lab.aws.engine.images import require_image
from eni_lab.aws.engine.instance_views import instance_view
from eni_lab.aws.engine.instances import become
from eni_lab.aws.engine.launch_interfaces import LaunchInterface, launch_interfaces
from eni_lab.aws.engine.model import OWNER_ID, Attachment, Eni, Instance, InstanceState, MetadataOptions, Tags
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tags_on_create

EniSet = list[Eni]
"""The ENIs of one instance, the primary one first."""


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
    if not args.get("ImageId"):
        raise missing("ImageId")
    kind = region.instance_type(args.get("InstanceType", "m1.small"))
    require_image(args["ImageId"], kind)
    interfaces = launch_interfaces(region, args, kind)
    tags = {
        resource: tags_on_create(region, args, resource, others=("instance", "network-interface", "volume"))
        for resource in ("instance", "network-interface")
    }
    metadata = _metadata(args.get("MetadataOptions", {}))
    sets = _eni_sets(region, args, interfaces, tags["network-interface"])
    reservation_id = region.new_id("r")
    return [
        _start(region, args, enis, _Place(reservation_id, index, kind.name, metadata, tags["instance"], interfaces))
        for index, enis in enumerate(sets)
    ]


def _eni_sets(region: Region, args: Args, interfaces: Sequence[LaunchInterface], tags: dict[str, str]) -> list[EniSet]:
    """Makes the ENIs of as many instances as there is room for, or of none."""
    low, high = args["MinCount"], args["MaxCount"]
    if not 1 <= low <= high:
        raise invalid_value(
            f"The counts are MinCount {low} and MaxCount {high}; 1 <= MinCount <= MaxCount is required."
        )
    if high > 1 and any(one.request.get("PrivateIpAddress") for one in interfaces):
        raise invalid_combination("PrivateIpAddress may be specified for a single instance only.")
    sets: list[EniSet] = []
    try:
        while len(sets) < high:
            sets.append(_eni_set(region, interfaces, tags))
    except Ec2Error:
        if len(sets) < low:
            _remove(region, [eni for enis in sets for eni in enis])
            raise
    return sets


def _eni_set(region: Region, interfaces: Sequence[LaunchInterface], tags: dict[str, str]) -> EniSet:
    enis: list[Eni] = []
    try:
        for one in interfaces:
            enis.append(make_eni(region, one.request, tags))  # noqa: PERF401, what was made must be known on an error
    except Ec2Error:
        _remove(region, enis)
        raise
    return enis


def _remove(region: Region, enis: EniSet) -> None:
    for eni in enis:
        remove_eni(region, eni)


@dataclass(frozen=True, slots=True)
class _Place:
    """What an instance shares with the others of its call, and what tells it apart."""

    reservation_id: str
    index: int
    kind: str
    metadata: MetadataOptions
    tags: Tags
    interfaces: Sequence[LaunchInterface]


def _start(region: Region, args: Args, enis: EniSet, place: _Place) -> Instance:
    primary = enis[0]
    instance = Instance(
        id=region.new_id("i"),
        reservation_id=place.reservation_id,
        launch_index=place.index,
        type=place.kind,
        image_id=args["ImageId"],
        subnet_id=primary.subnet_id,
        vpc_id=primary.vpc_id,
        private_ip=primary.primary_ip,
        groups=primary.groups,
        state=InstanceState.PENDING,
        launched=region.now,
        metadata=place.metadata,
        role=args.get("IamInstanceProfile", {}).get("Name", ""),
        lifecycle="spot" if args.get("InstanceMarketOptions", {}).get("MarketType") == "spot" else "",
        tags=place.tags,
    )
    region.instances.put(instance.id, instance)
    for eni, one in zip(enis, place.interfaces, strict=True):
        tie = region.new_id("eni-attach"), instance.id, one.device_index, one.card
        times = region.now, region.now, region.now
        attach(region, eni, Attachment(*tie, *times, delete_on_termination=one.delete_on_termination))
    region.later(region.now + region.knobs.launch_seconds, lambda: become(region, instance.id, InstanceState.RUNNING))
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
