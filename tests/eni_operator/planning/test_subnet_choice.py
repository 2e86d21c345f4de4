"""Which subnet growth comes from, on a c5.xlarge (4 ENIs of 14 slots) unless said otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.conditions import Reason
from eni_crds.eniconfig import SubnetPolicy
from eni_operator.domain.actions import AssignAddresses, AssignPrefixes, AttachEni, CreateEni
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Reservation, ReservationKind, Subnet
from eni_operator.domain.pool import Obstacle, Usage, World
from eni_operator.planning import subnet_choice
from eni_operator.planning.plan import Plan, plan
from eni_testing.instances import SUBNET, attached, instance_of
from eni_testing.worlds import policy_of, world_of

C5, T3 = instance_of("c5.xlarge"), instance_of("t3.small")
FULL_PRIMARY = attached(C5, 0, addresses=14)
ORDERED, PACKED, MOST_FREE = SubnetPolicy.ORDERED, SubnetPolicy.PACKED, SubnetPolicy.MOST_FREE
LATER = 100.0


def subnet(name: str, free: int, **fields: Any) -> Subnet:
    return replace(SUBNET, id=SubnetId(name), free_addresses=free, **fields)


def growing(*subnets: Subnet, pods: int = 15, **fields: Any) -> World:
    """Returns a world whose primary is full and elsewhere, so that growth needs a new ENI."""
    primary = replace(FULL_PRIMARY, subnet_id=SubnetId("subnet-0"))
    usage = Usage(assigned=14, pending=pods - 14, reported=True)
    return world_of("c5.xlarge", *fields.pop("enis", (primary,)), usage=usage, subnets=subnets, **fields)


def plan_of(world: World, **policy: Any) -> Plan:
    return plan(world, policy_of(**({"warmIPs": 0} | policy)), 0.0, "nonce")


def created(decision: Plan) -> list[tuple[str, int]]:
    return [(a.subnet_id, max(a.addresses, a.prefixes)) for a in decision.actions if isinstance(a, CreateEni)]


@pytest.mark.parametrize(
    ("policy", "free", "chosen"),
    [
        (MOST_FREE, (10, 500, 50), "b"),
        (ORDERED, (10, 500, 50), "a"),
        (ORDERED, (1, 500, 50), "b"),
        (PACKED, (10, 500, 50), "a"),
        (PACKED, (1, 500, 50), "c"),
        (PACKED, (1, 1, 1), "a"),
        (MOST_FREE, (0, 0, 0), "a"),
    ],
)
def test_a_new_eni_comes_from_the_subnet_the_policy_names(
    policy: SubnetPolicy, free: tuple[int, ...], chosen: str
) -> None:
    subnets = [subnet(name, count) for name, count in zip("abc", free, strict=True)]
    assert created(plan_of(growing(*subnets, subnet_policy=policy))) == [(chosen, 1)]


def test_packed_takes_the_fullest_subnet_that_has_enough_for_the_whole_eni() -> None:
    world = growing(subnet("a", 9), subnet("b", 10), subnet("c", 500), pods=23, subnet_policy=PACKED)
    assert created(plan_of(world)) == [("b", 9)]


def test_one_plan_spreads_enis_over_subnets_when_one_has_not_enough() -> None:
    world = growing(subnet("a", 16), subnet("b", 12), pods=38)
    assert created(plan_of(world)) == [("a", 14), ("b", 10)]


def test_an_eni_goes_where_it_can_be_filled_though_another_subnet_is_listed_first() -> None:
    world = growing(subnet("a", 6), subnet("b", 500), pods=24, subnet_policy=ORDERED)
    assert created(plan_of(world)) == [("b", 10)]


def test_where_none_has_enough_an_eni_takes_what_is_left_and_the_next_one_the_rest() -> None:
    world = growing(subnet("a", 6), subnet("b", 7), pods=24, subnet_policy=ORDERED)
    assert created(plan_of(world)) == [("a", 5), ("b", 5)]


def test_a_subnet_is_not_asked_twice_in_one_plan_for_more_than_it_has() -> None:
    assert created(plan_of(growing(subnet("a", 6), pods=40))) == [("a", 5)]


@pytest.mark.parametrize("mode", ["secondary", "prefix"])
def test_a_subnet_that_refused_is_skipped_while_others_serve(mode: str) -> None:
    world = growing(subnet("a", 500, exhausted_until=LATER), subnet("b", 90))
    assert [name for name, _ in created(plan_of(world, mode=mode))] == ["b"]


def test_a_fragmented_subnet_is_skipped_for_prefixes_only() -> None:
    world = growing(subnet("a", 500, fragmented_until=LATER), subnet("b", 90))
    assert [name for name, _ in created(plan_of(world, mode="prefix"))] == ["b"]
    assert [name for name, _ in created(plan_of(world))] == ["a"]


def test_enis_in_a_refusing_subnet_are_not_grown_and_others_are() -> None:
    resting, serving = subnet("a", 500, exhausted_until=LATER), subnet("b", 90)
    enis = (attached(C5, 0, addresses=5, subnet=resting), attached(C5, 1, addresses=1, subnet=serving))
    world = world_of("c5.xlarge", *enis, usage=Usage(pending=9, reported=True), subnets=(resting, serving))
    assert plan_of(world).actions == (AssignAddresses(enis[1].id, 3),)


def test_without_a_candidate_attached_enis_grow_and_none_is_made() -> None:
    obstacle = Obstacle(Reason.NO_SUBNET, "no subnet may be used")
    world = world_of(
        "c5.xlarge", usage=Usage(pending=20, reported=True), subnets=(SUBNET,), candidates=(), obstacle=obstacle
    )
    assert plan_of(world).actions == (AssignAddresses(attached(C5, 0).id, 14),)


def test_an_unattached_eni_is_adopted_from_any_candidate_though_it_refuses() -> None:
    lost = replace(attached(C5, 7, addresses=1, subnet=subnet("b", 0)), attachment=None)
    world = growing(subnet("a", 500), subnet("b", 0, exhausted_until=LATER), enis=(FULL_PRIMARY, lost))
    assert plan_of(world).actions == (AttachEni(lost.id, 1),)


def test_a_reservation_is_not_counted_for_single_addresses() -> None:
    reserved = (Reservation("10.0.8.0/25", ReservationKind.PREFIX),)
    world = growing(subnet("a", 200, reservations=reserved), subnet("b", 90))
    assert [name for name, _ in created(plan_of(world))] == ["b"]


def test_a_subnet_with_a_prefix_reservation_comes_first_for_prefixes() -> None:
    reserved = (Reservation("10.0.8.0/25", ReservationKind.PREFIX),)
    world = growing(subnet("a", 500), subnet("b", 90, reservations=reserved))
    assert [name for name, _ in created(plan_of(world, mode="prefix"))] == ["b"]
    explicit = (
        Reservation("10.0.8.0/25", ReservationKind.EXPLICIT),
        Reservation("2001:db8::/80", ReservationKind.EXPLICIT),
    )
    assert subnet_choice.free(subnet("c", 200, reservations=explicit), 16) == 72


def test_the_subnets_are_told_in_the_order_they_are_asked() -> None:
    subnets = (subnet("a", 50), subnet("b", 500), subnet("c", 90))
    order = {p: "".join(s.id for s in subnet_choice.ordered(growing(*subnets, subnet_policy=p))) for p in SubnetPolicy}
    assert order == {MOST_FREE: "bca", ORDERED: "abc", PACKED: "acb"}


def test_a_bare_eni_comes_from_a_subnet_that_can_spare_it() -> None:
    world = world_of("c5.xlarge", attached(C5, 0, addresses=1), subnets=(subnet("a", 15), subnet("b", 16)))
    assert created(plan_of(replace(world, subnet_policy=ORDERED), warmIPs=None)) == [("b", 0)]
    assert created(plan_of(replace(world, candidates=(SubnetId("a"),)), warmIPs=None)) == []


class TestModeAuto:
    """Prefixes while any place that can grow gives them."""

    def test_another_subnet_with_prefixes_is_used_before_single_addresses(self) -> None:
        world = growing(subnet("a", 500, fragmented_until=LATER), subnet("b", 90))
        assert created(plan_of(world, mode="auto")) == [("b", 1)]

    def test_single_addresses_come_where_no_place_gives_prefixes(self) -> None:
        world = growing(subnet("a", 500, fragmented_until=LATER), subnet("b", 90, fragmented_until=LATER))
        decision = plan_of(world, mode="auto")
        assert created(decision) == [("a", 1)]
        assert decision.wanted == 15

    def test_a_candidate_counts_only_while_an_eni_can_come(self) -> None:
        resting = subnet("a", 500, fragmented_until=LATER)
        world = world_of(
            "c5.xlarge",
            attached(C5, 0, subnet=resting),
            usage=Usage(pending=3, reported=True),
            subnets=(resting, subnet("b", 90)),
        )
        assert plan_of(world, mode="auto", maximumENIs=1).actions == (AssignAddresses(attached(C5, 0).id, 3),)
        assert created(plan_of(world, mode="auto", maximumENIs=2)) == [("b", 1)]

    def test_prefixes_come_again_when_the_back_off_ends(self) -> None:
        resting = subnet("a", 500, fragmented_until=LATER)
        world = world_of(
            "c5.xlarge",
            attached(C5, 0, addresses=3, subnet=resting),
            usage=Usage(assigned=3, pending=1, reported=True),
            subnets=(resting,),
        )
        policy = policy_of(mode="auto", warmIPs=0)
        assert plan(world, policy, LATER - 1, "nonce").actions == (AssignAddresses(attached(C5, 0).id, 1),)
        assert plan(world, policy, LATER, "nonce").actions == (AssignPrefixes(attached(C5, 0).id, 1),)

    def test_limits_are_those_of_single_addresses_while_there_are_no_prefixes(self) -> None:
        resting = subnet("a", 500, fragmented_until=LATER)
        primary = attached(C5, 0, subnet=resting)
        world = world_of("c5.xlarge", primary, usage=Usage(pending=50, reported=True), subnets=(resting,))
        decision = plan_of(world, mode="auto", maximumENIs=2)
        assert (decision.wanted, decision.maximum_pods) == (28, 30)

    def test_a_prefix_that_took_the_last_slot_of_the_only_subnet_with_prefixes_stays(self) -> None:
        """Single addresses would do with less, but then the slot were free and the prefix would come again."""
        resting, whole = subnet("a", 500, fragmented_until=LATER), subnet("b", 500)
        enis = (attached(T3, 0, subnet=resting), attached(T3, 1, addresses=2, prefixes=1, subnet=whole))
        usage = Usage(assigned=2, reported=True, idle=enis[1].prefixes)
        world = world_of("t3.small", *enis, usage=usage, subnets=(resting, whole))
        decision = plan_of(world, mode="auto", maximumENIs=2, releaseAfterSeconds=0)
        assert (decision.wanted, decision.actions, decision.releasing) == (2, (), {})
