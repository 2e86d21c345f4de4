"""What IPv6 asks of the host: as IPv4, with a /80 for each ENI and the VPC's router at one link-local address.

Nothing is translated: a pod's IPv6 address is the VPC's and, with an internet gateway, the world's. ENIs get no
address, as the router needs none to reach a prefix of theirs, so nothing waits for duplicate-address detection.
"""

from collections.abc import Iterator
from ipaddress import IPv6Network, collapse_addresses

from eni_crds.nodeippool import Family, SupplyEni
from eni_node_agent.network.desired.items import Item, Route, Rule, Sysctl
from eni_node_agent.network.desired.numbers import (
    IPV6_GATEWAY,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
    POD_TABLE,
    ROUTER_ADVERTISEMENTS_THOUGH_FORWARDING,
    table_of,
)
from eni_node_agent.network.desired.settings import NetworkSettings


def shared(settings: NetworkSettings, *, are_pods_of_the_vpc: bool) -> Iterator[Item]:
    """Yields what serves the pods of every ENI.

    Args:
        settings: a person's choices.
        are_pods_of_the_vpc: False: pods have node-local addresses only, of which no ENI but the primary knows.
    """
    yield Rule(POD_PRIORITY, POD_TABLE, family=Family.IPV6)
    if are_pods_of_the_vpc and settings.node_port_support:
        yield Rule(MARK_PRIORITY, MAIN_TABLE, mark=settings.connmark, family=Family.IPV6)


def forwarding() -> Iterator[Item]:
    """Yields what lets the node forward: after the primary's settings, or its default route would be forgotten."""
    yield Sysctl("net/ipv6/conf/all/forwarding", "1")


def primary(ifname: str) -> Iterator[Item]:
    """Yields what is the primary ENI's: the default route of the node comes from the router's advertisements."""
    yield Sysctl("net/ipv6/conf/all/disable_ipv6", "0")
    yield _enabled(ifname)
    yield Sysctl(f"net/ipv6/conf/{ifname}/accept_ra", str(ROUTER_ADVERTISEMENTS_THOUGH_FORWARDING))


def secondary(eni: SupplyEni, ifname: str) -> Iterator[Item]:
    """Yields what is a secondary ENI's; nothing without a /80.

    ENI eth1 of device 1 with the prefix 2001:db8:0:1:a::/80::

        table 2: fe80:ec2::1 dev eth1, default via fe80:ec2::1 dev eth1
        1536: from 2001:db8:0:1:a::/80 lookup 2
    """
    sources = pods_of(eni)
    if not sources:
        return
    table = table_of(eni)
    yield _enabled(ifname)
    yield Route(table, f"{IPV6_GATEWAY}/128", ifname)
    yield Route(table, "::/0", ifname, IPV6_GATEWAY)
    for source in sources:
        yield Rule(POD_SOURCE_PRIORITY, table, source, family=Family.IPV6)


def pods_of(eni: SupplyEni) -> tuple[str, ...]:
    """Returns the CIDRs of the pods of an ENI.

    Raises:
        ValueError: a CIDR is none.
    """
    return tuple(str(each) for each in collapse_addresses(IPv6Network(cidr) for cidr in eni.ipv6_prefixes))


def _enabled(ifname: str) -> Sysctl:
    return Sysctl(f"net/ipv6/conf/{ifname}/disable_ipv6", "0")
