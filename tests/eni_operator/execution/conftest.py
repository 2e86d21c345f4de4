import pytest

from eni_testing.scripted_ec2 import Bench


@pytest.fixture
async def bench() -> Bench:
    return Bench()
