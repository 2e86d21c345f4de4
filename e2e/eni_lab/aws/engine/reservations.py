"""Subnet CIDR reservations: Create-, Get- and DeleteSubnetCidrReservation(s); IPv4 only.

https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html. Counterpart: ``addresses`` respects them.
"""

from ipaddress import IPv4Network
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.listing import Filters, select_page
from eni_lab.aws.engine.model import OWNER_ID, CidrReservation
from eni_lab.aws.engine.region import Args, Region, Reply
from eni_lab.aws.engine.tags import tag_list, tags_on_create

KINDS = ("prefix", "explicit")


def create_subnet_cidr_reservation(region: Region, args: Args) -> Reply:
    """Sets a range of a subnet aside; it may cover used addresses but no other reservation."""
    subnet, kind = region.subnet(args["SubnetId"]), args["ReservationType"]
    if kind not in KINDS:
        raise invalid_value(f"Value ({kind}) for parameter reservationType is invalid. Allowed: {', '.join(KINDS)}.")
    cidr = _cidr(args["Cidr"], IPv4Network(subnet.cidr))
    others = (IPv4Network(r.cidr) for r in region.reservations.values() if r.subnet_id == subnet.id)
    if any(cidr.overlaps(other) for other in others):
        text = f"The CIDR '{cidr}' overlaps with an existing reservation."
        raise Ec2Error("InvalidSubnetCidrReservation.Overlap", text)
    tags = tags_on_create(region, args, "subnet-cidr-reservation")
    key = region.new_id("scr")
    reservation = CidrReservation(key, subnet.id, str(cidr), kind, args.get("Description", ""), tags)
    region.reservations.put(key, reservation)
    region.pools[subnet.id].reserve(cidr, kind)
    return {"SubnetCidrReservation": _view(reservation)}


def get_subnet_cidr_reservations(region: Region, args: Args) -> Reply:
    """Lists the reservations of one subnet."""
    subnet = region.subnet(args["SubnetId"])
    rows = {key: r for key, r in region.reservations.as_of(region.seen).items() if r.subnet_id == subnet.id}
    page, token = select_page(region, args, rows, _FILTERS)
    views = [_view(reservation) for reservation in page]
    return {"SubnetIpv4CidrReservations": views, "SubnetIpv6CidrReservations": [], "NextToken": token}


def delete_subnet_cidr_reservation(region: Region, args: Args) -> Reply:
    """Gives a range back to general use; what was handed out from it stays."""
    key = args["SubnetCidrReservationId"]
    reservation = region.reservations.get(key)
    if reservation is None:
        text = f"The subnet CIDR reservation ID '{key}' does not exist"
        raise Ec2Error("InvalidSubnetCidrReservationId.NotFound", text)
    region.reservations.remove(key)
    region.pools[reservation.subnet_id].unreserve(IPv4Network(reservation.cidr))
    return {"DeletedSubnetCidrReservation": _view(reservation)}


_FILTERS: Filters[CidrReservation] = {
    "reservationType": lambda reservation: reservation.kind,
    "subnet-id": lambda reservation: reservation.subnet_id,
}


def _cidr(text: str, subnet: IPv4Network) -> IPv4Network:
    try:
        cidr = IPv4Network(text)
    except ValueError:
        raise invalid_value(
            f"Value ({text}) for parameter cidr is invalid. This is not a valid IPv4 CIDR block."
        ) from None
    if not cidr.subnet_of(subnet):
        raise invalid_value(f"The CIDR '{text}' is not within the subnet's CIDR '{subnet}'.")
    return cidr


def _view(reservation: CidrReservation) -> dict[str, Any]:
    return {
        "SubnetCidrReservationId": reservation.id,
        "SubnetId": reservation.subnet_id,
        "Cidr": reservation.cidr,
        "ReservationType": reservation.kind,
        "OwnerId": OWNER_ID,
        "Description": reservation.description,
        "Tags": tag_list(reservation.tags),
    }
