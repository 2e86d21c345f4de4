"""Instances after launch: DescribeInstances, TerminateInstances, and what becomes of their ENIs.

Counterpart: ``launch`` makes them.
"""

from dataclasses import replace
from typing import Any

from eni_lab.aws.engine.enis import remove_eni
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.instance_views import instance_filters, instance_view, state_view
from eni_lab.aws.engine.listing import refuse_ids_with_pages, select_page, select_rows
from eni_lab.aws.engine.model import OWNER_ID, Instance, InstanceState
from eni_lab.aws.engine.region import Args, Region, Reply, require_instance_id


def describe_instances(region: Region, args: Args) -> Reply:
    """Lists instances by reservation; terminated ones for a while longer."""
    ids = args.get("InstanceIds", [])
    refuse_ids_with_pages(args, "InstanceIds")
    for instance_id in ids:
        require_instance_id(instance_id)
    moment = region.seen
    rows = select_rows(region.instances, args, moment, ids, _not_found)
    page, token = select_page(region, args, rows, instance_filters(region, moment))
    return {"Reservations": _by_reservation(region, page, moment), "NextToken": token}


def terminate_instances(region: Region, args: Args) -> Reply:
    """Ends instances; ENIs with DeleteOnTermination go, the others become ``available`` and stay."""
    instances = [region.instance(instance_id) for instance_id in args["InstanceIds"]]
    return {"TerminatingInstances": [_terminate(region, instance) for instance in instances]}


def become(region: Region, instance_id: str, state: InstanceState) -> None:
    """Takes an instance to the next state of its life; a life that has ended stays so."""
    instance = region.instances.get(instance_id)
    if instance is None or (state is InstanceState.RUNNING and instance.state is not InstanceState.PENDING):
        return
    region.instances.put(instance_id, replace(instance, state=state))


def _terminate(region: Region, instance: Instance) -> dict[str, Any]:
    before = instance.state
    if before in {InstanceState.PENDING, InstanceState.RUNNING}:
        become(region, instance.id, InstanceState.SHUTTING_DOWN)
        region.later(region.now + region.knobs.shutdown_seconds, lambda: _end(region, instance.id))
    after = InstanceState.TERMINATED if before is InstanceState.TERMINATED else InstanceState.SHUTTING_DOWN
    return {
        "InstanceId": instance.id,
        "PreviousState": state_view(before),
        "CurrentState": state_view(after),
    }


def _end(region: Region, instance_id: str) -> None:
    become(region, instance_id, InstanceState.TERMINATED)
    for eni in region.enis_of(instance_id):
        assert eni.attachment is not None
        if eni.attachment.delete_on_termination:
            remove_eni(region, eni)
        else:
            region.enis.put(eni.id, replace(eni, attachment=None))
    moment = region.now + region.knobs.terminated_visible_seconds
    region.later(moment, lambda: region.instances.remove(instance_id))


def _by_reservation(region: Region, page: list[Instance], moment: float) -> list[dict[str, Any]]:
    reservations: dict[str, dict[str, Any]] = {}
    for instance in page:
        key = instance.reservation_id
        empty = {"ReservationId": key, "OwnerId": OWNER_ID, "Groups": [], "Instances": []}
        reservations.setdefault(key, empty)["Instances"].append(instance_view(region, instance, moment))
    return list(reservations.values())


def _not_found(instance_id: str) -> Ec2Error:
    return Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
