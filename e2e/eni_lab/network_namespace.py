"""Calls made inside another network namespace, from this process: a thread of it lives there. setns(2)."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from pyroute2 import netns

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


class NetworkNamespace:
    """The network namespace of a process. Sockets that a call opens belong to it; nothing else of this process does."""

    def __init__(self, pid: int) -> None:
        self._thread = ThreadPoolExecutor(1, f"netns-{pid}", _enter, (pid,))

    def call(self, function: Callable[Parameters, Value], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        """The function's result; one call at a time."""
        return self._thread.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown()


def _enter(pid: int) -> None:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.setns(descriptor)
    finally:
        os.close(descriptor)
