"""What is written, from values: supply, conditions, Events, and what a change is worth."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Condition, ConditionStatus, EniRole, EniState, Mode, Supply
from eni_operator.controllers import status, worlds
from eni_operator.controllers.events import MISSING_PERMISSIONS, missing_permissions, notices
from eni_operator.controllers.identity import instance_of
from eni_operator.controllers.kube import ENICONFIGS, NODES, POOLS
from eni_operator.controllers.observed import DELETED, Observed
from eni_operator.controllers.refusals import NEXT_TRY
from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId, InstanceId, SubnetId
from eni_operator.domain.instance import Instance, InstanceLimits, Subnet
from eni_operator.domain.policy import Origin, Policy
from eni_operator.domain.pool import Handover, World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning.plan import Plan

SUBNET = SubnetId("subnet-1")
INSTANCE = Instance(
    InstanceId("i-1"), "m5.large", "eu-1a", "vpc-1", SUBNET, (), InstanceLimits(3, 10, prefixes=True), maximum_pods=29
)
POLICY = Policy(
    mode=Mode.SECONDARY,
    warm_ips=2,
    minimum_ips=None,
    warm_prefixes=None,
    warm_enis=None,
    maximum_enis=None,
    maximum_pods=None,
    maximum_ips=None,
    cooldown_seconds=30.0,
    release_after_seconds=5.0,
    headroom=1,
    paused=False,
    origins={"mode": Origin.DEFAULT, "warm_ips": Origin.POOL, "cooldown_seconds": Origin.ENVIRONMENT},
)
PLAN = Plan(
    (),
    7,
    cards=(0,),
    releasing={},
    draining=frozenset(),
    verdicts=(),
    recheck_at=None,
    surplus=False,
    generation=3,
    maximum_pods=29,
)
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def eni(index: int, state: AttachmentState = AttachmentState.ATTACHED, **parts: object) -> Eni:
    tie = Attachment(AttachmentId(f"a-{index}"), INSTANCE.id, index, 0, state, delete_on_termination=True)
    made = Eni(EniId(f"eni-{index}"), f"02::{index}", SUBNET, f"10.0.1.{index + 4}", attachment=tie)
    return replace(made, **parts)  # type: ignore[arg-type] # the tests name Eni's fields


def supply_of(*enis: Eni, plan: Plan = PLAN, **parts: object) -> Supply:
    subnet = Subnet(SUBNET, "eu-1a", "10.0.1.0/24", 200, exhausted_until=THEN.timestamp(), ipv6_cidr="fd00:1::/64")
    world = World(INSTANCE, {SUBNET: subnet}, (SUBNET,), enis)
    world = replace(world, **parts)  # type: ignore[arg-type] # the tests name World's fields
    return status.supply(status.Facts(world, POLICY, ("10.0.0.0/16",)), plan)


def test_an_eni_is_written_as_the_agent_needs_it() -> None:
    supply = supply_of(eni(0), eni(1, addresses=("10.0.1.9",), prefixes=("10.0.1.16/28",)))
    primary, secondary = supply.enis
    assert (primary.role, secondary.role, secondary.state) == (EniRole.PRIMARY, EniRole.SECONDARY, EniState.ATTACHED)
    assert (secondary.gateway, secondary.subnet_cidr, secondary.primary_ip) == ("10.0.1.1", "10.0.1.0/24", "10.0.1.5")
    assert (secondary.addresses, secondary.prefixes) == (["10.0.1.9"], ["10.0.1.16/28"])
    assert (supply.totals.enis, supply.totals.prefixes, supply.totals.addresses) == (2, 1, 17)
    assert (supply.wanted, supply.generation, supply.vpc_cidrs) == (7, 3, ["10.0.0.0/16"])


@pytest.mark.parametrize(
    ("state", "draining", "written"),
    [
        (AttachmentState.ATTACHING, False, EniState.ATTACHING),
        (AttachmentState.ATTACHED, False, EniState.ATTACHED),
        (AttachmentState.ATTACHED, True, EniState.RELEASING),
        (AttachmentState.DETACHING, True, EniState.DETACHING),
    ],
)
def test_an_enis_state_is_where_it_is_on_its_way(state: AttachmentState, *, draining: bool, written: EniState) -> None:
    plan = replace(PLAN, draining=frozenset([EniId("eni-1")] if draining else []))
    assert supply_of(eni(1, state), plan=plan).enis[0].state is written


def test_an_eni_that_is_not_attached_is_not_the_agents_to_know() -> None:
    assert supply_of(replace(eni(1), attachment=None)).enis == []


def test_an_unmanaged_eni_shows_without_addresses() -> None:
    supply = supply_of(eni(1, addresses=("10.0.1.9",), tags={"node.k8s.amazonaws.com/no_manage": "true"}))
    assert (supply.enis[0].role, supply.enis[0].addresses, supply.totals.addresses) == (EniRole.UNMANAGED, [], 0)


def test_an_excluded_eni_says_why_and_a_candidate_how_much_it_has() -> None:
    supply = supply_of(eni(0), excluded={EniId("eni-0"): "custom networking"})
    assert supply.enis[0].excluded == "custom networking"
    [subnet] = supply.subnets
    assert (subnet.id, subnet.free, subnet.exhausted_until, subnet.fragmented_until) == (SUBNET, 200, THEN, None)


def test_ipv6_prefixes_are_written_with_the_subnets_block() -> None:
    [written] = supply_of(eni(0, ipv6_prefixes=("fd00:1::/80",))).enis
    assert (written.subnet_ipv6_cidr, written.ipv6_prefixes) == ("fd00:1::/64", ["fd00:1::/80"])


def test_handshakes_are_written_and_read_back_alike() -> None:
    releasing = {EniId("eni-1"): (Handover("10.0.1.9/32", "t1"),)}
    plan = replace(PLAN, releasing=releasing, draining=frozenset([EniId("eni-1")]))
    found = worlds.handshakes(supply_of(eni(1, addresses=("10.0.1.9",)), plan=plan))
    assert (found.releasing, found.draining) == (releasing, plan.draining)


def test_the_policy_is_written_with_the_origin_of_each_value_that_is_set() -> None:
    written = {name: (value.value, value.origin) for name, value in supply_of().policy.items()}
    assert written == {
        "mode": ("secondary", "default"),
        "warmIPs": (2, "pool"),
        "cooldownSeconds": (30, "environment"),
    }


def verdict(*, ok: bool, reason: Reason = Reason.GROWING) -> Verdict:
    return Verdict(ConditionType.SUFFICIENT, ok, reason, "because")


def test_the_transition_time_moves_with_the_status_only() -> None:
    later = THEN + timedelta(hours=1)
    first = status.conditions([verdict(ok=True)], [], THEN)
    same = status.conditions([verdict(ok=True, reason=Reason.ADDRESSES_AVAILABLE)], first, later)
    other = status.conditions([verdict(ok=False)], same, later)
    assert [c[0].last_transition_time for c in (first, same, other)] == [THEN, THEN, later]


def condition(type_: ConditionType, *, ok: bool, reason: Reason) -> Condition:
    state = ConditionStatus.TRUE if ok else ConditionStatus.FALSE
    return Condition(type=type_, status=state, reason=reason, message="m", last_transition_time=THEN)


def test_an_event_tells_of_a_problem_once_and_of_its_end() -> None:
    fine = [condition(ConditionType.SUFFICIENT, ok=True, reason=Reason.GROWING)]
    bad = [
        condition(ConditionType.SUFFICIENT, ok=False, reason=Reason.SUBNET_FULL),
        condition(ConditionType.SUBNET_EXHAUSTED, ok=True, reason=Reason.SUBNET_FULL),
    ]
    assert [(n.reason, n.warning) for n in notices(fine, bad)] == [("SubnetFull", True)]
    assert notices(bad, bad) == []
    assert [(n.reason, n.warning) for n in notices(bad, fine)] == [("Growing", False)]
    assert notices([], fine) == []


def test_vpc_cnis_event_comes_once_while_access_is_denied() -> None:
    fine = [condition(ConditionType.ACCESS_DENIED, ok=False, reason=Reason.NOT_AFFECTED)]
    denied = [condition(ConditionType.ACCESS_DENIED, ok=True, reason=Reason.ACCESS_DENIED)]
    assert [notice.reason for notice in missing_permissions(fine, denied)] == [MISSING_PERMISSIONS]
    assert missing_permissions(denied, denied) == []
    expired = [condition(ConditionType.ACCESS_DENIED, ok=True, reason=Reason.CREDENTIALS_EXPIRED)]
    assert missing_permissions(fine, expired) == []


def test_an_event_does_not_change_with_the_time_of_the_next_try() -> None:
    bad = condition(ConditionType.THROTTLED, ok=True, reason=Reason.THROTTLED)
    told = [notices([], [bad.replace(message=f"EC2 throttles{NEXT_TRY}{at}")]) for at in ("12:00", "12:05")]
    assert told[0] == told[1] != []


@pytest.mark.parametrize(
    ("provider_id", "instance"),
    [
        ("aws:///eu-west-1a/i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("aws:///i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("gce://x/y", None),
        ("", None),
    ],
)
def test_a_node_names_its_instance(provider_id: str, instance: str | None) -> None:
    assert instance_of({"spec": {"providerID": provider_id}}) == instance


class TestObserved:
    def node(self, **status_: object) -> dict[str, object]:
        return {"metadata": {"name": "node-a", "uid": "u"}, "spec": {}, "status": status_}

    def pool(self, **parts: object) -> dict[str, object]:
        return {"metadata": {"name": "node-a", "uid": "u"}, **parts}

    def test_a_heartbeat_of_the_kubelet_is_worth_nothing(self) -> None:
        observed = Observed("node-a")
        assert observed.take(NODES, None, self.node(capacity={"pods": "29"}))
        assert not observed.take(NODES, "MODIFIED", self.node(capacity={"pods": "29"}, conditions=[1]))
        assert observed.take(NODES, "MODIFIED", self.node(capacity={"pods": "58"}))

    def test_our_own_writing_is_worth_nothing_and_usage_is(self) -> None:
        observed = Observed("node-a")
        assert observed.take(POOLS, None, self.pool())
        assert not observed.take(POOLS, "MODIFIED", self.pool(status={"supply": {"wanted": 3}}))
        assert observed.take(POOLS, "MODIFIED", self.pool(status={"usage": {"pending": 1, "reportedAt": "1"}}))
        assert not observed.take(POOLS, "MODIFIED", self.pool(status={"usage": {"pending": 1, "reportedAt": "2"}}))

    def test_a_first_report_counts_though_it_says_nothing(self) -> None:
        observed = Observed("node-a")
        observed.take(POOLS, None, self.pool())
        assert observed.take(POOLS, "MODIFIED", self.pool(status={"usage": {}}))

    def test_other_nodes_objects_are_ignored(self) -> None:
        observed = Observed("node-b")
        assert not observed.take(NODES, None, self.node())
        assert observed.node is None

    def test_a_deleted_object_is_forgotten(self) -> None:
        observed = Observed("node-a")
        observed.take(ENICONFIGS, None, {"metadata": {"name": "x"}})
        assert observed.take(ENICONFIGS, DELETED, {"metadata": {"name": "x"}})
        assert not observed.eniconfigs
        observed.take(POOLS, None, self.pool())
        assert observed.take(POOLS, DELETED, self.pool())
        assert observed.pool is None
