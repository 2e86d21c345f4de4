"""What EC2 says of an instance type, as far as networks and placement need it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One row of DescribeInstanceTypes; ``hypervisor`` is empty for bare metal."""

    name: str
    hypervisor: str
    vcpus: int
    memory_mib: int
    architectures: tuple[str, ...]
    maximum_enis: int
    ipv4_per_eni: int
    ipv6_per_eni: int
    efa: bool
    default_card: int
    cards: tuple[int, ...]
    """ENIs per network card, by card index."""

    @property
    def bare_metal(self) -> bool:
        """Tells whether the type runs without a hypervisor."""
        return not self.hypervisor

    @property
    def prefixes_supported(self) -> bool:
        """Tells whether ENIs may hold prefixes: Nitro and bare metal only (ec2-prefix-eni.html)."""
        return self.hypervisor != "xen"
