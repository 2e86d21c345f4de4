"""A host outside the VPC, behind its internet gateway: answers ping, and HTTP with the address it sees.

Run as ``python -m eni_lab.fabric.outside`` in a network namespace of its own (``Holder`` starts it).
It ends when its stdin ends.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "198.51.100.2"
"""TEST-NET-2 (RFC 5737), so it can be nobody's."""
ROUTER = "198.51.100.1"
PREFIX_LENGTH = 24
PORT = 80


class PeerAddressHandler(BaseHTTPRequestHandler):
    """Replies to any GET with the peer's source address as text."""

    def do_GET(self) -> None:
        """Writes the address and nothing else."""
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Says nothing: the one who asks sees the reply."""


def main() -> int:
    """Serves until stdin ends."""
    with ThreadingHTTPServer(("0.0.0.0", PORT), PeerAddressHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
