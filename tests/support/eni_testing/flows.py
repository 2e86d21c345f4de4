"""Traffic that does not stop while a test changes things: new connections, each told which address was seen.

A client prints one line an exchange, so a test can wait for more of them and ask what any of them saw::

    with answering(outside.path), Flow(pod.path, "udp", OUTSIDE, PORT) as flow:
        flow.wait_for(3)
        ...
    assert flow.seen == {"10.0.1.10": flow.exchanges}
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 9000
_WITHIN_SECONDS = 10.0

_SERVER = f"""
import socket, threading
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", {PORT}))
streams = socket.create_server(("0.0.0.0", {PORT}), backlog=128)
def answer_datagrams():
    while True:
        _, peer = datagrams.recvfrom(99)
        datagrams.sendto(peer[0].encode(), peer)
threading.Thread(target=answer_datagrams, daemon=True).start()
print("ready", flush=True)
while True:
    asked, peer = streams.accept()
    with asked:
        asked.sendall(peer[0].encode())
"""
_CLIENT = """
import socket, sys
kind, peer = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
def exchange():
    if kind == "tcp":
        with socket.create_connection(peer, 2) as asked:
            return asked.makefile().read()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(2)
        asked.connect(peer)
        asked.send(b"?")
        return asked.recv(99).decode()
while True:
    try:
        print(exchange(), flush=True)
    except OSError as error:
        print("lost:", error, flush=True)
"""


@contextmanager
def answering(path: str) -> Iterator[None]:
    """In the namespace at ``path``, whoever asks by UDP or TCP is told what address is seen."""
    command = ["nsenter", f"--net={path}", sys.executable, "-IS", "-c", _SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


class Flow:
    """Exchanges one after the other, each over a connection of its own."""

    def __init__(self, path: str, kind: str, address: str, port: int = PORT) -> None:
        self.seen: Counter[str] = Counter()
        """What the server saw, or ``lost: ...``, and how often."""
        self._name = f"{kind} to {address}"
        command = ["nsenter", f"--net={path}", sys.executable, "-IS", "-c", _CLIENT, kind, address, str(port)]
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def exchanges(self) -> int:
        """How many there were so far."""
        return self.seen.total()

    def wait_for(self, more: int) -> None:
        """Returns once there have been so many more exchanges; fails the test when that takes too long."""
        wanted, deadline = self.exchanges + more, time.monotonic() + _WITHIN_SECONDS
        while self.exchanges < wanted:
            if time.monotonic() > deadline:
                pytest.fail(f"{self._name}: not {more} more exchanges within {_WITHIN_SECONDS} s")
            time.sleep(0.001)

    def _read(self) -> None:
        assert self._client.stdout is not None
        for line in self._client.stdout:
            self.seen[line.strip()] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.kill()
        self._reader.join()
        self._client.communicate()
