"""What the commands that run before and after the agent may be told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eni_crds.names import AGENT_SOCKET
from eni_node_agent.settings.reader import Reader


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """What ``eni-agent install`` needs, the init container that runs before the agent, and ``uninstall`` after it."""

    cni_bin_dir: Path = Path("/host/opt/cni/bin")
    """HOST_CNI_BIN_PATH. Where the CNI executable goes."""
    cni_conf_dir: Path = Path("/host/etc/cni/net.d")
    """HOST_CNI_CONFDIR_PATH. Where ``uninstall`` finds the conflist."""
    socket_path: Path = Path(AGENT_SOCKET)
    """ENI_SOCKET_PATH. Where an agent that still runs would listen."""
    disable_tcp_early_demux: bool = False
    """DISABLE_TCP_EARLY_DEMUX. True: the node looks up no sockets before it routes a packet, for the kubelet's probes
    of pods with security groups of their own."""
    enable_v6_egress: bool = False
    """ENABLE_V6_EGRESS. True: the node forwards IPv6."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Returns the settings; nothing of them can be wrong."""
        reader = Reader(environ)
        return cls(
            cni_bin_dir=Path(reader.text("HOST_CNI_BIN_PATH", "/host/opt/cni/bin")),
            cni_conf_dir=Path(reader.text("HOST_CNI_CONFDIR_PATH", "/host/etc/cni/net.d")),
            socket_path=Path(reader.text("ENI_SOCKET_PATH", AGENT_SOCKET)),
            disable_tcp_early_demux=reader.boolean("DISABLE_TCP_EARLY_DEMUX", default=False),
            enable_v6_egress=reader.boolean("ENABLE_V6_EGRESS", default=False),
        )
