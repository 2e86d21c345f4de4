#!/usr/bin/python3 -IS
"""The CNI executable in Python: passes the runtime's question to the agent and prints the answer.

Decides only what must hold without an agent: VERSION is answered here, DEL and GC succeed when nobody listens (the
agent's sweep finds what they left), ADD and STATUS wait for an agent that restarts, every verb but VERSION gets a CNI
error in bounded time. The same contract as ``forwarder.c``, held to it by one suite; the agent's ``rpc.server`` is the
other end, ``protocol`` tells the bytes.

One file that runs alone on the host's interpreter, 3.9 or newer, with ``-I -S``. It imports only what is built into
every CPython, because a runtime starts it for each pod: ``socket`` and ``json`` alone would double its 10 ms.
"""

import _socket
import posix
import sys
import time

AGENT_SOCKET = b"/run/eni-agent/agent.sock"
TIMEOUT_SECONDS = 60  # the agent holds an ADD for 20 seconds by default while the pool grows
PATIENCE_SECONDS = {
    b"ADD": 2,  # an agent that restarts listens again within a second
    b"STATUS": 10,  # one that is replaced, within a few; a STATUS that fails makes the node NotReady
}
RETRY_SECONDS = 0.05
LARGEST_BODY = 1 << 20
MAGIC = b"ENI1"
REPLY_HEADER = 9  # magic, uint32 little endian length, uint8 exit code
SOCKET_PATH_BYTES = 107  # sun_path of unix(7) without its NUL
VARIABLES = (b"CNI_COMMAND", b"CNI_CONTAINERID", b"CNI_NETNS", b"CNI_IFNAME", b"CNI_ARGS", b"CNI_PATH")
REMOVALS = (b"DEL", b"GC")
NOBODY_LISTENS = (FileNotFoundError, ConnectionRefusedError)
VERSION_RESULT = b'{"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}'

# Error codes of the CNI specification 1.1.0; from 100 on they are a plugin's own.
INVALID_ENVIRONMENT, IO_FAILURE, TRY_AGAIN, NOT_AVAILABLE, MISUNDERSTOOD = 4, 5, 11, 50, 100


class ForwardError(Exception):
    """What is to be printed as a CNI error."""

    def __init__(self, code: int, message: bytes) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def main() -> int:
    """Returns the exit code after printing the answer, or the error, on standard output."""
    try:
        exit_code, text = answer(posix.environ)
    except ForwardError as error:
        exit_code, text = 1, dump_error(error)
    try:
        while text:
            text = text[posix.write(1, text) :]
    except OSError:
        pass  # the runtime is gone; nobody is left to be told
    return exit_code


def answer(environ: "dict[bytes, bytes]") -> "tuple[int, bytes]":
    """Returns exit code and text for the verb in the environment; raises ForwardError."""
    command = environ.get(b"CNI_COMMAND", b"")
    if not command:
        raise ForwardError(INVALID_ENVIRONMENT, b"CNI_COMMAND is not set; it is ADD, DEL, CHECK, GC, STATUS or VERSION")
    if command == b"VERSION":
        return 0, VERSION_RESULT
    path = environ.get(b"ENI_AGENT_SOCKET") or AGENT_SOCKET
    if len(path) > SOCKET_PATH_BYTES:
        raise ForwardError(
            INVALID_ENVIRONMENT, b"ENI_AGENT_SOCKET is longer than the 107 bytes a socket's path may have"
        )
    timeout = parse_timeout(environ.get(b"ENI_AGENT_TIMEOUT", b""))
    return forward(command, path, timeout, read_request(environ), environ.get(b"CNI_NETNS", b""))


def parse_timeout(value: bytes) -> int:
    """Returns the seconds the agent may take; raises ForwardError."""
    if not value:
        return TIMEOUT_SECONDS
    seconds = int(value) if value.isdigit() and len(value) < 5 else 0
    if not seconds:
        raise ForwardError(INVALID_ENVIRONMENT, b"ENI_AGENT_TIMEOUT is " + value + b"; 1 to 9999 seconds are allowed")
    return seconds


def read_request(environ: "dict[bytes, bytes]") -> bytes:
    """Returns the request's bytes with all of standard input; raises ForwardError when they are too many."""
    body = b"".join([environ.get(name, b"") + b"\0" for name in VARIABLES])
    while len(body) <= LARGEST_BODY:
        data = posix.read(0, LARGEST_BODY + 1)
        if not data:
            return MAGIC + len(body).to_bytes(4, "little") + body
        body += data
    raise ForwardError(IO_FAILURE, b"the request is longer than the %d bytes the agent accepts" % LARGEST_BODY)


