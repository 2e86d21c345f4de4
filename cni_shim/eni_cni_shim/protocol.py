"""The contract of the socket between the CNI executable and the agent. Standard library only.

One connection carries one request and one reply. The executable passes on what the runtime gave it, unread: six
environment variables, standard input and, where it could be opened, a descriptor of the network namespace.
The reply is what the executable prints and the code it exits with. ``forwarder.c`` and ``forwarder.py`` speak the
same bytes; the agent's ``rpc.server`` is the other end.

Request: ``ENI1``, uint32 little endian length of the body, body. Body: the values of ``VARIABLES`` in order, each
ended by a NUL byte, then standard input. The descriptor travels with the first bytes (SCM_RIGHTS).
Reply: ``ENI1``, uint32 little endian length of the text, uint8 exit code, text.
"""

import struct
from typing import NamedTuple

MAGIC = b"ENI1"
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
REQUEST_HEADER = struct.Struct("<4sI")
REPLY_HEADER = struct.Struct("<4sIB")
LARGEST_BODY = 1 << 20
"""Bytes; a longer request or reply is refused by both ends."""


class ProtocolError(Exception):
    """The other end does not speak this protocol."""


class Request(NamedTuple):
    """What the runtime asked, as bytes from an untrusted process."""

    environ: dict[str, str]
    stdin: bytes


class Reply(NamedTuple):
    """What the executable prints on standard output and exits with."""

    exit_code: int
    stdout: bytes


def dump_request(request: Request) -> bytes:
    """Returns the bytes of a request; a variable that is not set is an empty value."""
    values = [request.environ.get(name, "").encode(errors="surrogateescape") + b"\0" for name in VARIABLES]
    body = b"".join(values) + request.stdin
    return REQUEST_HEADER.pack(MAGIC, len(body)) + body


def parse_length(header: bytes) -> int:
    """Returns the length of the body that follows a request's header; raises ProtocolError."""
    magic, length = REQUEST_HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError(f"request begins with {magic!r}, not {MAGIC!r}")
    if length > LARGEST_BODY:
        raise ProtocolError(f"request has {length} bytes, at most {LARGEST_BODY} are allowed")
    return int(length)


def parse_body(body: bytes) -> Request:
    """Returns the request in a body; raises ProtocolError when variables are missing."""
    *values, stdin = body.split(b"\0", len(VARIABLES))
    if len(values) != len(VARIABLES):
        raise ProtocolError(f"request carries {len(values)} variables, {len(VARIABLES)} are needed")
    environ = {name: value.decode(errors="replace") for name, value in zip(VARIABLES, values, strict=True) if value}
    return Request(environ, stdin)


def dump_reply(reply: Reply) -> bytes:
    """Returns the bytes of a reply."""
    return REPLY_HEADER.pack(MAGIC, len(reply.stdout), reply.exit_code) + reply.stdout


def parse_reply(data: bytes) -> Reply:
    """Returns the reply; raises ProtocolError when it is cut short or not a reply at all."""
    if len(data) < REPLY_HEADER.size:
        raise ProtocolError(f"reply has {len(data)} bytes, at least {REPLY_HEADER.size} are needed")
    magic, length, exit_code = REPLY_HEADER.unpack_from(data)
    if magic != MAGIC or length != len(data) - REPLY_HEADER.size:
        raise ProtocolError("reply is not of this protocol or was cut short")
    return Reply(exit_code, data[REPLY_HEADER.size :])
