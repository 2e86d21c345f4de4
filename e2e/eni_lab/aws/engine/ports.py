"""What the VPC fabric must show as a kernel link now, and whose traffic it may let through.

Counterpart: ``eni_lab.fabric.service`` looks often and acts when the ports are others than before.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """One ENI whose link exists now: attached and its link delay over, its detachment not complete.

    ``addresses`` are the secondary IPv4 addresses without mask (the primary is ``primary_ip`` only), ``prefixes`` the
    /28s as CIDR; ``ipv6_addresses`` are all IPv6 addresses, ``ipv6_prefixes`` the /80s.
    """

    eni_id: str
    mac: str
    instance_id: str
    device_index: int
    network_card: int
    vpc_id: str
    subnet_id: str
    subnet_cidr: str
    primary_ip: str
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_prefixes: tuple[str, ...] = ()
