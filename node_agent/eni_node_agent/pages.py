"""Serves a few pages over HTTP, on TCP or a unix socket: GET alone, one request a connection, all with a deadline.

Decides what a client may send and how long it may take; what a page says is its owner's. Written out here because
``/metrics`` listens on all addresses, where pods can send to it: a server that parses nothing but the request line and
hangs up after five seconds is little to attack, and it costs the agent a tenth of a web framework's memory.
HTTP/1.1: RFC 9112.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""A client sends its request, and a page is made and sent, within this time each; VPC CNI's timeouts."""
LARGEST_HEAD: Final = 8192
MOST_CLIENTS: Final = 32
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 60.0
"""Between tries to listen while somebody else has the port; VPC CNI's, which may be that somebody."""
_REQUEST: Final = re.compile(rb"([A-Z]+) (/[^\s?#]*)(?:\?\S*)? HTTP/1\.[01]\r\n")


class Page(NamedTuple):
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[], Awaitable[Page]]
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
JSON: Final = "application/json"


class Pages:
    """Pages by path."""

    def __init__(self, pages: Mapping[str, Handler], otherwise: Handler | None = None) -> None:
        """Takes the pages; ``otherwise`` answers for every other path, 404 where there is none."""
        self._pages = pages
        self._otherwise = otherwise
        self._clients: set[asyncio.Task[None]] = set()

    async def keep_serving(self, address: str) -> None:
        """Serves for ever; while the address cannot be had it tries again, and says so once."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                async with self.serve(address):
                    log.info("serving pages", extra={"address": address, "paths": sorted(self._pages)})
                    await asyncio.Event().wait()
            except OSError as error:
                if pause == FIRST_RETRY_SECONDS:
                    log.warning("pages cannot be served yet", extra={"address": address, "error": str(error)})
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY_SECONDS)

    @contextlib.asynccontextmanager
    async def serve(self, address: str) -> AsyncIterator[None]:
        """Serves while the context lasts.

        Args:
            address: ``127.0.0.1:61680``, ``[::1]:61680``, ``:61680`` for all addresses, or ``unix:/run/x.sock``, which
                only root can reach.

        Raises:
            OSError: the address cannot be had.
        """
        server = await self._listen(address)
        try:
            yield
        finally:
            server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            await server.wait_closed()

    async def _listen(self, address: str) -> asyncio.Server:
        if address.startswith("unix:"):
            listener = _unix_listener(Path(address.removeprefix("unix:")))
            return await asyncio.start_unix_server(self._accept, sock=listener, limit=LARGEST_HEAD)
        host, _, port = address.rpartition(":")
        try:
            return await asyncio.start_server(self._accept, host.strip("[]") or None, int(port), limit=LARGEST_HEAD)
        except OSError as error:
            if host or error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
        # A node with IPv6 switched off has no [::].
        return await asyncio.start_server(self._accept, "0.0.0.0", int(port), limit=LARGEST_HEAD)  # noqa: S104

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        client = asyncio.create_task(self._serve_one(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Nothing may wait in a buffer: a client that does not read would keep page and descriptor for ever.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            async with asyncio.timeout(SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_dump(await self._answer(head)))
            async with asyncio.timeout(SECONDS):
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> Page:
        request = _REQUEST.match(head)
        if request is None:
            return Page(b"not HTTP/1.1\n", HTTPStatus.BAD_REQUEST)
        method, path = request.groups()
        handler = self._pages.get(path.decode(errors="replace"), self._otherwise)
        if method != b"GET":
            return Page(b"GET is allowed\n", HTTPStatus.METHOD_NOT_ALLOWED)
        if handler is None:
            return Page(b"no such page\n", HTTPStatus.NOT_FOUND)
        try:
            async with asyncio.timeout(SECONDS):
                return await handler()
        except TimeoutError:
            return Page(b"the page was not made in time\n", HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception:
            log.exception("a page failed", extra={"path": path.decode(errors="replace")})
            return Page(b"the page failed; the log has the traceback\n", HTTPStatus.INTERNAL_SERVER_ERROR)


def _unix_listener(path: Path) -> socket.socket:
    """Returns a socket that only root can reach, in place of one a predecessor has left; raises OSError."""
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # taken over by bind (unix(7)): at no moment is it open to others
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    return listener


def _dump(page: Page) -> bytes:
    status = HTTPStatus(page.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + page.body
