"""Brings about the router's routes: every owned address and prefix to its ENI, everything else nowhere.

Ours are told from others' by their protocol number. Acts on the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
import ipaddress
from typing import TYPE_CHECKING

from pyroute2.netlink.exceptions import NetlinkError

from eni_lab.fabric.links import IPV6_NEXT_HOP, NEXT_HOP
from eni_lab.kube.addresses import API_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyroute2 import IPRoute

LOOPBACK = 1
MAIN_TABLE = 254
PROTOCOL = 187
"""Marks routes as the fabric's (rtnetlink(7): numbers from 128 up are free for the user's programs)."""
_IPV4_WAY = {"gateway": NEXT_HOP, "flags": ["onlink"], "prefsrc": API_ADDRESS}
_IPV6_WAY = {"gateway": IPV6_NEXT_HOP}


def ensure_routes(ipr: IPRoute, wanted: Mapping[str, str], indexes: Mapping[str, int]) -> None:
    """Makes ours exactly ``wanted`` (destination to link name); a destination whose link is not there is left out.

    10.0.1.10/32 via 169.254.0.2 dev v6789abcdef0 onlink: the next hop's neighbour entry carries the ENI's MAC, so
    a packet arrives whether or not the node would answer ARP for its address, as on AWS.
    2600:1f18:0:1:a::/80 via fe80::2 dev v6789abcdef0: likewise.
    """
    reachable = {cidr: indexes[link] for cidr, link in wanted.items() if link in indexes}
    current = _present(ipr)
    for cidr in current.keys() - reachable.keys():
        _remove(ipr, cidr)
    for cidr, index in reachable.items():
        if current.get(cidr) != index:
            way = _IPV6_WAY if ":" in cidr else _IPV4_WAY
            ipr.route("replace", dst=cidr, oif=index, proto=PROTOCOL, **way)


def ensure_default_blackhole(ipr: IPRoute) -> None:
    """Packets to an address nobody owns vanish without an answer, and nobody answers ARP for it."""
    ipr.route("replace", family=2, dst="0.0.0.0/0", type="blackhole", proto="static")
    ipr.route("replace", family=10, dst="::/0", type="blackhole", proto="static")


def ensure_gateways(ipr: IPRoute, wanted: frozenset[str], present: frozenset[str]) -> None:
    """Makes the subnets' gateways local addresses, so that the router answers ARP for them.

    They stay once made: a subnet has its gateway whether or not an ENI is in it.
    """
    for address in wanted - present:
        ensure_local_address(ipr, address)


def ensure_local_address(ipr: IPRoute, address: str) -> None:
    """Gives the router ``address`` on its loopback."""
    ipr.addr("replace", index=LOOPBACK, address=address, prefixlen=32)


def _remove(ipr: IPRoute, cidr: str) -> None:
    """Deletes one of ours; one that went with its link is no error."""
    try:
        ipr.route("del", dst=cidr, proto=PROTOCOL)
    except NetlinkError as error:
        if error.code != errno.ESRCH:
            raise


def _present(ipr: IPRoute) -> dict[str, int]:
    """Link index of each of our routes, by destination."""
    return {
        str(ipaddress.ip_network((route.get_attr("RTA_DST"), route["dst_len"]))): route.get_attr("RTA_OIF")
        for family in (2, 10)
        for route in ipr.get_routes(family=family, table=MAIN_TABLE, proto=PROTOCOL)
    }
