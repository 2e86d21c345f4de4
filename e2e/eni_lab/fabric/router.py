"""Prepares the VPC router's namespace: forwarding, its own addresses, the rules, and the host outside.

Acts on the network namespace of the calling thread, once, before the first ENI. ``fabric`` calls it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyroute2 import IPRoute

from eni_lab.fabric import firewall, outside, routes
from eni_lab.fabric.links import IFA_F_NODAD, present, set_sysctls
from eni_lab.fabric.namespaces import Holder, entered
from eni_lab.kube.addresses import API_ADDRESS

METADATA = "169.254.169.254"
"""Where an instance reads about itself (EC2 user guide, "Instance metadata")."""
ROUTER_SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",  # the kernel uses the larger of this and the link's
    "ipv4/conf/all/send_redirects": "0",
    "ipv6/conf/all/forwarding": "1",
}
INTERNET_SYSCTLS = {
    "ipv4/conf/{}/rp_filter": "0",
    "ipv6/conf/{}/accept_dad": "0",  # while an end looks for duplicates of its own it cannot ask for the other
    "ipv6/conf/{}/accept_ra": "0",
}
OUTSIDE_MTU = 1500
"""The internet gateway's (EC2 user guide, "Network MTU for your EC2 instance")."""


def prepare() -> Holder:
    """Makes the calling thread's namespace the router; returns the host outside, which lives until closed."""
    set_sysctls(ROUTER_SYSCTLS, "all")
    with IPRoute() as ipr:
        ipr.link("set", index=routes.LOOPBACK, state="up")
        for address in (API_ADDRESS, METADATA):
            routes.ensure_local_address(ipr, address)
        routes.ensure_default_blackhole(ipr)
        for index in present(ipr).values():
            ipr.link("del", index=index)
        for family in firewall.FAMILIES:
            firewall.load(f"add table {family} {firewall.TABLE}\ndelete table {family} {firewall.TABLE}")
        firewall.load(firewall.rules([API_ADDRESS, METADATA], outside.PEERS))
        return _connect_outside(ipr)


def _connect_outside(ipr: IPRoute) -> Holder:
    for stale in ipr.link_lookup(ifname=firewall.INTERNET_LINK):
        ipr.link("del", index=stale)
    host = Holder([sys.executable, "-m", "eni_lab.fabric.outside"])
    try:
        _create_outside_link(ipr, host.path)
        with entered(host.path), IPRoute() as inside:
            _configure_host(inside)
        set_sysctls(INTERNET_SYSCTLS, firewall.INTERNET_LINK)
        index = ipr.link_lookup(ifname=firewall.INTERNET_LINK)[0]
        _configure(ipr, index, outside.ROUTER, outside.IPV6_ROUTER)
        for peer in outside.PEERS:
            ipr.route("replace", dst=f"{peer}/32", gateway=outside.ADDRESS, oif=index)
    except BaseException:
        host.close()
        raise
    return host


def _create_outside_link(ipr: IPRoute, namespace_path: str) -> None:
    with Path(namespace_path).open("rb") as namespace:
        peer = {"ifname": "eth0", "mtu": OUTSIDE_MTU, "net_ns_fd": namespace.fileno()}
        ipr.link("add", ifname=firewall.INTERNET_LINK, kind="veth", mtu=OUTSIDE_MTU, peer=peer)


def _configure_host(inside: IPRoute) -> None:
    """Acts in the namespace of the host outside."""
    set_sysctls(INTERNET_SYSCTLS, "eth0")
    index = inside.link_lookup(ifname="eth0")[0]
    inside.link("set", index=routes.LOOPBACK, state="up")
    _configure(inside, index, outside.ADDRESS, outside.IPV6_ADDRESS)
    for peer in outside.PEERS:
        inside.addr("add", index=index, address=peer, prefixlen=32)
    inside.route("add", dst="0.0.0.0/0", gateway=outside.ROUTER)
    inside.route("add", dst="::/0", gateway=outside.IPV6_ROUTER)


def _configure(ipr: IPRoute, index: int, address: str, ipv6_address: str) -> None:
    ipr.addr("add", index=index, address=address, prefixlen=outside.PREFIX_LENGTH)
    ipr.link("set", index=index, state="up")
    ipr.addr("add", index=index, address=ipv6_address, prefixlen=outside.IPV6_PREFIX_LENGTH, flags=IFA_F_NODAD)
