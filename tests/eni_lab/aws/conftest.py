import pytest

from eni_testing.ec2_engine import EngineLab


@pytest.fixture
def lab() -> EngineLab:
    return EngineLab()
