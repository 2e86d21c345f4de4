"""A host outside the VPC, behind its internet gateway: answers ping, and HTTP with the address it sees.

It has further addresses in place of hosts in a network the VPC is peered with, which see its addresses untranslated.

Run as ``python -m eni_lab.fabric.outside`` in a network namespace of its own (``Holder`` starts it).
It ends when its stdin ends.
"""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "198.51.100.2"
"""TEST-NET-2 (RFC 5737), so it can be nobody's."""
ROUTER = "198.51.100.1"
PREFIX_LENGTH = 24
IPV6_ADDRESS = "2001:db8:51::2"
"""For documentation (RFC 3849)."""
IPV6_ROUTER = "2001:db8:51::1"
IPV6_PREFIX_LENGTH = 64
PEERS = ("192.0.2.2", "192.0.2.130")
"""TEST-NET-1 (RFC 5737): reached without the internet gateway."""
PORT = 80


class PeerAddressHandler(BaseHTTPRequestHandler):
    """Replies to any GET with the peer's source address as text."""

    def do_GET(self) -> None:
        """Writes the address and nothing else."""
        body = self.client_address[0].removeprefix("::ffff:").encode()  # an IPv4 peer of a socket for both families
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Says nothing: the one who asks sees the reply."""


class BothFamiliesServer(ThreadingHTTPServer):
    """Listens in IPv4 and IPv6."""

    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        """Binds the one socket for both."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> int:
    """Serves until stdin ends."""
    with BothFamiliesServer(("::", PORT), PeerAddressHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
