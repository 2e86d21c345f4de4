"""A kernel that refuses one request of netlink, half done, at a step the test names."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from eni_cni_shim.plugin import netlink

if TYPE_CHECKING:
    import pytest


class Refusing:
    """Lets a socket's n-th request of all fail as if the kernel had refused it, half done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = errno.EBUSY) -> None:
        """Refuses nothing yet; ``error`` is the number the kernel would give."""
        self.countdown = -1
        """Requests to the kernel until one fails; negative: none does."""
        request = netlink.Socket.request

        def refuse(socket: netlink.Socket, *messages: netlink.Message) -> list[netlink.Message]:
            self.countdown -= 1
            if self.countdown == 0:
                request(socket, *messages[: len(messages) // 2 + 1])
                raise OSError(error, os.strerror(error))
            return request(socket, *messages)

        monkeypatch.setattr(netlink.Socket, "request", refuse)
