import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eni_node_agent import pages
from eni_node_agent.pages import Page, Pages
from eni_testing.eventually import eventually

REQUEST = b"GET /page?name=x HTTP/1.1\r\nHost: a\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def hello() -> Page:
    return Page(b"hello\n")


async def failing() -> Page:
    raise RuntimeError("no")


async def hanging() -> Page:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def served(**more: pages.Handler) -> AsyncIterator[int]:
    port = free_port()
    paths = {f"/{name}": handler for name, handler in {"page": hello, **more}.items()}
    async with Pages(paths).serve(f"127.0.0.1:{port}"):
        yield port


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_answers_a_get_and_hangs_up() -> None:
    async with served() as port:
        answer = await exchange(port, REQUEST)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert b"Content-Length: 6" in head
    assert body == b"hello\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /page HTTP/1.1", b"405"),
        (b"DELETE /elsewhere HTTP/1.1", b"405"),
        (b"GET /elsewhere HTTP/1.1", b"404"),
        (b"GET page HTTP/1.1", b"400"),
        (b"GET /page HTTP/2", b"400"),
        (b"\x16\x03\x01 nonsense", b"400"),
        (b"GET /failing HTTP/1.1", b"500"),
    ],
)
async def test_refuses_what_it_does_not_serve(request_line: bytes, status: bytes) -> None:
    async with served(failing=failing) as port:
        answer = await exchange(port, request_line + b"\r\n\r\n")
        assert answer.split()[1] == status
        assert (await exchange(port, REQUEST)).split()[1] == b"200"


async def test_every_other_path_can_have_an_answer_of_its_own() -> None:
    port = free_port()
    async with Pages({}, otherwise=hello).serve(f"127.0.0.1:{port}"):
        assert (await exchange(port, REQUEST)).endswith(b"hello\n")


async def test_hangs_up_on_who_says_too_much() -> None:
    async with served() as port:
        assert await exchange(port, b"GET /page HTTP/1.1\r\nX: " + b"x" * 2 * pages.LARGEST_HEAD) == b""


async def test_hangs_up_on_who_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SECONDS", 0.1)
    async with served(hanging=hanging) as port:
        assert await exchange(port, b"GET /pa") == b""
        answer = await exchange(port, b"GET /hanging HTTP/1.1\r\n\r\n")
        assert answer.split()[1] == b"503"


async def test_hangs_up_on_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SECONDS", 0.3)

    async def long() -> Page:
        return Page(b"x" * (16 << 20))

    port, site = free_port(), Pages({"/long": long})
    async with site.serve(f"127.0.0.1:{port}"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /long HTTP/1.1\r\n\r\n")
        await eventually(lambda: bool(site._clients), "it is served")
        await eventually(lambda: not site._clients, "it is given up")
        with contextlib.suppress(ConnectionResetError):
            assert len(await reader.read()) < 16 << 20
        writer.close()


async def test_many_who_say_nothing_leave_no_room_for_more_and_then_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SECONDS", 0.5)
    async with served() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(pages.MOST_CLIENTS)]
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(port, REQUEST) == b""
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
        assert (await exchange(port, REQUEST)).split()[1] == b"200"


async def test_a_unix_socket_is_roots_alone_and_replaces_a_predecessors(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    for _ in range(2):
        async with Pages({"/page": hello}).serve(f"unix:{path}"):
            assert path.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(REQUEST)
            assert (await reader.read()).endswith(b"hello\n")
            writer.close()
        assert path.is_socket()


async def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        async with Pages({}).serve(f"unix:{path}"):
            pass
    assert path.read_text() == "precious"


async def test_serves_once_a_taken_port_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "FIRST_RETRY_SECONDS", 0.05)
    port = free_port()
    other = socket.create_server(("127.0.0.1", port))
    serving = asyncio.create_task(Pages({"/page": hello}).keep_serving(f"127.0.0.1:{port}"))
    await eventually(lambda: "cannot be served yet" in caplog.text, "it says that the port is taken")
    other.close()
    await eventually(lambda: listens(port), "it has the port")
    answer = await exchange(port, REQUEST)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert answer.endswith(b"hello\n")
    assert caplog.text.count("cannot be served yet") == 1
