"""Where instances reach their metadata service: a socket whose replies die one hop away, and who is asking.

AWS gives the token's reply a hop limit (``HttpPutResponseHopLimit``, default 1; EC2 user guide, "Instance metadata"),
so a pod behind its node gets none. Here every packet of the service has it, the handshake included.
What the service says is ``eni_lab.aws.imds``' business.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from eni_lab.fabric.desired import owner
from eni_lab.fabric.router import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from eni_lab.aws.engine.ports import Port

PORT = 80
HOP_LIMIT = 1


def listen() -> socket.socket:
    """A listening socket at 169.254.169.254:80 in the namespace of the calling thread; connections inherit its TTL."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, HOP_LIMIT)
        listening.bind((METADATA, PORT))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def asking_instance(ports: Callable[[], list[Port]]) -> Callable[[web.Request], str | None]:
    """Tells which instance a request comes from: the one whose ENI owns the peer's address, if any."""

    def instance_of(request: web.Request) -> str | None:
        port = owner(ports(), request.remote) if request.remote else None
        return port.instance_id if port else None

    return instance_of
