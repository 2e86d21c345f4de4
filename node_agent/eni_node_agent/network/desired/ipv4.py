"""What IPv4 asks of the host: a table of its own for each secondary ENI, and rules that lead pods' packets there."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network, collapse_addresses

from eni_crds.nodeippool import SupplyEni
from eni_node_agent.network.desired.items import Address, Item, ReversePath, Route, Rule, Sysctl
from eni_node_agent.network.desired.numbers import (
    ENI_SOURCE_PRIORITY,
    EXTERNAL_SERVICE_PRIORITY,
    LOOSE_REVERSE_PATH,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
    POD_TABLE,
    table_of,
)
from eni_node_agent.network.desired.settings import NetworkSettings


def shared(settings: NetworkSettings, *, are_pods_of_the_vpc: bool) -> Iterator[Item]:
    """Yields what serves the pods of every ENI.

    Args:
        settings: a person's choices.
        are_pods_of_the_vpc: False: pods have node-local addresses only, of which no ENI but the primary knows.
    """
    yield Sysctl("net/ipv4/ip_forward", "1")
    yield Rule(POD_PRIORITY, POD_TABLE)
    if not are_pods_of_the_vpc:
        return
    if settings.node_port_support or not settings.external_snat:
        yield Rule(MARK_PRIORITY, MAIN_TABLE, mark=settings.connmark)
    # 192.0.2.0/24 is reached by the primary ENI alone, behind a VPN say: 1535: to 192.0.2.0/24 lookup main
    for destination in disjoint(settings.external_service_cidrs):
        yield Rule(EXTERNAL_SERVICE_PRIORITY, MAIN_TABLE, destination=destination)


def primary(ifname: str) -> Iterator[Item]:
    """Yields what is the primary ENI's; address and default route come from DHCP, as the image configured them."""
    yield ReversePath(ifname, LOOSE_REVERSE_PATH)


def secondary(eni: SupplyEni, ifname: str) -> Iterator[Item]:
    """Yields what is a secondary ENI's.

    ENI eth1 of device 1, 10.0.1.5 in 10.0.1.0/24, with the prefix 10.0.1.16/28::

        10.0.1.5/24 on eth1; table 2: 10.0.1.1 dev eth1, default via 10.0.1.1 dev eth1
        1536: from 10.0.1.16/28 lookup 2; 32765: from 10.0.1.5 lookup 2
    """
    table = table_of(eni)
    yield Address(ifname, str(IPv4Interface(f"{eni.primary_ip}/{IPv4Network(eni.subnet_cidr).prefixlen}")))
    yield Route(table, f"{eni.gateway}/32", ifname)
    yield Route(table, "0.0.0.0/0", ifname, eni.gateway)
    for source in pods_of(eni):
        yield Rule(POD_SOURCE_PRIORITY, table, source)
    yield Rule(ENI_SOURCE_PRIORITY, table, f"{eni.primary_ip}/32")


def pods_of(eni: SupplyEni) -> tuple[str, ...]:
    """Returns the CIDRs of the pods of an ENI."""
    return disjoint([*eni.addresses, *eni.prefixes])


def disjoint(cidrs: Iterable[str]) -> tuple[str, ...]:
    """Returns the same addresses in the fewest CIDRs, sorted.

    Rules are tried one after the other (12 ns each), so neighbours are merged: 10.0.1.2 and 10.0.1.3 make one /31.

    Raises:
        ValueError: a CIDR is none.
    """
    return tuple(str(network) for network in collapse_addresses(IPv4Network(cidr, strict=False) for cidr in cidrs))
