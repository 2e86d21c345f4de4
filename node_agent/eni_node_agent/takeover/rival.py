"""Tells whether VPC CNI still runs on this node: two owners of addresses would give one address to two pods."""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

SOCKET: Final = "ipamd.sock"
OLD_PORT: Final = 50051
"""On loopback, where VPC CNI before 1.23 listened instead of on a socket."""
_SECONDS: Final = 1.0
_LABEL: Final = ("k8s-app", "aws-node")
_ENDED: Final = frozenset({"Succeeded", "Failed"})


def answering(run_dir: Path, *, with_port: bool) -> str:
    """Returns where its daemon answers, in words; empty: nowhere.

    Args:
        run_dir: folder of its socket.
        with_port: whether to ask at the port of old versions too, which may be anybody's.
    """
    path = run_dir / SOCKET
    if _connects(socket.AF_UNIX, str(path)):
        return f"its daemon answers on {path}"
    if with_port and _connects(socket.AF_INET, ("127.0.0.1", OLD_PORT)):
        return f"its daemon's port {OLD_PORT} answers on loopback"
    return ""


def bound(pods: Iterable[Any]) -> str:
    """Returns which of the node's pods, as the API server has them, is VPC CNI's, in words; empty: none."""
    for pod in pods:
        metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
        if (metadata.get("labels") or {}).get(_LABEL[0]) == _LABEL[1] and status.get("phase") not in _ENDED:
            return f"its pod {metadata.get('namespace')}/{metadata.get('name')} is bound to this node"
    return ""


def _connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
        asking.settimeout(_SECONDS)
        try:
            asking.connect(address)
        except OSError:
            return False
    return True
