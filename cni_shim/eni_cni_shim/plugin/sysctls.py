"""Values under /proc/sys that a pod's link needs, in the network namespace of the calling thread.

Decides which; netlink has no message for them. The folder is an argument: the agent's container may see its own
/proc/sys read-only and have the node's writable elsewhere. What it shows is the namespace of whoever opens a file.
Source: https://docs.kernel.org/networking/ip-sysctl.html.
"""

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


class SysctlError(Exception):
    """A value that must be set cannot be; the message says which, where and why."""


def guard_host_end(proc_sys: Path, ifname: str) -> None:
    """Has the host take no router advertisement from a pod, which could else give it addresses and routes.

    A kernel without IPv6 has no such file, and nothing to guard. What cannot be written is logged: the pod works.
    """
    path = f"{proc_sys}/net/ipv6/conf/{ifname}/accept_ra"
    try:
        _write(path, b"0")
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("router advertisements of a pod are not refused", extra={"path": path, "error": str(error)})


def enable_ipv6(proc_sys: Path, *ifnames: str) -> None:
    """Lets links have IPv6 where it is off, as some runtimes and images have it; raises SysctlError."""
    for ifname in ifnames:
        path = f"{proc_sys}/net/ipv6/conf/{ifname}/disable_ipv6"
        try:
            if _read(path) != b"0\n":
                _write(path, b"0")
        except FileNotFoundError as error:
            raise SysctlError(_missing(proc_sys, ifname)) from error
        except OSError as error:
            message = f"IPv6 is off for {ifname} and cannot be switched on at {path}: {error.strerror}"
            raise SysctlError(message) from error


def _missing(proc_sys: Path, ifname: str) -> str:
    if Path(proc_sys, "net/ipv6").exists():
        return f"{ifname} has no IPv6 settings in {proc_sys}/net/ipv6/conf: its link is gone, or has an MTU below 1280"
    return f"the pod's address is of IPv6, and the kernel has none: there is no {proc_sys}/net/ipv6"


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 16)
    finally:
        os.close(descriptor)


def _write(path: str, value: bytes) -> None:
    """Without the layers of ``open``: this is done for every pod."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
