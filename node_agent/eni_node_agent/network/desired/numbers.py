"""Numbers of ours in the host's network. VPC CNI's where it has one, so that a node looks familiar.

``docs/datapath.md`` sets them beside those of kube-proxy, Cilium, Calico and Amazon's images.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from eni_crds.nodeippool import EniRole, Family, SupplyEni

POD_TABLE: Final = 512
"""Table that holds a route to each pod of the node and nothing else: no match falls through to the next rule."""
LOCAL_TABLE: Final = 255
MAIN_TABLE: Final = 254
POD_PRIORITY: Final = 512
MARK_PRIORITY: Final = 1024
EXTERNAL_SERVICE_PRIORITY: Final = 1535
POD_SOURCE_PRIORITY: Final = 1536
ENI_SOURCE_PRIORITY: Final = 32765
LOOSE_REVERSE_PATH: Final = 2
"""rp_filter: a reply to a pod of a secondary ENI enters by the primary, where strict mode would drop it."""
ROUTER_ADVERTISEMENTS_THOUGH_FORWARDING: Final = 2
"""accept_ra: the primary's IPv6 default route comes from the VPC's router, and a node that forwards ignores it at 1."""
IPV6_GATEWAY: Final = "fe80:ec2::1"
"""The VPC's router on every subnet (EC2 user guide, "IPv6 addresses"; it is a link-local address)."""
SMALLEST_IPV6_MTU: Final = 1280
"""RFC 8200 section 5."""
EGRESS_CIDRS: Final[Mapping[Family, str]] = MappingProxyType(
    {Family.IPV4: "169.254.172.0/22", Family.IPV6: "fd00::ac:0/118"}
)
"""Node-local addresses by which pods of the other family reach the world: the same on every node, seen by none."""
MULTICAST_CIDRS: Final[Mapping[Family, str]] = MappingProxyType({Family.IPV4: "224.0.0.0/4", Family.IPV6: "ff00::/8"})


def table_of(eni: SupplyEni) -> int:
    """Returns the ENI's route table, numbered as VPC CNI does: 2 for device 1, 10203 for device 3 of card 2."""
    if eni.role is EniRole.PRIMARY:
        return MAIN_TABLE
    if eni.network_card == 0:
        return eni.device_index + 1
    return 10000 + 100 * eni.network_card + eni.device_index
