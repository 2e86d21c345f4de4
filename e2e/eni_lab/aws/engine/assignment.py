"""Addresses and prefixes of an existing ENI: the Assign and Unassign calls of both families.

Replies list only what is new. There is no ClientToken here: a repeated call assigns again, as on AWS.
"""

from collections.abc import Sequence
from dataclasses import replace

from eni_lab.aws.engine.errors import invalid_value, missing
from eni_lab.aws.engine.holdings import IPV4_OF_ASSIGN, IPV6, Wanted, take_ipv4, take_ipv6
from eni_lab.aws.engine.limits import check_growth, check_ipv6_growth
from eni_lab.aws.engine.model import Eni
from eni_lab.aws.engine.region import Args, Region, Reply


def assign_private_ip_addresses(region: Region, args: Args) -> Reply:
    """Adds secondary IPv4 addresses or prefixes, all or nothing."""
    eni = region.eni(args["NetworkInterfaceId"])
    wanted = Wanted.of(args, IPV4_OF_ASSIGN)
    if not wanted.slots:
        raise missing(" or ".join(IPV4_OF_ASSIGN))
    check_growth(region, eni, wanted)
    subnet = region.subnet(eni.subnet_id)
    givers = _givers(region, eni, wanted.addresses) if args.get("AllowReassignment") else {}
    rest = replace(wanted, addresses=tuple(a for a in wanted.addresses if a not in givers))
    with region.pools[subnet.id].all_or_nothing():
        taken, prefixes = take_ipv4(region, subnet, rest)
    for address, giver in givers.items():
        _drop_address(region, giver.id, address)
    addresses = (*givers, *taken)
    grown = replace(eni, addresses=(*eni.addresses, *addresses), prefixes=(*eni.prefixes, *prefixes))
    region.enis.put(eni.id, grown)
    return {
        "NetworkInterfaceId": eni.id,
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in addresses],
        "AssignedIpv4Prefixes": [{"Ipv4Prefix": prefix} for prefix in prefixes],
    }


def unassign_private_ip_addresses(region: Region, args: Args) -> Reply:
    """Takes secondary IPv4 addresses and prefixes away, all or nothing; the primary address cannot go."""
    eni = region.eni(args["NetworkInterfaceId"])
    addresses, prefixes = args.get("PrivateIpAddresses", []), args.get("Ipv4Prefixes", [])
    if not addresses and not prefixes:
        raise missing("PrivateIpAddresses or Ipv4Prefixes")
    _require_assigned(eni, addresses, eni.addresses)
    _require_assigned(eni, prefixes, eni.prefixes)
    pool = region.pools[eni.subnet_id]
    for address in addresses:
        pool.release_address(address)
    for prefix in prefixes:
        pool.release_prefix(prefix)
    shrunk = replace(eni, addresses=_without(eni.addresses, addresses), prefixes=_without(eni.prefixes, prefixes))
    region.enis.put(eni.id, shrunk)
    return {}


def assign_ipv6_addresses(region: Region, args: Args) -> Reply:
    """Adds IPv6 addresses or prefixes, all or nothing."""
    eni = region.eni(args["NetworkInterfaceId"])
    wanted = Wanted.of(args, IPV6)
    if not wanted.slots:
        raise missing(" or ".join(IPV6))
    check_ipv6_growth(region, eni, wanted)
    addresses, prefixes = take_ipv6(region, region.subnet(eni.subnet_id), wanted)
    grown = replace(
        eni,
        ipv6_addresses=(*eni.ipv6_addresses, *addresses),
        ipv6_prefixes=(*eni.ipv6_prefixes, *prefixes),
    )
    region.enis.put(eni.id, grown)
    new = {"AssignedIpv6Addresses": list(addresses), "AssignedIpv6Prefixes": list(prefixes)}
    return {"NetworkInterfaceId": eni.id, **new}


def unassign_ipv6_addresses(region: Region, args: Args) -> Reply:
    """Takes IPv6 addresses and prefixes away, all or nothing."""
    eni = region.eni(args["NetworkInterfaceId"])
    addresses, prefixes = args.get("Ipv6Addresses", []), args.get("Ipv6Prefixes", [])
    _require_assigned(eni, addresses, eni.ipv6_addresses)
    _require_assigned(eni, prefixes, eni.ipv6_prefixes)
    for address in addresses:
        region.ipv6_pools[eni.subnet_id].release_address(address)
    for prefix in prefixes:
        region.ipv6_pools[eni.subnet_id].release_prefix(prefix)
    shrunk = replace(
        eni,
        ipv6_addresses=_without(eni.ipv6_addresses, addresses),
        ipv6_prefixes=_without(eni.ipv6_prefixes, prefixes),
    )
    region.enis.put(eni.id, shrunk)
    gone = {"UnassignedIpv6Addresses": addresses, "UnassignedIpv6Prefixes": prefixes}
    return {"NetworkInterfaceId": eni.id, **gone}


def _givers(region: Region, eni: Eni, addresses: Sequence[str]) -> dict[str, Eni]:
    """Finds the other ENIs of the subnet that hold one of these as a secondary address."""
    others = [e for e in region.enis.values() if e.subnet_id == eni.subnet_id and e.id != eni.id]
    return {address: other for address in addresses for other in others if address in other.addresses}


def _drop_address(region: Region, eni_id: str, address: str) -> None:
    giver = region.enis.get(eni_id)
    assert giver is not None
    region.enis.put(eni_id, replace(giver, addresses=_without(giver.addresses, (address,))))


def _require_assigned(eni: Eni, named: Sequence[str], held: Sequence[str]) -> None:
    if len(set(named)) < len(named) or not set(named) <= set(held):
        raise invalid_value(f"Some of the specified addresses are not assigned to interface {eni.id}")


def _without(held: Sequence[str], gone: Sequence[str]) -> tuple[str, ...]:
    return tuple(item for item in held if item not in gone)
