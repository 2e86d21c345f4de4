"""Waits for a condition instead of for luck."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


async def eventually(condition: Callable[[], bool], what: str, *, within: float = 5.0) -> None:
    """Returns as soon as ``condition`` holds; fails the test, naming ``what``, when it has not ``within`` seconds."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + within
    while not condition():
        if clock() > deadline:
            pytest.fail(f"{what}: not so within {within} s")
        await asyncio.sleep(0.02)
