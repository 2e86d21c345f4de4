"""An event loop on virtual time: where all that runs only waits, the clock jumps to the next timer.

For code that takes ``sleep`` and ``clock``, with asyncio's own tasks and futures: hours pass in milliseconds, and the
same program gives the same run. Nothing that runs on it may wait for a socket, a thread or a process.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.SelectSelector):
    """Waits for nothing, but lets the clock pass by as much."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits and no timer is set: nothing will ever happen")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; ``time`` starts at zero."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Returns the virtual instant in seconds."""
        return self._jumping.now


def run(program: Coroutine[Any, Any, Result]) -> Result:
    """Runs a program from instant zero to its end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(program)


def now() -> float:
    """Returns the instant of the loop that runs."""
    return asyncio.get_running_loop().time()
