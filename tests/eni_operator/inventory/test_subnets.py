"""When subnets are asked for, and what is believed of them in between."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Reservation, ReservationKind, Subnet
from eni_operator.ec2.errors import DeniedError, Ec2Error, Ec2UnavailableError
from eni_operator.inventory.source import SubnetSource
from eni_operator.inventory.subnets import REST_SECONDS, Subnets

A, B, NONE = SubnetId("subnet-a"), SubnetId("subnet-b"), SubnetId("subnet-none")
RESERVED = (Reservation("10.0.0.0/24", ReservationKind.PREFIX),)


class Vpc(SubnetSource):
    """Subnets that can be told to answer slowly, to vanish, or to be denied."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.free = {A: 100, B: 50}
        self.calls: list[tuple[str, ...]] = []
        self.error: Ec2Error | None = None

    def clock(self) -> float:
        return self.now

    async def _called(self, *call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    def _subnet(self, subnet_id: SubnetId) -> Subnet:
        return Subnet(subnet_id, "us-east-1a", "10.0.0.0/20", self.free[subnet_id], vpc_id="vpc-1")

    async def describe_subnets(self, subnet_ids: Sequence[SubnetId]) -> list[Subnet]:
        await self._called("describe", *subnet_ids)
        return [self._subnet(i) for i in subnet_ids if i in self.free]

    async def find_subnets(self, vpc_id: str, *, zone: str = "", tags: Mapping[str, str] | None = None) -> list[Subnet]:
        await self._called("find", vpc_id, zone, *(tags or {}))
        return [self._subnet(i) for i in self.free]

    async def describe_reservations(self, subnet_id: SubnetId) -> tuple[Reservation, ...]:
        await self._called("reservations", subnet_id)
        return RESERVED


@pytest.fixture
def vpc() -> Vpc:
    return Vpc()


@pytest.fixture
def subnets(vpc: Vpc) -> Subnets:
    return Subnets(vpc, vpc.clock)


async def test_a_known_subnet_is_asked_for_once(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A])
    await subnets.look_up([A, B])
    assert vpc.calls == [("describe", A), ("describe", B)]
    assert subnets.get(A).free_addresses == 100


async def test_an_unknown_id_is_no_error_and_asked_for_again_after_a_minute(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A, NONE])
    await subnets.look_up([A, NONE])
    assert set(subnets.known()) == {A}
    assert len(vpc.calls) == 1
    vpc.now += 61
    vpc.free[NONE] = 1
    await subnets.look_up([NONE])
    assert NONE in subnets.known()


async def test_a_known_subnet_is_gone_when_two_answers_lack_it(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A])
    del vpc.free[A]
    vpc.now += 61
    await subnets.refresh([A])
    assert A in subnets.known()
    assert A in subnets.known()
    vpc.now += 61
    await subnets.refresh([A])
    assert A not in subnets.known()
    assert A not in subnets.known()


async def test_many_who_ask_at_the_same_time_share_an_answer(vpc: Vpc, subnets: Subnets) -> None:
    await asyncio.gather(*(subnets.look_up([A, B], again=True) for _ in range(50)))
    await asyncio.gather(*(subnets.find("vpc-1", zone="z") for _ in range(50)))
    assert vpc.calls == [("describe", A, B), ("find", "vpc-1", "z")]


async def test_a_cached_answer_does_not_wait_for_a_call_under_way(vpc: Vpc, subnets: Subnets) -> None:
    found = await subnets.find("vpc-1")
    under_way = asyncio.create_task(subnets.look_up([NONE]))
    await asyncio.sleep(0)
    assert vpc.calls[-1] == ("describe", NONE)
    cached = subnets.find("vpc-1").send  # one step must be enough
    with pytest.raises(StopIteration) as answered:
        cached(None)
    assert answered.value.value == found
    await under_way


