"""What a person may choose about the host's network."""

from dataclasses import dataclass

from eni_node_agent.network.desired.items import SnatPorts


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The choices; ``eni_node_agent.settings`` reads them from the environment."""

    mtu: int = 9001
    """Bytes, of every ENI (AWS_VPC_ENI_MTU)."""
    external_snat: bool = False
    """True: something else translates; pods leave by their own ENI (AWS_VPC_K8S_CNI_EXTERNALSNAT)."""
    snat_ports: SnatPorts = SnatPorts.PRNG
    """Randomness of translated source ports (AWS_VPC_K8S_CNI_RANDOMIZESNAT)."""
    exclude_snat_cidrs: tuple[str, ...] = ()
    """Destinations outside the VPC that see the pod's own address (AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS)."""
    external_service_cidrs: tuple[str, ...] = ()
    """IPv4 destinations to which pods of every ENI leave by the primary one (AWS_EXTERNAL_SERVICE_CIDRS)."""
    node_port_support: bool = True
    """Replies to what entered by the primary ENI leave by it (AWS_VPC_CNI_NODE_PORT_SUPPORT)."""
    connmark: int = 0x80
    """Bit of the connection and packet mark that means: by the primary ENI (AWS_VPC_K8S_CNI_CONNMARK)."""
    veth_prefix: str = "eni"
    """Names of the host's ends of pods begin with this (AWS_VPC_K8S_CNI_VETHPREFIX)."""
    v4_egress: bool = True
    """Pods of a pool of IPv6 alone reach the IPv4 world by the node's own address (ENABLE_V4_EGRESS)."""
    v6_egress: bool = False
    """Pods of a pool of IPv4 alone reach the IPv6 world by the node's own address (ENABLE_V6_EGRESS)."""
