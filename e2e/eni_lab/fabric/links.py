"""Brings about the router's links: one veth pair per ENI, the far end made in place inside its node.

Acts on the network namespace of the calling thread. Decides nothing; ``desired`` does.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from eni_lab.fabric.desired import IPV6_GATEWAY, LINK_PREFIX
from eni_lab.fabric.namespaces import entered

if TYPE_CHECKING:
    from eni_lab.fabric.desired import Link

MTU = 9001
"""Jumbo frames inside a VPC (EC2 user guide, "Network MTU for your EC2 instance")."""
NEXT_HOP = "169.254.0.2"
"""Stands for "the ENI at the other end" on every link; a permanent neighbour gives it the ENI's MAC."""
IPV6_NEXT_HOP = "fe80::2"
"""The same for IPv6."""
NUD_PERMANENT = 0x80
IFA_F_NODAD = 0x02
LINK_SYSCTLS = {
    "ipv4/conf/{}/proxy_arp": "1",  # answers for every address some other link owns …
    "ipv4/neigh/{}/proxy_delay": "0",  # … at once instead of after up to 0.8 s
    "ipv4/conf/{}/rp_filter": "0",
    "ipv4/conf/{}/send_redirects": "0",
    "ipv6/conf/{}/addr_gen_mode": "1",  # no address but the gateway's
    "ipv6/conf/{}/accept_ra": "0",
}


def present(ipr: IPRoute) -> dict[str, int]:
    """The index of each ENI link the router has now, by name."""
    named = {link.get_attr("IFLA_IFNAME"): int(link["index"]) for link in ipr.get_links()}
    return {name: index for name, index in named.items() if name.startswith(LINK_PREFIX)}


def create(ipr: IPRoute, link: Link) -> None:
    """Makes the pair, ready for routes on the router's side, and configured in the node if it is the boot ENI.

    A secondary ENI comes up without address and down, as on an image that configures only its first interface.
    NetlinkError 17 (EEXIST) when the node already has an interface of that name; OSError when the node has gone.
    """
    _create_pair(ipr, link)
    index = ipr.link_lookup(ifname=link.name)[0]
    set_sysctls(LINK_SYSCTLS, link.name)
    ipr.link("set", index=index, state="up")
    ipr.addr("add", index=index, address=IPV6_GATEWAY, prefixlen=64, flags=IFA_F_NODAD)
    for next_hop in (NEXT_HOP, IPV6_NEXT_HOP):
        ipr.neigh("replace", dst=next_hop, lladdr=link.mac, ifindex=index, state=NUD_PERMANENT)
    if link.address is not None:
        with entered(link.namespace.path), IPRoute() as inside:
            _configure(inside, link.node_name, link.address, link.gateway)
            if link.ipv6_address is not None:
                _configure_ipv6(inside, link.node_name, link.ipv6_address)


def remove(ipr: IPRoute, index: int) -> None:
    """Deletes a pair by the index of the router's end; one that went with its node is no error."""
    try:
        ipr.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def set_sysctls(values: dict[str, str], link_name: str) -> None:
    """Writes settings below ``/proc/sys/net`` of the thread's namespace, ``{}`` standing for the link."""
    for setting, value in values.items():
        Path("/proc/sys/net", setting.format(link_name)).write_text(value, encoding="ascii")


def _create_pair(ipr: IPRoute, link: Link) -> None:
    with Path(link.namespace.path).open("rb") as namespace:
        peer = {"ifname": link.node_name, "address": link.mac, "mtu": MTU, "net_ns_fd": namespace.fileno()}
        ipr.link("add", ifname=link.name, kind="veth", mtu=MTU, peer=peer)


def _configure(inside: IPRoute, name: str, address: str, gateway: str) -> None:
    """What DHCP does at boot: 10.0.1.10/24 on eth0, up, default via 10.0.1.1."""
    index = inside.link_lookup(ifname=name)[0]
    ip, prefix_length = address.split("/")
    inside.addr("add", index=index, address=ip, prefixlen=int(prefix_length))
    inside.link("set", index=index, state="up")
    inside.route("add", dst="0.0.0.0/0", gateway=gateway, oif=index, prefsrc=ip, proto="dhcp")


def _configure_ipv6(inside: IPRoute, name: str, address: str) -> None:
    """What DHCPv6 and the router's advertisement do at boot: 2600:1f18:0:1::5/128, default via fe80:ec2::1."""
    index = inside.link_lookup(ifname=name)[0]
    ip, prefix_length = address.split("/")
    inside.addr("add", index=index, address=ip, prefixlen=int(prefix_length), flags=IFA_F_NODAD)
    inside.route("add", dst="::/0", gateway=IPV6_GATEWAY, oif=index, proto="ra")
