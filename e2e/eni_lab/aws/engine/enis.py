"""ENIs: CreateNetworkInterface, DescribeNetworkInterfaces, DeleteNetworkInterface.

Counterpart: ``attachments`` ties them to instances, ``assignment`` gives them more addresses.
"""

import json
from typing import Any

from eni_lab.aws.engine.eni_views import eni_filters, eni_view
from eni_lab.aws.engine.errors import Ec2Error, invalid_combination, invalid_value, no_addresses_on_efa_only
from eni_lab.aws.engine.holdings import IPV4_OF_ASSIGN, IPV4_OF_CREATE, IPV6, Wanted, release_all, take_ipv4, take_ipv6
from eni_lab.aws.engine.listing import refuse_ids_with_pages, select_page, select_rows
from eni_lab.aws.engine.model import Eni, Subnet
from eni_lab.aws.engine.region import Args, Region, Reply, eni_not_found, require_eni_id
from eni_lab.aws.engine.security_groups import groups_for
from eni_lab.aws.engine.tags import tags_on_create

INTERFACE_TYPES = ("interface", "efa", "efa-only", "trunk")
"""What CreateNetworkInterface's API reference allows; branch ENIs come of AssociateTrunkInterface."""

ADDRESS_PARAMETERS = ("PrivateIpAddress", *IPV4_OF_ASSIGN, *IPV6)

INDEXED_FILTERS = {"group-id", "mac-address", "private-dns-name", "private-ip-address", "subnet-id", "vpc-id"}
"""Filters that let a large account describe without pages (DescribeNetworkInterfaces' API reference)."""


def create_network_interface(region: Region, args: Args) -> Reply:
    """Makes an ENI with its primary address and whatever else is asked for; a repeated ClientToken makes no second."""
    token = args.get("ClientToken")
    replayed = replay(region, "CreateNetworkInterface", args)
    if replayed is not None:
        eni = _known_or_replayed(region, replayed)
        if eni is not None:
            return _create_reply(region, eni, token)
    eni = make_eni(region, args, tags_on_create(region, args, "network-interface"))
    remember(region, "CreateNetworkInterface", args, eni)
    return _create_reply(region, eni, token)


def make_eni(region: Region, args: Args, tags: dict[str, str]) -> Eni:
    """Makes an ENI from CreateNetworkInterface's parameters."""
    subnet = region.subnet(args["SubnetId"])
    groups = groups_for(region, args.get("Groups"), subnet)
    kind = _interface_type(args)
    if len(region.enis) >= region.knobs.eni_quota:
        text = "The maximum number of network interfaces has been reached."
        raise Ec2Error("NetworkInterfaceLimitExceeded", text)
    holdings = _take(region, subnet, args) if kind != "efa-only" else _nothing(args)
    eni = Eni(
        id=region.new_id("eni"),
        subnet_id=subnet.id,
        vpc_id=subnet.vpc_id,
        mac=_new_mac(region),
        groups=groups,
        description=args.get("Description", ""),
        interface_type=kind,
        created=region.now,
        tags=tags,
        **holdings,
    )
    region.enis.put(eni.id, eni)
    if region.knobs.creating_seconds:
        region.later(region.now + region.knobs.creating_seconds)
    return eni


def describe_network_interfaces(region: Region, args: Args) -> Reply:
    """Lists ENIs as of the Region's lag ago."""
    ids = args.get("NetworkInterfaceIds", [])
    refuse_ids_with_pages(args, "NetworkInterfaceIds")
    for eni_id in ids:
        require_eni_id(eni_id)
    moment = region.seen
    rows = select_rows(region.enis, args, moment, ids, eni_not_found)
    _refuse_large_listing(region, args)
    page, token = select_page(region, args, rows, eni_filters(region, moment))
    return {"NetworkInterfaces": [eni_view(region, eni, moment) for eni in page], "NextToken": token}


def delete_network_interface(region: Region, args: Args) -> Reply:
    """Deletes an unattached ENI and frees its addresses."""
    eni = region.eni(args["NetworkInterfaceId"])
    if eni.attachment is not None:
        raise invalid_value(f"Network interface '{eni.id}' is currently in use.")
    remove_eni(region, eni)
    return {}


def remove_eni(region: Region, eni: Eni) -> None:
    """Takes an ENI out of the Region."""
    release_all(region, eni)
    region.enis.remove(eni.id)


# --- idempotence


