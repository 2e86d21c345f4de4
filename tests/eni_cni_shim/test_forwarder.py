"""One suite for both executables: what a runtime may rely on, whatever the agent does."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim import forwarder, protocol
from eni_cni_shim.protocol import Reply, Request
from eni_testing import cni

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN = json.dumps(cni.CONFIG).encode()
REPLY = protocol.dump_reply(Reply(0, b'{"cniVersion":"1.0.0","ips":[]}'))
LATER = {"ADD": 11, "CHECK": 11, "STATUS": 50, "DEL": 11, "GC": 11}
COMMANDS = [pytest.param(command, id=command) for command in LATER]


def call(executable: list[str], path: Path, command: str, stdin: bytes = STDIN, **variables: str) -> cni.Outcome:
    environ = {**cni.environ(command), "ENI_AGENT_SOCKET": str(path), "ENI_AGENT_TIMEOUT": "1", **variables}
    return cni.run(executable, environ, stdin)


def test_passes_the_reply_and_its_exit_code_on(executable: list[str]) -> None:
    with cni.agent(cni.answering(protocol.dump_reply(Reply(7, b'{"a":1}')))) as path:
        assert call(executable, path, "ADD") == (7, b'{"a":1}')


def test_an_empty_reply_is_success_without_a_word(executable: list[str]) -> None:
    with cni.agent(cni.answering(protocol.dump_reply(Reply(0, b"")))) as path:
        assert call(executable, path, "DEL") == (0, b"")


def test_sends_variables_stdin_and_the_open_namespace(executable: list[str], tmp_path: Path) -> None:
    seen: list[tuple[Request, os.stat_result]] = []

    def behave(connection: socket.socket) -> None:
        request, descriptors = cni.receive_request(connection)
        seen.append((request, os.fstat(descriptors[0])))
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(REPLY)

    netns = tmp_path / "netns"
    netns.touch()
    with cni.agent(behave) as path:
        assert call(executable, path, "ADD", stdin=b'{"\x00": "\xff"}', CNI_NETNS=str(netns)).exit_code == 0
    [(request, status)] = seen
    assert request == Request(cni.environ("ADD", netns=str(netns)), b'{"\x00": "\xff"}')
    assert os.path.samestat(status, netns.stat())


@pytest.mark.parametrize("netns", ["", "/nonexistent/netns"])
def test_a_namespace_that_cannot_be_opened_is_left_to_the_agent_to_judge(executable: list[str], netns: str) -> None:
    counts: list[int] = []

    def behave(connection: socket.socket) -> None:
        counts.append(len(cni.receive_request(connection)[1]))
        connection.sendall(REPLY)

    with cni.agent(behave) as path:
        assert call(executable, path, "DEL", CNI_NETNS=netns).exit_code == 0
    assert counts == [0]


def test_a_large_configuration_and_a_large_reply_arrive_whole(executable: list[str]) -> None:
    stdin = bytes(itertools.islice(itertools.cycle(range(256)), 1_000_000))
    received: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        received.append(cni.receive_request(connection)[0].stdin)
        connection.sendall(protocol.dump_reply(Reply(0, stdin)))

    with cni.agent(behave) as path:
        assert call(executable, path, "ADD", stdin=stdin) == (0, stdin)
    assert received == [stdin]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_request_longer_than_the_protocol_allows_is_refused(executable: list[str], command: str) -> None:
    with cni.agent(cni.answering(REPLY)) as path:
        assert call(executable, path, command, stdin=b"x" * protocol.LARGEST_BODY).code == 5


def test_the_longest_request_the_protocol_allows_is_sent(executable: list[str]) -> None:
    room = protocol.LARGEST_BODY - sum(len(value) + 1 for value in cni.environ("ADD").values())
    with cni.agent(cni.answering(REPLY)) as path:
        assert call(executable, path, "ADD", stdin=b"x" * room).exit_code == 0
        assert call(executable, path, "ADD", stdin=b"x" * (room + 1)).code == 5


def test_version_is_answered_without_agent_namespace_or_stdin(executable: list[str]) -> None:
    environ = {"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy", "ENI_AGENT_SOCKET": "/nonexistent"}
    reader, writer = os.pipe()
    try:  # a standard input that never ends, as of a person at a terminal
        process = subprocess.run(executable, env=environ, stdin=reader, capture_output=True, check=False, timeout=5)
    finally:
        os.close(reader)
        os.close(writer)
    golden = Path(__file__).parent / "golden" / "version.json"
    assert json.loads(process.stdout) == json.loads(golden.read_text())


def test_a_missing_command_is_named(executable: list[str]) -> None:
    outcome = cni.run(executable, {})
    assert outcome.code == 4
    assert "CNI_COMMAND" in outcome.json["msg"]


def test_a_runtime_that_is_gone_is_no_reason_to_crash(executable: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environ = {"CNI_COMMAND": "ADD", "ENI_AGENT_SOCKET": "/nonexistent"}
    try:
        process = subprocess.run(
            executable, env=environ, input=b"", stdout=writer, stderr=subprocess.PIPE, check=False, timeout=5
        )
    finally:
        os.close(writer)
    assert (process.returncode, process.stderr) == (1, b"")


@contextlib.contextmanager
def no_socket() -> Iterator[Path]:
    with cni.socket_path() as path:
        yield path


@contextlib.contextmanager
def dead_socket() -> Iterator[Path]:
    with cni.socket_path() as path:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        yield path


@contextlib.contextmanager
def crowded_socket() -> Iterator[Path]:
    """An agent that accepts nobody, its backlog full."""
    with cni.socket_path() as path, contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield path


@pytest.mark.parametrize("gone", [no_socket, dead_socket])
@pytest.mark.parametrize("command", COMMANDS)
def test_without_an_agent_removals_succeed_and_the_rest_fails(
    executable: list[str], gone: Callable[[], contextlib.AbstractContextManager[Path]], command: str
) -> None:
    with gone() as path:
        outcome = call(executable, path, command)
    if command in {"DEL", "GC"}:
        assert outcome == (0, b"")
    else:
        assert outcome.code == LATER[command]
        assert str(path) in outcome.json["msg"]


@pytest.mark.parametrize("gone", [no_socket, dead_socket])
@pytest.mark.parametrize("command", ["ADD", "STATUS"])
def test_add_and_status_wait_for_an_agent_that_restarts(
    executable: list[str], gone: Callable[[], contextlib.AbstractContextManager[Path]], command: str
) -> None:
    with gone() as path, ThreadPoolExecutor(1) as threads:
        outcome = threads.submit(call, executable, path, command, ENI_AGENT_TIMEOUT="10")
        with pytest.raises(TimeoutError):
            outcome.result(0.5)
        with cni.agent(cni.answering(REPLY)) as back:
            back.replace(path)
            assert outcome.result(10) == (0, REPLY[protocol.REPLY_HEADER.size :])


@pytest.mark.parametrize(("timeout", "patience"), [("1", 1), ("30", 2)])
def test_an_add_gives_up_on_an_agent_that_stays_away(executable: list[str], timeout: str, patience: float) -> None:
    with no_socket() as path:
        start = time.monotonic()
        assert call(executable, path, "ADD", ENI_AGENT_TIMEOUT=timeout).code == 11
    assert patience <= time.monotonic() - start < patience + 4


def test_status_waits_for_an_agent_that_is_replaced(executable: list[str]) -> None:
    with no_socket() as path:
        start = time.monotonic()
        assert call(executable, path, "STATUS", ENI_AGENT_TIMEOUT="3").code == 50
    assert 3 <= time.monotonic() - start < 7


@pytest.mark.parametrize("command", [command for command in LATER if command not in {"ADD", "STATUS"}])
def test_no_other_verb_waits_for_an_agent(executable: list[str], command: str) -> None:
    with no_socket() as path:
        start = time.monotonic()
        call(executable, path, command, ENI_AGENT_TIMEOUT="30")
    assert time.monotonic() - start < 1.5


@contextlib.contextmanager
def hung_agent() -> Iterator[Path]:
    """An agent that takes the request and never answers."""
    done = threading.Event()

    def behave(connection: socket.socket) -> None:
        cni.receive_request(connection)
        done.wait(20)

    with cni.agent(behave) as path:
        yield path
        done.set()


@contextlib.contextmanager
def deaf_agent() -> Iterator[Path]:
    """An agent that accepts and reads nothing, so that a large request does not fit into the socket."""
    done = threading.Event()
    with cni.agent(lambda _: done.wait(20)) as path:
        yield path
        done.set()


@contextlib.contextmanager
def dripping_agent() -> Iterator[Path]:
    """An agent that always sends a little more and never comes to an end."""
    done = threading.Event()

    def behave(connection: socket.socket) -> None:
        cni.receive_request(connection)
        connection.sendall(protocol.REPLY_HEADER.pack(protocol.MAGIC, 1000, 0))
        while not done.wait(0.05):
            connection.sendall(b" ")

    with cni.agent(behave) as path:
        yield path
        done.set()


@pytest.mark.parametrize("slow", [hung_agent, dripping_agent, deaf_agent, crowded_socket])
def test_never_waits_longer_than_its_timeout(
    executable: list[str], slow: Callable[[], contextlib.AbstractContextManager[Path]]
) -> None:
    def timed(command: str) -> tuple[cni.Outcome, float]:
        start = time.monotonic()
        return call(executable, path, command, stdin=b"x" * 800_000), time.monotonic() - start

    with slow() as path, ThreadPoolExecutor(len(LATER)) as threads:
        results = dict(zip(LATER, threads.map(timed, LATER), strict=True))
    assert {command: outcome.code for command, (outcome, _) in results.items()} == LATER
    for outcome, elapsed in results.values():
        assert "within 1 seconds" in outcome.json["msg"]
        assert 0.9 < elapsed < 5


def test_a_slow_answer_within_the_timeout_is_good(executable: list[str]) -> None:
    def behave(connection: socket.socket) -> None:
        cni.receive_request(connection)
        for byte in REPLY:
            connection.sendall(bytes([byte]))
            time.sleep(0.002)

    with cni.agent(behave) as path:
        assert call(executable, path, "ADD", ENI_AGENT_TIMEOUT="10") == (0, REPLY[protocol.REPLY_HEADER.size :])


GARBAGE = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "too long": protocol.REPLY_HEADER.pack(protocol.MAGIC, protocol.LARGEST_BODY + 1, 0),
}
CUT = {"silence": b"", "header": REPLY[:5], "text": REPLY[:-1]}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("command", COMMANDS)
def test_garbage_is_an_error_of_its_own_and_a_removal_is_tried_again(
    executable: list[str], data: bytes, command: str
) -> None:
    with cni.agent(cni.answering(data)) as path:
        assert call(executable, path, command).code == (11 if command in {"DEL", "GC"} else 100)


@pytest.mark.parametrize("data", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("command", COMMANDS)
def test_an_agent_that_dies_in_mid_answer_is_tried_again(executable: list[str], data: bytes, command: str) -> None:
    with cni.agent(cni.answering(data)) as path:
        assert call(executable, path, command).code == LATER[command]


def test_an_agent_that_dies_on_the_request_is_tried_again(executable: list[str]) -> None:
    with cni.agent(lambda connection: connection.close()) as path:
        assert call(executable, path, "ADD", stdin=b"x" * 800_000).code == 11


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "line\nfeed", "ümläut", "\udcff", "%s%n"])
def test_errors_are_json_whatever_a_path_holds(executable: list[str], name: str) -> None:
    outcome = call(executable, Path("/nonexistent") / name, "ADD")
    assert outcome.code == 11


def test_a_socket_path_that_does_not_fit_is_refused(executable: list[str]) -> None:
    assert "107 bytes" in call(executable, Path("/" + "x" * 107), "ADD").json["msg"]
    assert call(executable, Path("/" + "x" * 106), "ADD").code == 11


@pytest.mark.parametrize("timeout", ["0", "-1", "1s", "soon", "10000", " 5"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(executable: list[str], timeout: str) -> None:
    outcome = call(executable, Path("/nonexistent"), "ADD", ENI_AGENT_TIMEOUT=timeout)
    assert outcome.code == 4
    assert "ENI_AGENT_TIMEOUT" in outcome.json["msg"]


def test_both_say_the_same_words(static_forwarder: list[str]) -> None:
    cases = [{"CNI_COMMAND": command, "ENI_AGENT_SOCKET": "/nonexistent/é"} for command in (*LATER, "VERSION", "")]
    cases += [{"CNI_COMMAND": "ADD", "ENI_AGENT_TIMEOUT": "x"}, {"CNI_COMMAND": "ADD", "ENI_AGENT_SOCKET": "x" * 200}]
    for case in cases:
        environ = {"ENI_AGENT_TIMEOUT": "1", **case}
        assert cni.run(static_forwarder, environ) == cni.run(cni.PYTHON_FORWARDER, environ)


def test_the_python_one_imports_only_what_is_built_in() -> None:
    """``socket`` or ``json`` would double the time a runtime waits for it to start."""
    load = f"exec(open({forwarder.__file__!r}, 'rb').read(), {{'__name__': 'forwarder'}})"
    plain, loaded = (
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; {statement}; print(*sys.modules)"],
            capture_output=True,
            check=True,
            timeout=10,
        ).stdout.split()
        for statement in ("pass", load)
    )
    assert set(loaded) - set(plain) == {b"_socket"}
