"""What reading the host needs beyond the plugin's ``netlink``: dumps of one moment, and the types of their fields.

Raw messages here too: the library for them would cost the agent 0.2 s of its start, 25 MB, and 0.3 ms for each link of
a dump, the pods' included. Tests compare with ``ip``.
"""

import contextlib
import errno
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from eni_cni_shim.plugin.netlink import Message, Socket

T = TypeVar("T")

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWNETCONF, RTM_DELNETCONF = 80, 81
_NLM_F_DUMP_INTR: Final = 0x10
_ATTEMPTS: Final = 8
_LARGEST_BATCH: Final = 250
"""Messages in one send: should each be refused, the answers must fit into the socket's buffer (768 of 212992 bytes)."""
AF_INET, AF_INET6 = 2, 10


def dump(socket: Socket, kind: int, header: bytes) -> list[bytes]:
    """Returns the bodies of all objects of a kind, as ``read`` does."""
    return read(socket, kind, header, bytes)


def read(socket: Socket, kind: int, header: bytes, parse: Callable[[bytes], T]) -> list[T]:
    """Returns all objects of a kind, as of one moment, each parsed before the next comes.

    The link of a pod is a kilobyte as the kernel tells of it: hundreds of those at once need not be held.

    Raises:
        OSError: the kernel refused, or the objects changed during each of several attempts (EINTR).
    """
    for _ in range(_ATTEMPTS):
        flags, objects = 0, []
        with contextlib.closing(socket.stream(Message(kind, 0, header))) as answers:
            for answer in answers:
                flags |= answer.flags
                objects.append(parse(answer.body))
        # A link that goes while links are dumped can hide another one: its ENI would seem to be gone.
        if not flags & _NLM_F_DUMP_INTR:
            return objects
    raise OSError(errno.EINTR, f"the kernel's objects changed during each of {_ATTEMPTS} dumps")


def perform(socket: Socket, messages: Sequence[Message]) -> list[OSError | None]:
    """Performs changes in order, all in one system call, and returns what the kernel had against each.

    Raises:
        OSError: the socket failed; what was done is not known.
    """
    failures: list[OSError | None] = []
    for first in range(0, len(messages), _LARGEST_BATCH):
        failures += socket.attempt(*messages[first : first + _LARGEST_BATCH])
    return failures


def number(payload: bytes | None) -> int:
    """Returns an integer attribute of any width; 0 where there is none."""
    return int.from_bytes(payload or b"", sys.byteorder)


def word(value: int) -> bytes:
    """Returns the payload of a 32-bit attribute."""
    return value.to_bytes(4, sys.byteorder)


def text(payload: bytes | None) -> str:
    """Returns a string attribute without its NUL; empty where there is none."""
    return (payload or b"").rstrip(b"\0").decode(errors="replace")
