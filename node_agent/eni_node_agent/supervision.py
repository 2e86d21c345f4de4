"""Keeps the agent's loops running: one that fails is logged and started again, the others go on.

Decides nothing of what loops do. A thread that hangs is seen by ``health``, an event loop that stalls by ``looplag``.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

RESTART_SECONDS: Final = 1.0
"""Pause before a loop that failed is started again."""


@contextlib.asynccontextmanager
async def running(loop: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Keeps a loop running while the context lasts."""
    task = asyncio.create_task(_supervise(loop), name=_name_of(loop))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _supervise(loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await loop()
        except Exception:
            log.exception("loop failed, it starts again", extra={"loop": _name_of(loop)})
        await asyncio.sleep(RESTART_SECONDS)


def _name_of(loop: Callable[[], Awaitable[None]]) -> str:
    return str(getattr(loop, "__qualname__", None) or getattr(loop, "func", loop).__qualname__)
