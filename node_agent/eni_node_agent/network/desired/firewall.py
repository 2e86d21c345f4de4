"""What our nftables tables must do for a supply, one for each family. Their text is ``ruleset``'s."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from eni_crds.nodeippool import Family, Supply, SupplyEni
from eni_node_agent.network.desired.ipv4 import disjoint
from eni_node_agent.network.desired.items import Egress, Firewall, Snat
from eni_node_agent.network.desired.numbers import EGRESS_CIDRS
from eni_node_agent.network.desired.settings import NetworkSettings


def firewalls(supply: Supply, primary: SupplyEni, ifname: str, settings: NetworkSettings) -> Iterator[Firewall]:
    """Yields what both tables must do; ``ifname`` is the primary ENI's link."""
    families = frozenset(supply.families)
    for family in Family:
        serves = family in families
        yield Firewall(
            snat=_snat(supply, primary, settings) if serves and family is Family.IPV4 else None,
            node_port=serves and settings.node_port_support,
            primary_ifname=ifname,
            veth_prefix=settings.veth_prefix,
            mark=settings.connmark,
            family=family,
            egress=_egress(family, primary, settings) if has_egress(family, families, settings) else None,
        )


def has_egress(family: Family, families: frozenset[Family], settings: NetworkSettings) -> bool:
    """Returns whether pods have node-local addresses of a family, because the pool has only the other one."""
    enabled = settings.v4_egress if family is Family.IPV4 else settings.v6_egress
    return enabled and bool(families) and family not in families


def _snat(supply: Supply, primary: SupplyEni, settings: NetworkSettings) -> Snat | None:
    if settings.external_snat:
        return None
    # Subnets are inside the VPC: naming them too keeps the VPC whole should its CIDRs not be known.
    subnets = [eni.subnet_cidr for eni in supply.enis]
    exempt = disjoint([*supply.vpc_cidrs, *subnets, *settings.exclude_snat_cidrs])
    return Snat(_node_address(primary), settings.snat_ports, exempt)


def _egress(family: Family, primary: SupplyEni, settings: NetworkSettings) -> Egress:
    # The node's IPv6 address is not part of a supply; the kernel knows it and takes it for what leaves by that link.
    address = _node_address(primary) if family is Family.IPV4 else None
    return Egress(EGRESS_CIDRS[family], address, settings.snat_ports)


def _node_address(primary: SupplyEni) -> str:
    return str(IPv4Address(primary.primary_ip))