def forward(command: bytes, path: bytes, timeout: int, request: bytes, netns: bytes) -> "tuple[int, bytes]":
    """Returns the agent's exit code and text; raises ForwardError when there is none to be had."""
    later = NOT_AVAILABLE if command == b"STATUS" else TRY_AGAIN
    deadline = time.monotonic() + timeout
    try:
        agent = await_agent(path, timeout, min(timeout, PATIENCE_SECONDS.get(command, 0)))
    except BlockingIOError:
        raise no_answer(later, path, timeout) from None
    except OSError as error:
        if command in REMOVALS and isinstance(error, NOBODY_LISTENS):
            return 0, b""
        reason = posix.strerror(error.errno or 0).encode()
        raise ForwardError(later, b"cannot reach the agent at " + path + b": " + reason) from None
    try:
        send(agent, request, netns, deadline)
        return receive_reply(agent, deadline)
    except (BlockingIOError, _socket.timeout):
        raise no_answer(later, path, timeout) from None
    except OSError:
        message = b"the agent at " + path + b" closed the connection before its answer was complete"
        raise ForwardError(later, message) from None
    except ValueError:
        code = TRY_AGAIN if command in REMOVALS else MISUNDERSTOOD
        raise ForwardError(code, b"the agent at " + path + b" answered in another protocol") from None


def await_agent(path: bytes, timeout: int, patience: int) -> _socket.socket:
    """Does what ``reach`` does, for so many seconds again and again while nobody listens.

    For ADD it waits out a restart of the agent: a refusal would cost the pod its whole sandbox.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return reach(path, timeout)
        except NOBODY_LISTENS:  # noqa: PERF203  it sleeps between its tries
            if time.monotonic() >= end:
                raise
            time.sleep(RETRY_SECONDS)


def reach(path: bytes, timeout: int) -> _socket.socket:
    """Returns a connected socket; raises OSError, and BlockingIOError when the agent accepts nobody in time.

    The kernel's send timeout and not Python's, which would make a full backlog fail at once (connect(2), EAGAIN).
    """
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    timeval = timeout.to_bytes(8, sys.byteorder) + bytes(8)
    agent.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, timeval)
    agent.connect(path)
    return agent


def no_answer(code: int, path: bytes, timeout: int) -> ForwardError:
    """Returns the error of an agent that hangs."""
    return ForwardError(code, b"the agent at " + path + b" gave no answer within %d seconds" % timeout)


def send(agent: _socket.socket, request: bytes, netns: bytes, deadline: float) -> None:
    """Sends the request, the namespace's descriptor with its first bytes; raises OSError."""
    rights = []
    if netns:
        try:
            descriptor = posix.open(netns, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
            rights.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder)))
        except OSError:
            pass  # a path that cannot be opened is the agent's to judge: an error for ADD, nothing for DEL
    sent = agent.sendmsg([request], rights)
    if sent < len(request):  # sending nothing would fail where the agent has answered and left already
        agent.settimeout(left_until(deadline))
        agent.sendall(request[sent:])


def receive_reply(agent: _socket.socket, deadline: float) -> "tuple[int, bytes]":
    """Returns exit code and text; raises OSError when cut or late, ValueError when it is not of this protocol."""
    header = receive(agent, REPLY_HEADER, deadline)
    length = int.from_bytes(header[4:8], "little")
    if not header.startswith(MAGIC) or length > LARGEST_BODY:
        raise ValueError(header)
    return header[8], receive(agent, length, deadline)


def receive(agent: _socket.socket, length: int, deadline: float) -> bytes:
    """Returns exactly that many bytes; raises OSError when the agent closed before or is late."""
    data = b""
    while len(data) < length:
        agent.settimeout(left_until(deadline))
        got = agent.recv(length - len(data))
        if not got:
            raise ConnectionResetError
        data += got
    return data


def left_until(deadline: float) -> float:
    """Returns the seconds that are left; raises OSError when time is up."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise _socket.timeout
    return left


def dump_error(error: ForwardError) -> bytes:
    """Returns a CNI error. A path may hold any byte: what JSON does not allow becomes ``?``."""
    printable = bytes([byte if 0x20 <= byte < 0x7F else 0x3F for byte in error.message])
    escaped = printable.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'{"cniVersion": "1.1.0", "code": %d, "msg": "%s"}' % (error.code, escaped)


if __name__ == "__main__":
    posix._exit(main())  # noqa: SLF001 - nothing is left to finalize, and that saves a millisecond
