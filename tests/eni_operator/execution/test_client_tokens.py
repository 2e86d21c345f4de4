"""Which failures spend the client token of an ENI that is created."""

import pytest

from eni_operator.domain.actions import AttachEni
from eni_operator.ec2.errors import (
    Ec2Error,
    Ec2UnavailableError,
    IdempotencyMismatchError,
    LimitReachedError,
    NotFoundError,
    UnknownInstanceError,
)
from eni_testing.scripted_ec2 import ONE, Bench, creation


@pytest.mark.parametrize(
    ("api", "error", "spent"),
    [
        ("create", IdempotencyMismatchError("CreateNetworkInterface"), 1),
        ("create", NotFoundError("CreateNetworkInterface"), 1),
        ("create", Ec2UnavailableError("CreateNetworkInterface"), 0),
        ("create", UnknownInstanceError("CreateNetworkInterface"), 0),
        ("attach", UnknownInstanceError("AttachNetworkInterface"), 0),
        ("attach", LimitReachedError("AttachNetworkInterface"), 0),
    ],
    ids=lambda value: getattr(type(value), "__name__", value),
)
async def test_only_a_token_whose_eni_is_not_to_be_had_is_spent(
    bench: Bench, api: str, error: Ec2Error, spent: int
) -> None:
    bench.ec2.errors[api] = [error] * 5
    await bench.perform(creation())
    assert bench.executor.tokens_spent == spent


async def test_a_token_that_names_an_eni_the_plan_adopts_is_spent_and_the_eni_is_attached_once(bench: Bench) -> None:
    """A predecessor made it under this token for device 2, died, and it is the only one: it is adopted for device 1."""
    bench.holds(ONE, attached=False)
    await bench.perform(AttachEni(ONE, 1), creation(device=2))
    assert [call for call in bench.ec2.calls if call[0] == "attach"] == [("attach", ONE, 1, 0)]
    assert bench.executor.tokens_spent == 1
