"""Limits from EC2, from the built-in table, and from refusals."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_lab.aws.extract_instance_limits import TARGET, table
from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId, InstanceId, SubnetId
from eni_operator.domain.instance import InstanceLimits
from eni_operator.ec2.errors import CredentialsMissingError, DeniedError, Ec2Error, UnknownInstanceTypeError
from eni_operator.inventory.instance_limits import built_in_limits
from eni_operator.inventory.instance_types import UNKNOWN_SECONDS, InstanceTypes
from eni_operator.inventory.learned_limits import LearnedLimits
from eni_operator.inventory.source import TypeSource
from eni_testing.ec2_engine import instance_types

TOLD = InstanceLimits(enis=4, addresses_per_eni=15, prefixes=True)


class Types(TypeSource):
    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.error: Ec2Error | None = None

    def clock(self) -> float:
        return self.now

    async def describe_limits(self, _instance_type: str) -> InstanceLimits:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return TOLD


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m5.large", InstanceLimits(3, 10, prefixes=True, cards=(3,))),
        ("c5.metal", InstanceLimits(15, 50, prefixes=True, cards=(15,))),
        ("m4.4xlarge", InstanceLimits(8, 30, prefixes=False, cards=(8,))),
        ("i7ie.48xlarge", InstanceLimits(8, 50, prefixes=True, cards=(8, 7))),
        ("p5.48xlarge", InstanceLimits(2, 50, prefixes=True, cards=(2,) * 32)),
        ("m5.larg", None),
        ("z9.huge", None),
        ("", None),
    ],
)
def test_the_built_in_table_knows_types_by_their_whole_name(name: str, expected: InstanceLimits | None) -> None:
    assert built_in_limits(name) == expected


def test_the_built_in_table_says_of_every_type_what_the_stand_in_says() -> None:
    assert TARGET.read_text(encoding="ascii") == table()
    assert len(table().splitlines()) == len(instance_types()) > 1300


async def test_a_type_is_asked_for_once_by_however_many() -> None:
    source = Types()
    types = InstanceTypes(source, source.clock)
    assert await asyncio.gather(*(types.limits("m5.xlarge") for _ in range(20))) == [TOLD] * 20
    assert source.asked == 1


async def test_a_type_nobody_knows_is_asked_for_again_after_an_hour() -> None:
    source = Types()
    source.error = UnknownInstanceTypeError("DescribeInstanceTypes")
    types = InstanceTypes(source, source.clock)
    assert await types.limits("z9.huge") is None
    assert await types.limits("z9.huge") is None
    assert source.asked == 1
    source.now += UNKNOWN_SECONDS
    source.error = None
    assert await types.limits("z9.huge") == TOLD


async def test_a_denial_is_no_obstacle() -> None:
    source = Types()
    source.error = DeniedError("DescribeInstanceTypes")
    assert await InstanceTypes(source, source.clock).limits("m5.large") == built_in_limits("m5.large")


async def test_a_missing_credential_is_told() -> None:
    source = Types()
    source.error = CredentialsMissingError("DescribeInstanceTypes")
    types = InstanceTypes(source, source.clock)
    for _ in range(5):
        with pytest.raises(CredentialsMissingError):
            await types.limits("m5.large")


# Learning a type nobody knows


def eni(number: int, addresses: int = 0, *, attached: bool = True) -> Eni:
    tie = Attachment(AttachmentId("a"), InstanceId("i-1"), number, 0, AttachmentState.ATTACHED, True)  # noqa: FBT003 - a value
    held = tuple(f"10.0.{number}.{n}" for n in range(addresses))
    return Eni(
        EniId(f"eni-{number}"), "", SubnetId("s"), "10.1.0.1", addresses=held, attachment=tie if attached else None
    )


def test_an_unknown_type_starts_generous() -> None:
    limits = LearnedLimits().limits([eni(0)])
    assert (limits.enis, limits.addresses_per_eni, limits.prefixes) == (15, 50, True)


def test_a_refused_eni_sets_the_limit_to_what_is_there_and_never_below() -> None:
    learned = LearnedLimits()
    learned.refused_eni([eni(0), eni(1), eni(2, attached=False)])
    assert learned.limits([eni(0), eni(1)]).enis == 2
    assert learned.limits([eni(0), eni(1), eni(2)]).enis == 3


def test_an_eni_that_is_refused_with_its_addresses_must_have_fewer() -> None:
    learned = LearnedLimits()
    learned.refused_addresses(eni(1, 9, attached=False), asked=9)
    assert learned.limits([eni(0)]).addresses_per_eni < 10


@given(limit=st.integers(2, 50), greed=st.integers(1, 49))
def test_the_address_limit_is_found_in_few_refusals(limit: int, greed: int) -> None:
    """``greed``: how many are asked for at a time at most, as a pool's demand would have it."""
    learned, held, refusals = LearnedLimits(), eni(0), 0
    while (room := learned.limits([held]).addresses_per_eni - held.slots_used) > 0:
        asked = min(room, greed)
        if held.slots_used + asked <= limit:
            held = eni(0, len(held.addresses) + asked)
        else:
            learned.refused_addresses(held, asked)
            refusals += 1
    assert held.slots_used == limit
    assert refusals <= math.ceil(math.log2(50)) + 1