async def test_free_counts_are_stale_after_a_minute_and_refreshed_once(vpc: Vpc, subnets: Subnets) -> None:
    assert subnets.stale([A]) == (A,)
    await subnets.look_up([A])
    vpc.now += 60
    assert subnets.stale([A]) == ()
    vpc.now += 1
    vpc.free[A] = 7
    await subnets.refresh([A])
    await subnets.refresh([A])
    assert subnets.get(A).free_addresses == 7
    assert len(vpc.calls) == 2


async def test_a_query_is_asked_again_only_for_growth_when_it_is_old(vpc: Vpc, subnets: Subnets) -> None:
    assert await subnets.find("vpc-1", zone="z", tags={"k": ""}) == (A, B)
    vpc.now += 601
    await subnets.find("vpc-1", zone="z", tags={"k": ""})
    assert len(vpc.calls) == 1
    vpc.free[NONE] = 9
    assert await subnets.find("vpc-1", zone="z", tags={"k": ""}, growing=True) == (A, B, NONE)
    await subnets.find("vpc-1", zone="z", tags={"k": ""}, growing=True)
    assert len(vpc.calls) == 2


@pytest.mark.parametrize("refuse", [Subnets.refused_address, Subnets.refused_prefix])
async def test_after_a_refusal_the_query_is_asked_again_at_once(vpc: Vpc, subnets: Subnets, refuse: object) -> None:
    await subnets.find("vpc-1")
    refuse(subnets, A)  # type: ignore[operator] # one of the two methods above
    assert subnets.stale([A, B]) == (A,)
    await subnets.find("vpc-1")
    await subnets.find("vpc-1")
    assert len(vpc.calls) == 2


async def test_a_subnet_rests_after_it_refused_whatever_is_told_of_it(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A])
    subnets.refused_address(A)
    subnets.refused_prefix(A)
    await subnets.look_up([A], again=True)
    assert subnets.get(A).exhausted_until == subnets.get(A).fragmented_until == vpc.now + REST_SECONDS


async def test_reservations_are_asked_for_once_an_hour(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A])
    assert subnets.get(A).reservations is None
    await subnets.look_up_reservations([A, NONE])
    await subnets.look_up([A], again=True)
    vpc.now += 3599
    await subnets.look_up_reservations([A])
    assert subnets.get(A).reservations == RESERVED
    assert [call for call in vpc.calls if call[0] == "reservations"] == [("reservations", A)]


@pytest.mark.parametrize(
    ("error", "quiet"),
    [(DeniedError("GetSubnetCidrReservations"), 3600), (Ec2UnavailableError("GetSubnetCidrReservations"), 60)],
    ids=["denied", "away"],
)
async def test_reservations_ec2_does_not_tell_stay_unknown(
    vpc: Vpc, subnets: Subnets, error: Ec2Error, quiet: int
) -> None:
    await subnets.look_up([A])
    vpc.calls.clear()
    vpc.error = error
    await subnets.look_up_reservations([A])
    vpc.now += quiet - 1
    await subnets.look_up_reservations([A])
    assert subnets.get(A).reservations is None
    assert len(vpc.calls) == 1
    vpc.now += 1
    vpc.error = None
    await subnets.look_up_reservations([A])
    assert subnets.get(A).reservations == RESERVED


async def test_where_iam_denies_them_the_blocks_come_from_who_knows_them(vpc: Vpc) -> None:
    vpc.error = DeniedError("DescribeSubnets")
    subnets = Subnets(vpc, vpc.clock, spare=Vpc())
    await subnets.look_up([A])
    assert subnets.get(A).cidr == "10.0.0.0/20"


async def test_a_denial_is_told_where_nobody_else_knows_the_subnet(vpc: Vpc) -> None:
    vpc.error = DeniedError("DescribeSubnets")
    with pytest.raises(DeniedError):
        await Subnets(vpc, vpc.clock, spare=Vpc()).look_up([NONE])


async def test_an_error_leaves_what_was_known(vpc: Vpc, subnets: Subnets) -> None:
    await subnets.look_up([A])
    vpc.error = Ec2UnavailableError("DescribeSubnets")
    vpc.now += 1
    with pytest.raises(Ec2UnavailableError):
        await subnets.look_up([A], again=True)
    assert subnets.get(A).free_addresses == 100
