import array
import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eni_cni_shim import protocol
from eni_cni_shim.protocol import Reply, Request
from eni_node_agent.rpc import server as server_module
from eni_node_agent.rpc.server import Server
from eni_testing.cni import socket_path
from eni_testing.eventually import eventually

STATUS = Request({"CNI_COMMAND": "STATUS"}, b"{}")
ADD = Request({"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1"}, b"{}")


class Handler:
    """Answers with what it was asked; can wait, fail, and remembers what it saw."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.netns_inode: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_broken = False
        self.cancelled = 0

    async def handle(self, request: Request, netns_fd: int | None) -> Reply:
        self.requests.append(request)
        self.netns_inode = None if netns_fd is None else os.fstat(netns_fd).st_ino
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.is_broken:
            raise RuntimeError("broken")
        return Reply(0, request.stdin)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Path]:
    with socket_path() as path:
        async with Server(path, handler).serve():
            yield path


async def ask(path: Path, data: bytes, descriptors: tuple[int, ...] = ()) -> bytes:
    return await asyncio.to_thread(ask_blocking, path, data, descriptors)


def ask_blocking(path: Path, data: bytes, descriptors: tuple[int, ...]) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        if data:
            client.sendmsg([data[:100]], rights)
        if data[100:]:  # a server that has answered already refuses even nothing more
            client.sendall(data[100:])
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def connect(path: Path, data: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(data)
    return client


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_answers_a_request() -> None:
    handler = Handler()
    async with serving(handler) as path:
        answer = await ask(path, protocol.dump_request(STATUS))
    assert protocol.parse_reply(answer) == Reply(0, b"{}")
    assert handler.requests == [STATUS]


async def test_a_large_request_in_many_pieces_is_put_together() -> None:
    request = Request({"CNI_COMMAND": "STATUS"}, b"x" * 900_000)
    async with serving(Handler()) as path:
        assert protocol.parse_reply(await ask(path, protocol.dump_request(request))).stdout == request.stdin


async def test_passes_the_first_descriptor_on_and_leaves_none_open(tmp_path: Path) -> None:
    handler = Handler()
    first, second = os.open(tmp_path, os.O_RDONLY), os.open("/", os.O_RDONLY)
    inode = os.fstat(first).st_ino
    async with serving(handler) as path:
        await ask(path, protocol.dump_request(STATUS))
        before = open_descriptors()
        await ask(path, protocol.dump_request(STATUS), (first, second))
        assert handler.netns_inode == inode
        await eventually(lambda: open_descriptors() == before, "descriptors closed")
    os.close(first)
    os.close(second)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"ENI1", id="half a header"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(b"ENI1\xff\xff\xff\xff", id="too long"),
        pytest.param(b"ENI1\x03\x00\x00\x00abc", id="no variables"),
        pytest.param(protocol.dump_request(STATUS)[:-1], id="cut short"),
        pytest.param(protocol.dump_request(STATUS) + b"x", id="bytes too many"),
    ],
)
async def test_a_client_that_sends_garbage_is_closed_and_logged(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    async with serving(handler) as path:
        assert await ask(path, data, ()) == b""
        assert "client closed" in caplog.text
        assert handler.requests == []
        assert protocol.parse_reply(await ask(path, protocol.dump_request(STATUS))).exit_code == 0


async def test_a_client_that_sends_nothing_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "RECEIVE_SECONDS", 0.05)
    async with serving(Handler()) as path:
        with connect(path, b"ENI1") as client:
            client.settimeout(5)
            assert await asyncio.to_thread(client.recv, 1) == b""


async def test_a_plugin_that_fails_is_answered_for_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    handler.is_broken = True
    async with serving(handler) as path:
        reply = protocol.parse_reply(await ask(path, protocol.dump_request(STATUS)))
        assert reply.exit_code == 1
        assert b'"code":999' in reply.stdout
        assert "RuntimeError: broken" in caplog.text
        handler.is_broken = False
        assert protocol.parse_reply(await ask(path, protocol.dump_request(STATUS))).exit_code == 0


async def test_an_add_whose_client_left_is_undone() -> None:
    handler = Handler()
    handler.gate.clear()
    async with serving(handler) as path:
        client = connect(path, protocol.dump_request(ADD))
        await eventually(lambda: len(handler.requests) == 1, "request arrived")
        client.close()
        await eventually(lambda: handler.cancelled == 1, "ADD cancelled")


async def test_a_del_whose_client_left_is_carried_out() -> None:
    handler = Handler()
    handler.gate.clear()
    async with serving(handler) as path:
        client = connect(path, protocol.dump_request(Request({"CNI_COMMAND": "DEL"}, b"{}")))
        await eventually(lambda: len(handler.requests) == 1, "request arrived")
        client.close()
        assert protocol.parse_reply(await ask_open(path, handler)).exit_code == 0
    assert handler.cancelled == 0


async def ask_open(path: Path, handler: Handler) -> bytes:
    handler.gate.set()
    return await ask(path, protocol.dump_request(STATUS))


async def test_many_clients_at_once_are_all_answered() -> None:
    async with serving(Handler()) as path:
        answers = await asyncio.gather(*(ask(path, protocol.dump_request(STATUS)) for _ in range(100)))
    assert {protocol.parse_reply(answer).exit_code for answer in answers} == {0}


async def test_only_root_and_its_group_may_connect() -> None:
    async with serving(Handler()) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_replaces_a_predecessors_socket() -> None:
    with socket_path() as path:
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        async with Server(path, Handler()).serve():
            assert protocol.parse_reply(await ask(path, protocol.dump_request(STATUS))).exit_code == 0


async def test_leaves_a_file_that_is_no_socket_alone() -> None:
    with socket_path() as path:
        path.write_text("precious")
        with pytest.raises(OSError, match="taken by something that is no socket"):
            async with Server(path, Handler()).serve():
                pass
        assert path.read_text() == "precious"


async def test_finishes_what_is_under_way_when_it_ends() -> None:
    handler = Handler()
    handler.gate.clear()
    with socket_path() as path:
        async with Server(path, handler).serve():
            client = connect(path, protocol.dump_request(STATUS))
            await eventually(lambda: len(handler.requests) == 1, "request arrived")
            asyncio.get_running_loop().call_later(0.05, handler.gate.set)
        with client:
            assert protocol.parse_reply(client.recv(100)).exit_code == 0
