"""Runs programs beside a block and ends them with it; where one of them fails, all ends at once."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(programs: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs programs while the context lasts; raises what they raise as an ExceptionGroup."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(program) for program in programs]
        yield
        for task in tasks:
            task.cancel()