def replay(region: Region, action: str, args: Args) -> Any:
    """Returns what a ClientToken made before, or None; raises when it came with other parameters."""
    remembered = region.client_tokens.get((action, args.get("ClientToken", "")))
    if remembered is None:
        return None
    fingerprint, made = remembered
    if fingerprint != _fingerprint(args):
        text = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
        raise Ec2Error("IdempotentParameterMismatch", text)
    return made


def remember(region: Region, action: str, args: Args, made: Any) -> None:
    """Keeps what a ClientToken made."""
    token = args.get("ClientToken")
    if token:
        region.client_tokens[action, token] = (_fingerprint(args), made)


def _fingerprint(args: Args) -> str:
    return json.dumps({key: value for key, value in args.items() if key != "ClientToken"}, sort_keys=True, default=str)


def _known_or_replayed(region: Region, made: Eni) -> Eni | None:
    current = region.enis.get(made.id)
    if current is not None:
        return current
    if region.knobs.deleted_eni_replay == "error":
        raise eni_not_found(made.id)
    return made if region.knobs.deleted_eni_replay == "reply" else None


def _create_reply(region: Region, eni: Eni, token: str | None) -> Reply:
    view = eni_view(region, eni, region.now)
    if eni.attachment is None:
        view["Status"] = "pending"
    return {"NetworkInterface": view, "ClientToken": token}


# --- making


def _take(region: Region, subnet: Subnet, args: Args) -> dict[str, Any]:
    primary, wanted, ipv6 = read_addresses(args)
    _check_unattached_limit(region, wanted, ipv6)
    pool = region.pools[subnet.id]
    with pool.all_or_nothing():
        chosen = pool.take_address(primary) if primary else pool.pick_address(region.knobs.address_choice)
        addresses, prefixes = take_ipv4(region, subnet, wanted)
        ipv6_addresses, ipv6_prefixes = take_ipv6(region, subnet, ipv6)
    return {
        "primary_ip": chosen,
        "addresses": addresses,
        "prefixes": prefixes,
        "ipv6_addresses": ipv6_addresses,
        "ipv6_prefixes": ipv6_prefixes,
    }


def read_addresses(args: Args) -> tuple[str | None, Wanted, Wanted]:
    """Returns the primary address a creating call names, and what else it wants of IPv4 and of IPv6."""
    primary, secondary = _named_addresses(args)
    return primary, Wanted.of({**args, "SecondaryAddresses": secondary}, IPV4_OF_CREATE), Wanted.of(args, IPV6)


def _nothing(args: Args) -> dict[str, Any]:
    """Returns what an EFA-only ENI holds; raises when addresses are asked for all the same."""
    asked = [name for name in ADDRESS_PARAMETERS if args.get(name)]
    if asked:
        raise no_addresses_on_efa_only(asked[0])
    return {"primary_ip": ""}


def _named_addresses(args: Args) -> tuple[str | None, list[str]]:
    """Returns the primary and the secondary addresses a request names."""
    primary: str | None = args.get("PrivateIpAddress")
    secondary = []
    for item in args.get("PrivateIpAddresses", []):
        if item.get("Primary"):
            if primary is not None:
                raise invalid_combination("Only one primary private IP address may be specified.")
            primary = item["PrivateIpAddress"]
        else:
            secondary.append(item["PrivateIpAddress"])
    return primary, secondary


def _check_unattached_limit(region: Region, wanted: Wanted, ipv6: Wanted) -> None:
    limit = region.knobs.unattached_address_limit
    if 1 + wanted.slots > limit or ipv6.slots > limit:
        raise Ec2Error("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")


def _interface_type(args: Args) -> str:
    kind: str = args.get("InterfaceType", "interface")
    if kind not in INTERFACE_TYPES:
        text = (
            f"Value ({kind}) for parameter interfaceType is invalid. Allowed values are {', '.join(INTERFACE_TYPES)}."
        )
        raise invalid_value(text)
    return kind


def _new_mac(region: Region) -> str:
    """Returns a MAC no other ENI has, locally administered as AWS's are."""
    while True:
        mac = ":".join(f"{byte:02x}" for byte in (0x02, *region.rng.randbytes(5)))
        if not region.enis.find("mac-address", mac):
            return mac


def _refuse_large_listing(region: Region, args: Args) -> None:
    indexed = any(wanted["Name"] in INDEXED_FILTERS for wanted in args.get("Filters", []))
    if args.get("NetworkInterfaceIds") or args.get("MaxResults") is not None or indexed:
        return
    if len(region.enis) > region.knobs.unpaginated_limit:
        text = "You must use pagination or one of the filters "
        raise Ec2Error("OperationNotPermitted", f"{text}{', '.join(sorted(INDEXED_FILTERS))}.")
