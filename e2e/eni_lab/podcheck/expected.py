"""What is due to one address of a pod, as values: by the ENI it belongs to and the interface it is on.

Numbers and names are those of ``docs/datapath.md``, written down here a second time on purpose.
"""

import ipaddress
from dataclasses import dataclass

from eni_lab.podcheck.kernel import MAIN_TABLE, Route, Rule, host_cidr

POD_TABLE = 512
POD_PRIORITY = 512
SOURCE_PRIORITY = 1536
ENI_PRIORITY = 32765
IN_POD_PRIORITY = 1
"""Of the rules inside a pod that has several interfaces."""
VETH_PREFIX = "eni"
ROUTER_OF_EVERY_SUBNET = "fe80:ec2::1"
"""The VPC's router for IPv6, the same link-local address in every subnet (Amazon VPC user guide, "Route tables")."""


def ifname_of(number: int) -> str:
    """The name of a pod's interface: the runtime's for the first, VPC CNI's for one of a further network card."""
    return f"mNicIf{number}" if number else "eth0"


@dataclass(frozen=True, kw_only=True)
class Eni:
    """An ENI that pods of a node have addresses of."""

    mac: str
    device_index: int
    network_card: int = 0
    mtu: int = 9001
    subnet: str = ""
    """Its subnet's block of the address's family."""

    @property
    def is_primary(self) -> bool:
        """Whether it is the node's first."""
        return (self.network_card, self.device_index) == (0, 0)

    @property
    def table(self) -> int:
        """Its route table: 2 for device 1, 10203 for device 3 of card 2; the primary's is the main table."""
        if self.is_primary:
            return MAIN_TABLE
        if self.network_card == 0:
            return self.device_index + 1
        return 10000 + 100 * self.network_card + self.device_index

    def gateway(self, family: int) -> str:
        """The subnet's router: base plus one in IPv4, a link-local address in IPv6."""
        return ROUTER_OF_EVERY_SUBNET if family == 6 else str(ipaddress.ip_network(self.subnet)[1])


@dataclass(frozen=True, kw_only=True)
class PodAddress:
    """One address, on one interface of one pod."""

    address: str
    eni: Eni
    mtu: int = 9001
    """Of both ends of the pod's veth."""
    ifname: str = "eth0"
    number: int = 0
    """Of the interface: eth0 is 0."""
    veth_prefix: str = VETH_PREFIX

    @property
    def family(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version

    @property
    def gateway(self) -> str:
        """What the pod sends everything to, an address of nobody: 169.254.1.1 and fe80::1 on eth0."""
        return f"fe80::{self.number + 1:x}" if self.family == 6 else f"169.254.1.{self.number + 1}"

    @property
    def default(self) -> str:
        """The destination of the default route."""
        return "::/0" if self.family == 6 else "0.0.0.0/0"

    @property
    def pod_routes(self) -> frozenset[Route]:
        """Of the pod's namespace: in the main table for the first interface, in one of its own number for each other.

        A link-local address is on the link by itself, the IPv4 one only by a route.
        """
        table = self.number or MAIN_TABLE
        default = Route(table, self.default, self.ifname, self.gateway)
        to_gateway = Route(table, host_cidr(self.gateway), self.ifname)
        return frozenset({default} if self.family == 6 else {default, to_gateway})

    @property
    def pod_rules(self) -> list[Rule]:
        """Of the pod's namespace: what is sent from an address of a further interface goes by that one's table."""
        rule = Rule(IN_POD_PRIORITY, self.number, self.family, host_cidr(self.address))
        return [rule] if self.number else []
