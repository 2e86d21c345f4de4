"""Sets the node's sysctls before the agent runs, which may not be able to: its container sees /proc/sys read-only.

Done once by the privileged init container (``eni-agent install``). What must hold is decided in ``desired``, which the
running agent compares with what it reads; here the primary ENI is known by the default route alone. IPv6 of a pool is
not known yet: the agent sets what it needs when the supply tells.
"""

from pathlib import Path
from typing import Final

from eni_node_agent.network import sysctl
from eni_node_agent.network.desired import LOOSE_REVERSE_PATH, Sysctl, ipv6

_ANYWHERE: Final = "00000000"
_EARLY_DEMUX: Final = "net/ipv4/tcp_early_demux"


def prepare(proc: Path, *, early_demux: bool, ipv6_egress: bool) -> None:
    """Lets the node forward packets, and replies to pods enter by the primary ENI.

    Args:
        proc: ``/proc``, of the network namespace of the node.
        early_demux: False: packets are routed before their socket is looked for (DISABLE_TCP_EARLY_DEMUX).
        ipv6_egress: True: the node forwards IPv6 as well (ENABLE_V6_EGRESS).

    Raises:
        SysctlError: a value cannot be written.
        OSError: the routes cannot be read.
    """
    sysctl.write(proc / "sys", "net/ipv4/ip_forward", "1")
    ifnames = default_ifnames((proc / "net/route").read_text())
    for ifname in ifnames:
        sysctl.write(proc / "sys", f"net/ipv4/conf/{ifname}/rp_filter", str(LOOSE_REVERSE_PATH))
    if (proc / "sys" / _EARLY_DEMUX).exists():
        sysctl.write(proc / "sys", _EARLY_DEMUX, str(int(early_demux)))
    if ipv6_egress:
        _prepare_ipv6(proc / "sys", ifnames)


def _prepare_ipv6(proc_sys: Path, ifnames: list[str]) -> None:
    for item in (*(item for ifname in ifnames for item in ipv6.primary(ifname)), *ipv6.forwarding()):
        if isinstance(item, Sysctl):
            sysctl.write(proc_sys, item.name, item.value)


def default_ifnames(routes: str) -> list[str]:
    """Returns the links of the default routes in the text of /proc/net/route, each once."""
    rows = (line.split() for line in routes.splitlines()[1:])
    found = [row[0] for row in rows if len(row) > 7 and row[1] == _ANYWHERE and row[7] == _ANYWHERE]
    return list(dict.fromkeys(found))
