"""Attributes of an ENI: ModifyNetworkInterfaceAttribute and DescribeNetworkInterfaceAttribute, one attribute a call."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from eni_lab.aws.engine.eni_views import eni_view
from eni_lab.aws.engine.errors import exclusive, invalid_value, missing
from eni_lab.aws.engine.model import Eni
from eni_lab.aws.engine.region import Args, Region, Reply, attachment_not_found, eni_not_found, require_eni_id
from eni_lab.aws.engine.security_groups import groups_for


def modify_network_interface_attribute(region: Region, args: Args) -> Reply:
    """Changes one attribute; ``Groups`` replaces the whole set."""
    eni = region.eni(args["NetworkInterfaceId"])
    given = [name for name in args if name != "NetworkInterfaceId"]
    if not given:
        raise missing("attribute to modify")
    if len(given) > 1:
        raise exclusive(given)
    change = _CHANGES.get(given[0])
    if change is None:
        raise invalid_value(f"The attribute {given[0]} is not modelled by the stand-in.")
    region.enis.put(eni.id, change(region, eni, args[given[0]]))
    return {}


def describe_network_interface_attribute(region: Region, args: Args) -> Reply:
    """Shows one attribute."""
    eni_id, name = args["NetworkInterfaceId"], args.get("Attribute", "")
    require_eni_id(eni_id)
    eni = region.enis.as_of(region.seen).get(eni_id)
    if eni is None:
        raise eni_not_found(eni_id)
    member = _MEMBERS.get(name)
    if member is None:
        text = f"Value ({name}) for parameter attribute is invalid. Allowed values are {', '.join(_MEMBERS)}."
        raise invalid_value(text)
    value = eni_view(region, eni, region.seen)[member]
    wrapped = {"Value": value} if member in {"Description", "SourceDestCheck"} else value
    return {"NetworkInterfaceId": eni_id, member: wrapped}


def _change_description(_: Region, eni: Eni, value: Mapping[str, Any]) -> Eni:
    return replace(eni, description=value.get("Value", ""))


def _change_source_dest_check(_: Region, eni: Eni, value: Mapping[str, Any]) -> Eni:
    return replace(eni, source_dest_check=value["Value"])


def _change_groups(region: Region, eni: Eni, value: list[str]) -> Eni:
    return replace(eni, groups=groups_for(region, value, region.subnet(eni.subnet_id)))


def _change_attachment(_: Region, eni: Eni, value: Mapping[str, Any]) -> Eni:
    attachment_id = value.get("AttachmentId", "")
    if eni.attachment is None or eni.attachment.id != attachment_id:
        raise attachment_not_found(attachment_id)
    doomed = value.get("DeleteOnTermination", eni.attachment.delete_on_termination)
    return replace(eni, attachment=replace(eni.attachment, delete_on_termination=doomed))


_CHANGES: Mapping[str, Callable[[Region, Eni, Any], Eni]] = {
    "Description": _change_description,
    "SourceDestCheck": _change_source_dest_check,
    "Groups": _change_groups,
    "Attachment": _change_attachment,
}

_MEMBERS = {
    "description": "Description",
    "groupSet": "Groups",
    "sourceDestCheck": "SourceDestCheck",
    "attachment": "Attachment",
}
