"""Decides what the VPC's router must hold for a set of ENIs: links, routes and accepted sources. Pure.

Its input are the stand-in's ports (ENIs whose kernel link exists now) and the nodes' namespaces; its output is one
value that ``links``, ``routes`` and ``firewall`` bring about. It does not know what the kernel holds at present.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from eni_lab.aws.engine.ports import Port
    from eni_lab.fabric.namespaces import Namespace

LINK_PREFIX = "v"
"""Every link of the router towards an ENI begins with this, and nothing else in its namespace does."""
IPV6_GATEWAY = "fe80:ec2::1"
"""The router's address on every link in IPv6, the same in all subnets (Amazon VPC user guide, "Subnet routing")."""


@dataclass(frozen=True, slots=True)
class Link:
    """One veth pair: the router's end and, inside a node, the ENI."""

    name: str
    """The router's end: ``v`` and the last eleven characters of the ENI's id, within the kernel's 15."""
    eni_id: str
    namespace: Namespace
    """The node's network namespace, where the ENI's end is created."""
    node_name: str
    """The ENI's name inside the node: ``eth0``, ``eth1``, … or ``eth1x2`` for device 2 of card 1."""
    mac: str
    address: str | None
    """``10.0.1.10/24`` for the ENI an image configures by DHCP at boot, None for all others."""
    gateway: str
    """The subnet's router, ``10.0.1.1``: base plus one (VPC user guide, "Subnet sizing")."""
    ipv6_address: str | None = field(default=None, compare=False)
    """``2600:1f18:0:1::5/128``, which DHCPv6 gives the boot ENI; one that comes later is left to the node."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """What an ENI may send: packets from its MAC with a source address in ``cidr``."""

    link: str
    mac: str
    cidr: str


@dataclass(frozen=True, slots=True)
class FabricState:
    """Everything the router holds on behalf of the ENIs."""

    links: Mapping[str, Link]
    """By the router's link name."""
    routes: Mapping[str, str]
    """The link that owns a destination: ``10.0.1.10/32``, ``10.0.1.32/28``, ``2600:1f18:0:1:a::/80``."""
    gateways: frozenset[str]
    """Addresses the router answers ARP for as its own."""
    sources: frozenset[Source]
    primaries: frozenset[tuple[str, str]]
    """(link, IPv4 address) pairs that have a way to the internet gateway; every IPv6 address has one by itself."""


def desired(ports: Iterable[Port], nodes: Mapping[str, Namespace]) -> FabricState:
    """The state for ``ports`` whose instance is in ``nodes``; an ENI of an unknown instance has no link yet."""
    plugged = [port for port in ports if port.instance_id in nodes]
    return FabricState(
        links={link_name(port.eni_id): _link(port, nodes[port.instance_id]) for port in plugged},
        routes={cidr: link_name(port.eni_id) for port in plugged for cidr in owned(port)},
        gateways=frozenset(gateway(port.subnet_cidr) for port in plugged),
        sources=frozenset(Source(link_name(port.eni_id), port.mac, cidr) for port in plugged for cidr in owned(port)),
        primaries=frozenset((link_name(port.eni_id), port.primary_ip) for port in plugged),
    )


def link_name(eni_id: str) -> str:
    """The router's end of the ENI's veth: ``eni-0123456789abcdef0`` has ``v6789abcdef0``."""
    return LINK_PREFIX + eni_id[-11:]


def node_link_name(device_index: int, network_card: int) -> str:
    """The ENI's name inside its node, by device index, and by card on types that have several."""
    return f"eth{network_card}x{device_index}" if network_card else f"eth{device_index}"


def gateway(subnet_cidr: str) -> str:
    """The router's address in a subnet: ``10.0.1.1`` for ``10.0.1.0/24``."""
    return str(ipaddress.IPv4Network(subnet_cidr)[1])


def owned(port: Port) -> Iterator[str]:
    """The CIDRs that belong to an ENI: its addresses of both families as /32 and /128, and its prefixes."""
    for address in (port.primary_ip, *port.addresses):
        yield f"{address}/32"
    for address in port.ipv6_addresses:
        yield f"{address}/128"
    yield from port.prefixes
    yield from port.ipv6_prefixes


def owner(ports: Iterable[Port], address: str) -> Port | None:
    """The ENI that ``address`` belongs to, alone or in a prefix; None for an address nobody owns."""
    wanted = ipaddress.ip_address(address)
    for port in ports:
        if any(wanted in ipaddress.ip_network(cidr) for cidr in owned(port)):
            return port
    return None


def _link(port: Port, namespace: Namespace) -> Link:
    at_boot = port.device_index == 0 and port.network_card == 0
    prefix_length = ipaddress.IPv4Network(port.subnet_cidr).prefixlen
    return Link(
        name=link_name(port.eni_id),
        eni_id=port.eni_id,
        namespace=namespace,
        node_name=node_link_name(port.device_index, port.network_card),
        mac=port.mac,
        address=f"{port.primary_ip}/{prefix_length}" if at_boot else None,
        gateway=gateway(port.subnet_cidr),
        ipv6_address=next((f"{address}/128" for address in port.ipv6_addresses), None) if at_boot else None,
    )
