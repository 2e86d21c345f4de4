"""Waiting for a condition with a deadline, the only kind of waiting the laboratory does."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

Report = Callable[[str], None]
"""Tells a person one line of progress."""


def wait_for(what: str, condition: Callable[[], Value | None], *, seconds: float, interval: float = 0.02) -> Value:
    """The first true value of ``condition``.

    Raises:
        TimeoutError: not true within ``seconds``; the message names ``what``.
    """
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


def stopwatch() -> Report:
    """Prints each line with the seconds since the stopwatch was made."""
    start = time.monotonic()

    def report(text: str) -> None:
        print(f"{time.monotonic() - start:7.2f} s  {text}", flush=True)

    return report
