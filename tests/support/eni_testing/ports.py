"""Ports for tests that need no EC2: ENIs of instance a in 10.0.1.0/24 and of instance b in 10.0.2.0/24."""

from __future__ import annotations

from eni_lab.aws.engine.ports import Port


def eni_port(
    instance: str,
    device_index: int = 0,
    *,
    addresses: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = (),
    ipv6_addresses: tuple[str, ...] = (),
    ipv6_prefixes: tuple[str, ...] = (),
) -> Port:
    """Returns an ENI of instance ``a`` or ``b``; its primary address ends in 10 for device 0, 20 for device 1."""
    subnet = {"a": 1, "b": 2}[instance]
    return Port(
        eni_id=f"eni-0000000000000{instance}00{device_index}",
        mac=f"02:00:00:00:0{instance}:0{device_index}",
        instance_id=f"i-0000000000000000{instance}",
        device_index=device_index,
        network_card=0,
        vpc_id="vpc-1",
        subnet_id=f"subnet-{subnet}",
        subnet_cidr=f"10.0.{subnet}.0/24",
        primary_ip=f"10.0.{subnet}.{10 * (device_index + 1)}",
        addresses=addresses,
        prefixes=prefixes,
        ipv6_addresses=ipv6_addresses,
        ipv6_prefixes=ipv6_prefixes,
    )
