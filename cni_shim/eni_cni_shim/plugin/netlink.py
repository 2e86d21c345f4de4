"""A routing socket that performs many requests in one system call, and the framing it needs.

Decides nothing: ``messages`` encodes what is asked, ``pod_network`` says what. Sources: netlink(7), rtnetlink(7).
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_CLONE_NEWNET: Final = 0x40000000

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type

_libc = ctypes.CDLL(None, use_errno=True)


class Message(NamedTuple):
    """A request or an answer without its header."""

    type: int
    flags: int
    body: bytes


class Socket:
    """A routing socket in the namespace of the thread that opens it. Raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, *messages: Message) -> list[Message]:
        """Performs the messages in order, in one system call, and returns what they answered.

        Only the last asks for an acknowledgement: the kernel works through all of them and reports errors unasked.
        Raises the first error; messages after the failed one have been tried too.
        """
        return self._receive(self._send(messages), NLMSG_ERROR)

    def attempt(self, *messages: Message) -> list[OSError | None]:
        """Performs changes in order, in one system call, and returns what the kernel had against each."""
        first = self._send(messages)
        failures: list[OSError | None] = [None] * len(messages)
        while True:
            for sequence, answer in parse_messages(self._socket.recv(1 << 16)):
                if answer.type != NLMSG_ERROR or sequence < first:
                    continue
                failure = -struct.unpack_from("=i", answer.body)[0]
                if failure:
                    failures[sequence - first] = OSError(failure, os.strerror(failure))
                if sequence == self._sequence:
                    return failures

    def dump(self, message: Message) -> list[Message]:
        """Returns every object of the message's kind."""
        self._sequence += 1
        self._socket.send(dump_message(message._replace(flags=message.flags | NLM_F_DUMP), self._sequence))
        return self._receive(self._sequence, NLMSG_DONE)

    def _send(self, messages: tuple[Message, ...]) -> int:
        """Sends the messages and returns the sequence number of the first."""
        first = self._sequence + 1
        self._sequence += len(messages)
        last = Message(messages[-1].type, messages[-1].flags | NLM_F_ACK, messages[-1].body)
        numbered = enumerate((*messages[:-1], last), first)
        self._socket.send(b"".join(dump_message(message, sequence) for sequence, message in numbered))
        return first

    def _receive(self, first: int, end: int) -> list[Message]:
        """Returns the answers since a sequence number; an earlier request may have been given up in the middle."""
        answers: list[Message] = []
        failure = 0
        while True:
            for sequence, answer in parse_messages(self._socket.recv(1 << 16)):
                if sequence < first:
                    continue
                if answer.type not in {NLMSG_ERROR, NLMSG_DONE}:
                    answers.append(answer)
                    continue
                failure = failure or -struct.unpack_from("=i", answer.body)[0]
                if sequence == self._sequence and (answer.type == end or failure):
                    if failure:
                        raise OSError(failure, os.strerror(failure))
                    return answers


class Home:
    """The namespace a worker thread is at home in: a routing socket there, and the way to others and back.

    To be opened by the thread that uses it, and closed. Raises OSError.
    """

    def __init__(self) -> None:
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._identity = os.fstat(self._namespace)
        self.socket = Socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.__exit__(*exception)
        os.close(self._namespace)

    def is_in(self, netns: int) -> bool:
        """Tells whether that descriptor is of the home itself."""
        return os.path.samestat(os.fstat(netns), self._identity)

    def open_in(self, netns: int) -> Socket:
        """Returns a socket in the namespace of that descriptor."""
        with self.away_in(netns):
            return Socket()

    @contextlib.contextmanager
    def away_in(self, netns: int) -> Iterator[None]:
        """Lends the calling thread to the namespace of that descriptor."""
        _enter(netns)
        try:
            yield
        finally:
            _enter(self._namespace)


def _enter(netns: int) -> None:
    if _libc.setns(netns, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def dump_message(message: Message, sequence: int) -> bytes:
    """Returns the bytes of a request."""
    flags = message.flags | NLM_F_REQUEST
    return _HEADER.pack(_HEADER.size + len(message.body), message.type, flags, sequence, 0) + message.body


def parse_messages(data: bytes) -> list[tuple[int, Message]]:
    """Returns the messages in a datagram with their sequence numbers."""
    found = []
    offset = 0
    while offset < len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        found.append((sequence, Message(kind, flags, data[offset + _HEADER.size : offset + length])))
        offset += length + 3 & ~3
    return found


def dump_attribute(kind: int, payload: bytes) -> bytes:
    """Returns one attribute with its padding."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length & 3)


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Returns the attributes' payloads by type; nested ones as bytes."""
    found = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]  # without NLA_F_NESTED and byte order
        offset += max(length + 3 & ~3, _ATTRIBUTE.size)
    return found
