from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eni_testing.supply_flow import World, running


@pytest.fixture
async def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    """A supply that is followed."""
    async with running(tmp_path) as made:
        made.log = caplog
        yield made
