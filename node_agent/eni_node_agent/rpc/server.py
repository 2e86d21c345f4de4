"""Serves the CNI executable over a unix socket: one connection, one request, one reply.

Decides what a client may send and how long it may take; what a request means is the plugin's
(``eni_cni_shim.plugin.verbs``). Speaks ``eni_cni_shim.protocol``, whose other end is the forwarder. A client that
sends garbage is closed and logged; nothing a client or the plugin does ends the server.
"""

import array
import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Protocol

from eni_cni_shim import protocol

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
RECEIVE_SECONDS: Final = 5.0
"""A client sends its request at once; one that does not is broken."""
PATIENCE_SECONDS: Final = 0.01
"""An ADD takes two thousandths of a second; one that takes five times as long is worth watching its client."""
DRAIN_SECONDS: Final = 3.0
"""At the end of the process, for requests under way; a DaemonSet's pod gets 5 s in all."""
_CHUNK: Final = 64 * 1024
_DESCRIPTORS: Final = 8
"""Room for descriptors in one message; one is right, more are closed."""
_FD_BYTES: Final = array.array("i").itemsize


class Handler(Protocol):
    """What answers requests: the CNI plugin."""

    async def handle(self, request: protocol.Request, netns_fd: int | None) -> protocol.Reply:
        """Returns the reply; the descriptor stays open until then and is closed by the server."""
        ...


class Server:
    """The agent's socket. ``serve`` for the time it should be open."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._requests: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Keeps the socket open.

        Raises:
            OSError: the path is taken by something that is no socket, or its folder cannot be written.
        """
        listener = _listen(self._path)
        loop = asyncio.get_running_loop()
        loop.add_reader(listener, self._accept, listener)
        try:
            yield
        finally:
            loop.remove_reader(listener)
            listener.close()
            await self._drain()

    async def _drain(self) -> None:
        if self._requests:
            await asyncio.wait(self._requests, timeout=DRAIN_SECONDS)
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        """Takes one client; the loop is told of the next in its next turn, when those taken have had theirs."""
        try:
            connection, _address = listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # out of descriptors: those under way will free some
            log.error("connection cannot be accepted", extra={"error": str(error)})  # noqa: TRY400
            return
        connection.setblocking(False)  # noqa: FBT003  its only parameter
        task = asyncio.get_running_loop().create_task(self._serve_one(connection))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _serve_one(self, connection: socket.socket) -> None:
        """Serves a connection: a client that leaves a waiting ADD has it undone, all else is carried out to its end."""
        descriptors: list[int] = []
        with connection, contextlib.ExitStack() as cleanup:
            cleanup.callback(_close_all, descriptors)
            try:
                request = await _receive(connection, descriptors)
            except (protocol.ProtocolError, TimeoutError, OSError) as error:
                log.warning("client closed: no request of our protocol", extra={"error": f"{error!r}"})
                return
            reply = await self._reply_to(request, descriptors, connection)
            with contextlib.suppress(OSError):  # the client has left; the runtime will send DEL
                await asyncio.get_running_loop().sock_sendall(connection, protocol.dump_reply(reply))

    async def _reply_to(
        self, request: protocol.Request, descriptors: list[int], connection: socket.socket
    ) -> protocol.Reply:
        command = request.environ.get("CNI_COMMAND", "")
        watching = _ended_with_client(connection, request) if command == "ADD" else contextlib.nullcontext()
        try:
            with watching:
                return await self._handler.handle(request, descriptors[0] if descriptors else None)
        except Exception:
            log.exception("request failed", extra={"command": command})
            return _FAILED


_FAILED: Final = protocol.Reply(
    1, b'{"cniVersion":"1.0.0","code":999,"msg":"agent failed on this request","details":"see the log of eni-agent"}'
)


def _names(request: protocol.Request) -> dict[str, str]:
    return {name: request.environ.get(name, "") for name in ("CNI_CONTAINERID", "CNI_ARGS")}


@contextlib.contextmanager
def _ended_with_client(connection: socket.socket, request: protocol.Request) -> Iterator[None]:
    """Cancels the task that works inside when its client leaves; that is all there can be to read from it.

    The watch begins a little later than the work, most of which has ended by then. A client that left meanwhile is a
    runtime that sends DEL, as one that leaves just after its answer was sent.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def leave() -> None:
        loop.remove_reader(connection)  # it stays readable, and a task is cancelled once
        log.warning("client of an ADD has left, it is undone", extra=_names(request))
        task.cancel()

    timer = loop.call_later(PATIENCE_SECONDS, loop.add_reader, connection, leave)
    try:
        yield
    finally:
        timer.cancel()
        loop.remove_reader(connection)


def _listen(path: Path) -> socket.socket:
    """Returns the listening socket; a stale one of a predecessor is replaced without a moment of nothing there."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(f"socket path {path} is taken by something that is no socket")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(str(draft))
        draft.chmod(0o660)
        listener.listen(BACKLOG)
        draft.replace(path)
    except BaseException:
        listener.close()
        raise
    return listener


async def _receive(connection: socket.socket, descriptors: list[int]) -> protocol.Request:
    """Returns the request; descriptors that came with it are put into the list, all but the first closed.

    Raises:
        ProtocolError, OSError: this is no request of ours.
        TimeoutError: it did not come at once.
    """
    deadline = asyncio.get_running_loop().time() + RECEIVE_SECONDS
    data = bytearray()
    while len(data) < protocol.REQUEST_HEADER.size:
        data += await _receive_some(connection, descriptors, deadline)
    length = protocol.parse_length(bytes(data[: protocol.REQUEST_HEADER.size]))
    total = protocol.REQUEST_HEADER.size + length
    while len(data) < total:
        data += await _receive_some(connection, descriptors, deadline)
    if len(data) > total:
        raise protocol.ProtocolError(f"request has {len(data) - total} bytes too many")
    return protocol.parse_body(bytes(data[protocol.REQUEST_HEADER.size :]))


async def _receive_some(connection: socket.socket, descriptors: list[int], deadline: float) -> bytes:
    while True:
        try:
            data, ancillary, _flags, _address = connection.recvmsg(
                _CHUNK, socket.CMSG_SPACE(_DESCRIPTORS * _FD_BYTES), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            async with asyncio.timeout_at(deadline):
                await _readable(connection)
            continue
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                _keep_first(descriptors, payload)
        if not data:
            raise protocol.ProtocolError("request was cut short")
        return data


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not arrived.done():
            arrived.set_result(None)

    loop.add_reader(connection, arrive)
    try:
        await arrived
    finally:
        loop.remove_reader(connection)


def _keep_first(descriptors: list[int], payload: bytes) -> None:
    received = array.array("i")
    received.frombytes(payload[: len(payload) - len(payload) % _FD_BYTES])
    for descriptor in received:
        if descriptors:
            os.close(descriptor)
        else:
            descriptors.append(descriptor)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
