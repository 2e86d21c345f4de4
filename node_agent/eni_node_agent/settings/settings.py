"""All that a person may set about one agent, and which variable says it. Pure; ``reader`` reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eni_crds.names import AGENT_SOCKET
from eni_node_agent.settings import parsing
from eni_node_agent.settings.reader import Reader


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a person may set about one agent."""

    node_name: str
    """MY_NODE_NAME. Name of the Node and so of its NodeIPPool."""
    eni_mtu: int = 9001
    """AWS_VPC_ENI_MTU. Bytes, 576..9001; 9001 is the most a VPC carries."""
    pod_mtu: int = 9001
    """POD_MTU. Bytes, 576..9001; the ENIs' MTU unless set."""
    external_snat: bool = False
    """AWS_VPC_K8S_CNI_EXTERNALSNAT. True: something else translates pods' addresses on the way to the world."""
    snat_ports: str = "prng"
    """AWS_VPC_K8S_CNI_RANDOMIZESNAT. prng, hashrandom or none."""
    exclude_snat_cidrs: tuple[str, ...] = ()
    """AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS. Destinations, separated by commas, that see the pod's own address."""
    external_service_cidrs: tuple[str, ...] = ()
    """AWS_EXTERNAL_SERVICE_CIDRS. Destinations, separated by commas, to which pods leave by the primary ENI."""
    node_port_support: bool = True
    """AWS_VPC_CNI_NODE_PORT_SUPPORT. True: replies of node ports leave by the primary ENI."""
    connmark: int = 0x80
    """AWS_VPC_K8S_CNI_CONNMARK. Mark of connections that leave by the primary ENI."""
    veth_prefix: str = "eni"
    """AWS_VPC_K8S_CNI_VETHPREFIX. Names of the host's ends of pods' links begin with it; 1 to 4 bytes."""
    enable_v4_egress: bool = True
    """ENABLE_V4_EGRESS. In a pool of IPv6 alone: pods reach the IPv4 world by the node's own address."""
    enable_v6_egress: bool = False
    """ENABLE_V6_EGRESS. In a pool of IPv4 alone: pods reach the IPv6 world by the node's own address."""
    bandwidth_plugin: bool = False
    """ENABLE_BANDWIDTH_PLUGIN. True: the CNI plugin ``bandwidth`` follows ours in the conflist."""
    disable_pod_ipv6: bool = False
    """DISABLE_POD_V6. True: the CNI plugin ``tuning`` follows ours and takes IPv6 off pods, link-local too."""
    annotate_pod_ip: bool = False
    """ANNOTATE_POD_IP. True: a pod's addresses are written into its annotation ``vpc.amazonaws.com/pod-ips``."""
    cni_bin_dir: Path = Path("/host/opt/cni/bin")
    """HOST_CNI_BIN_PATH. Where the runtime finds CNI executables, as this process sees it."""
    cni_conf_dir: Path = Path("/host/etc/cni/net.d")
    """HOST_CNI_CONFDIR_PATH. Where the runtime finds its conflist, as this process sees it."""
    cni_cache_dir: Path = Path("/var/lib/cni")
    """ENI_CNI_CACHE_DIR. Where the runtime keeps the results of its plugins; read by ``eni-agent inspect`` alone."""
    vpc_cni_checkpoint: Path = Path("/var/run/aws-node/ipam.json")
    """AWS_VPC_K8S_CNI_BACKING_STORE. Where VPC CNI has left which pod has which address, as this process sees it."""
    vpc_cni_run_dir: Path = Path("/var/run/aws-node")
    """ENI_VPC_CNI_RUN_DIR. Folder of VPC CNI's socket: while it is answered there, VPC CNI owns this node."""
    cluster_endpoint: str = ""
    """CLUSTER_ENDPOINT. URL of the API server where the service address is of no use (no kube-proxy yet)."""
    service_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """ENI_SERVICE_ACCOUNT_DIR. Where this pod's token and the API server's certificate authority are mounted."""
    socket_path: Path = Path(AGENT_SOCKET)
    """ENI_SOCKET_PATH. Unix socket for the CNI executable."""
    run_dir: Path = Path("/run/eni-agent")
    """ENI_RUN_DIR. Folder of the journal; must be empty after a reboot, so on a tmpfs."""
    state_dir: Path = Path("/var/lib/eni-agent")
    """ENI_STATE_DIR. Folder of the last supply; survives a reboot, because the ENIs do."""
    proc_sys: Path = Path("/proc/sys")
    """ENI_PROC_SYS. The node's sysctls; a container may write those it sees at a mount of its own, not at /proc/sys."""
    hold_seconds: float = 20.0
    """ENI_HOLD_SECONDS. How long an ADD waits for the pool to grow; the kubelet gives a sandbox 4 minutes in all."""
    heartbeat_seconds: float = 120.0
    """ENI_HEARTBEAT_SECONDS. Longest time between two reports, give or take a third; the operator takes an agent that
    has not reported for 360 s for gone."""
    http_address: str = "127.0.0.1:61680"
    """ENI_HTTP_ADDRESS. Host and port of /healthz, /readyz and /metrics; on loopback, as pods must not see it."""
    metrics_address: str = ":61678"
    """ENI_METRICS_ADDRESS. Where /metrics is served beside; VPC CNI's port on all addresses, so dashboards find it."""
    has_metrics: bool = True
    """DISABLE_METRICS, turned round. False: no /metrics anywhere but on the state socket."""
    introspection_address: str = "127.0.0.1:61679"
    """INTROSPECTION_BIND_ADDRESS. Where VPC CNI's introspection is served: host and port, or unix:PATH."""
    has_introspection: bool = True
    """DISABLE_INTROSPECTION, turned round."""
    log_level: str = "INFO"
    """ENI_LOG_LEVEL (DEBUG, INFO, WARNING or ERROR), AWS_VPC_K8S_CNI_LOGLEVEL (debug, info, warn, error or fatal)."""
    log_file: str = "stderr"
    """AWS_VPC_K8S_CNI_LOG_FILE. stderr, stdout or a path."""
    plugin_log_level: str = "INFO"
    """AWS_VPC_K8S_PLUGIN_LOG_LEVEL. Of the lines about requests; the log's own unless set."""
    plugin_log_file: str = "stderr"
    """AWS_VPC_K8S_PLUGIN_LOG_FILE. Where those lines go; where the log goes unless set."""
    warnings: tuple[str, ...] = ()
    """Sentences about variables that could not be read and are as if not set."""

    @property
    def journal_path(self) -> Path:
        """The ledger's journal."""
        return self.run_dir / "ledger.db"

    @property
    def state_socket(self) -> Path:
        """Where the running agent tells ``eni-agent inspect`` and ``support-bundle`` what it knows; root's alone."""
        return self.run_dir / "state.sock"

    @property
    def supply_path(self) -> Path:
        """The last supply seen."""
        return self.state_dir / "supply.json"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Returns the settings.

        Raises:
            SettingsError: with every problem of the environment, not just the first.
        """
        reader = Reader(environ)
        eni_mtu = reader.mtu("AWS_VPC_ENI_MTU", 9001)
        values: dict[str, Any] = {
            "node_name": reader.required("MY_NODE_NAME"),
            "eni_mtu": eni_mtu,
            "pod_mtu": reader.mtu("POD_MTU", eni_mtu),
            "external_snat": reader.boolean("AWS_VPC_K8S_CNI_EXTERNALSNAT", default=False),
            "snat_ports": reader.lenient("AWS_VPC_K8S_CNI_RANDOMIZESNAT", parsing.snat_ports, "prng"),
            "exclude_snat_cidrs": reader.cidrs("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"),
            "node_port_support": reader.boolean("AWS_VPC_CNI_NODE_PORT_SUPPORT", default=True),
            "external_service_cidrs": reader.cidrs("AWS_EXTERNAL_SERVICE_CIDRS"),
            "connmark": reader.lenient("AWS_VPC_K8S_CNI_CONNMARK", parsing.mark, 0x80),
            "veth_prefix": reader.strict(
                "AWS_VPC_K8S_CNI_VETHPREFIX", parsing.veth_prefix, "eni", parsing.VETH_PREFIXES
            ),
            "enable_v4_egress": reader.boolean("ENABLE_V4_EGRESS", default=True),
            "enable_v6_egress": reader.boolean("ENABLE_V6_EGRESS", default=False),
            "bandwidth_plugin": reader.boolean("ENABLE_BANDWIDTH_PLUGIN", default=False),
            "disable_pod_ipv6": reader.boolean("DISABLE_POD_V6", default=False),
            "annotate_pod_ip": reader.boolean("ANNOTATE_POD_IP", default=False),
            "cni_bin_dir": Path(reader.text("HOST_CNI_BIN_PATH", "/host/opt/cni/bin")),
            "cni_conf_dir": Path(reader.text("HOST_CNI_CONFDIR_PATH", "/host/etc/cni/net.d")),
            "cni_cache_dir": reader.absolute_path("ENI_CNI_CACHE_DIR", "/var/lib/cni"),
            "vpc_cni_checkpoint": Path(reader.text("AWS_VPC_K8S_CNI_BACKING_STORE", "/var/run/aws-node/ipam.json")),
            "vpc_cni_run_dir": reader.absolute_path("ENI_VPC_CNI_RUN_DIR", "/var/run/aws-node"),
            "cluster_endpoint": reader.url("CLUSTER_ENDPOINT"),
            "service_account_dir": reader.absolute_path(
                "ENI_SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"
            ),
            "socket_path": reader.absolute_path("ENI_SOCKET_PATH", AGENT_SOCKET),
            "run_dir": reader.absolute_path("ENI_RUN_DIR", "/run/eni-agent"),
            "state_dir": reader.absolute_path("ENI_STATE_DIR", "/var/lib/eni-agent"),
            "proc_sys": reader.absolute_path("ENI_PROC_SYS", "/proc/sys"),
            "hold_seconds": reader.seconds("ENI_HOLD_SECONDS", 20.0, (0, 120)),
            "heartbeat_seconds": reader.seconds("ENI_HEARTBEAT_SECONDS", 120.0, (1, 240)),
            "http_address": reader.host_port("ENI_HTTP_ADDRESS", "127.0.0.1:61680"),
            "metrics_address": reader.listen("ENI_METRICS_ADDRESS", ":61678"),
            "has_metrics": not reader.boolean("DISABLE_METRICS", default=False),
            "introspection_address": reader.lenient("INTROSPECTION_BIND_ADDRESS", parsing.listen, "127.0.0.1:61679"),
            "has_introspection": not reader.boolean("DISABLE_INTROSPECTION", default=False),
            **_log_settings(reader),
        }
        reader.require_ipv6_mtus(values)
        reader.finish()
        return cls(**values, warnings=tuple(reader.warnings))


def _log_settings(reader: Reader) -> dict[str, str]:
    """Returns the log's levels and places: ours, then VPC CNI's, whose words are another five."""
    agent = reader.lenient("AWS_VPC_K8S_CNI_LOGLEVEL", parsing.log_level, "INFO")
    level = reader.choice("ENI_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), agent)
    file = reader.text("AWS_VPC_K8S_CNI_LOG_FILE", "stderr")
    return {
        "log_level": level,
        "log_file": file,
        "plugin_log_level": reader.lenient("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", parsing.log_level, level),
        "plugin_log_file": reader.text("AWS_VPC_K8S_PLUGIN_LOG_FILE", file),
    }
