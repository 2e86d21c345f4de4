"""Attachments: AttachNetworkInterface, DetachNetworkInterface, and how they come true with time.

Counterpart: ``instances`` attaches the primary ENI at launch and lets all go at the end.
"""

from dataclasses import replace

from eni_lab.aws.engine.errors import Ec2Error, invalid_combination
from eni_lab.aws.engine.limits import check_attach
from eni_lab.aws.engine.model import Attachment, Eni, Instance, InstanceState
from eni_lab.aws.engine.region import Args, Region, Reply


def attach_network_interface(region: Region, args: Args) -> Reply:
    """Starts to attach an ENI; it never sets DeleteOnTermination."""
    eni, instance = region.eni(args["NetworkInterfaceId"]), region.instance(args["InstanceId"])
    slot = (args.get("NetworkCardIndex", 0), args["DeviceIndex"])
    if eni.attachment is not None:
        raise Ec2Error("InvalidNetworkInterface.InUse", f"Interface: [{eni.id}] in use.")
    if instance.state is not InstanceState.RUNNING:
        raise Ec2Error("IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped'.")
    _check_zone(region, eni, instance)
    _refuse_hot_efa(eni)
    check_attach(region, eni, instance, slot)
    knobs = region.knobs
    attachment = Attachment(
        id=region.new_id("eni-attach"),
        instance_id=instance.id,
        device_index=slot[1],
        network_card=slot[0],
        since=region.now,
        attached_at=region.now + knobs.attaching_seconds,
        link_at=region.now + knobs.link_seconds,
        delete_on_termination=False,
    )
    attach(region, eni, attachment)
    for moment in (attachment.attached_at, attachment.link_at, region.now + knobs.attachment_hidden_seconds):
        region.later(moment)
    return {"AttachmentId": attachment.id, "NetworkCardIndex": attachment.network_card}


def attach(region: Region, eni: Eni, attachment: Attachment) -> None:
    """Ties an ENI to an instance."""
    region.enis.put(eni.id, replace(eni, attachment=attachment))


def detach_network_interface(region: Region, args: Args) -> Reply:
    """Starts to detach an ENI; it keeps its addresses and becomes ``available`` when that is complete."""
    eni = region.eni_of_attachment(args["AttachmentId"])
    attachment = eni.attachment
    assert attachment is not None
    if attachment.is_primary:
        text = "The network interface at device index 0 and networkCard index 0 cannot be detached."
        raise Ec2Error("OperationNotPermitted", text)
    _refuse_hot_efa(eni)
    if attachment.detached_at is not None:
        raise Ec2Error("IncorrectState", f"The attachment '{attachment.id}' is already being detached.")
    moment = region.now + region.knobs.detaching_seconds
    region.enis.put(eni.id, replace(eni, attachment=replace(attachment, detached_at=moment)))
    region.later(moment, lambda: _complete_detachment(region, eni.id, attachment.id))
    return {}


def _complete_detachment(region: Region, eni_id: str, attachment_id: str) -> None:
    eni = region.enis.get(eni_id)
    if eni is not None and eni.attachment is not None and eni.attachment.id == attachment_id:
        region.enis.put(eni_id, replace(eni, attachment=None))


def _refuse_hot_efa(eni: Eni) -> None:
    """Raises for an EFA: it comes and goes with a launch or a stopped instance (efa.html; the code is assumed)."""
    if eni.is_efa:
        text = f"The EFA '{eni.id}' cannot be attached to or detached from an instance that is running."
        raise Ec2Error("IncorrectState", text)


def _check_zone(region: Region, eni: Eni, instance: Instance) -> None:
    if region.subnet(eni.subnet_id).zone != region.subnet(instance.subnet_id).zone:
        text = "You may not attach a network interface to an instance if they are not in the same availability zone"
        raise invalid_combination(text)
