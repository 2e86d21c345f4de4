"""Tells whether VPC CNI has rules in the legacy iptables, which only that tool can take out safely.

The kernel replaces a legacy table as a whole, so whoever changes it needs iptables' own lock and code; the image has
neither. Such rules do no harm, for they mark and translate as ours do; ``docs/migration.md`` has the commands that
remove them.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Final

_TABLES: Final = Path("/proc/thread-self/net/ip_tables_names")
_GET_INFO, _GET_ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES of <linux/netfilter_ipv4/ip_tables.h>
_INFO: Final = struct.Struct("=32s13I")  # ipt_getinfo: name, 5 + 5 offsets of hooks, mask of hooks, entries, bytes
_MARKS: Final = (b"AWS-SNAT-CHAIN-", b"AWS-CONNMARK-CHAIN-", b"AWS, primary ENI")
_libc = ctypes.CDLL(None, use_errno=True)


def tables_with_traces() -> tuple[str, ...]:
    """Returns the legacy tables that hold rules of VPC CNI, in the network namespace of the calling thread.

    Raises:
        OSError: the kernel would not say.
    """
    try:
        loaded = _TABLES.read_text().split()
    except FileNotFoundError:  # a kernel without legacy iptables
        return ()
    return tuple(name for name in loaded if any(mark in _entries(name) for mark in _MARKS))


def _entries(table: str) -> bytes:
    """Returns a loaded table as the kernel keeps it. Asking for one that is not loaded would load it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        info = _get(asking, _GET_INFO, _INFO.pack(table.encode(), *(0,) * 13))
        size = _INFO.unpack(info)[-1]
        return _get(asking, _GET_ENTRIES, struct.pack("=32sI4x", table.encode(), size) + bytes(size))


def _get(asking: socket.socket, option: int, request: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint(len(request))
    if _libc.getsockopt(asking.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)):
        number = ctypes.get_errno()
        raise OSError(number, f"the legacy iptables cannot be read: {os.strerror(number)}")
    return buffer.raw
