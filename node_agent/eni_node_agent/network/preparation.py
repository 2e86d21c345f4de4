"""Sets the node's sysctls before the agent runs, which may not be able to: its container sees /proc/sys read-only.

Done once by the privileged init container (``eni-agent install``). What must hold is decided in ``desired``, which the
running agent compares with what it reads; here the primary ENI is known by the default route alone.
"""

from pathlib import Path
from typing import Final

from eni_node_agent.network import sysctl
from eni_node_agent.network.desired import LOOSE_REVERSE_PATH

_ANYWHERE: Final = "00000000"


def prepare(proc: Path) -> None:
    """Lets the node forward packets, and replies to pods enter by the primary ENI.

    Args:
        proc: ``/proc``, of the network namespace of the node.

    Raises:
        SysctlError: a value cannot be written.
        OSError: the routes cannot be read.
    """
    sysctl.write(proc / "sys", "net/ipv4/ip_forward", "1")
    for ifname in default_ifnames((proc / "net/route").read_text()):
        sysctl.write(proc / "sys", f"net/ipv4/conf/{ifname}/rp_filter", str(LOOSE_REVERSE_PATH))


def default_ifnames(routes: str) -> list[str]:
    """Returns the links of the default routes in the text of /proc/net/route, each once."""
    rows = (line.split() for line in routes.splitlines()[1:])
    found = [row[0] for row in rows if len(row) > 7 and row[1] == _ANYWHERE and row[7] == _ANYWHERE]
    return list(dict.fromkeys(found))
