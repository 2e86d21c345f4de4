"""Where new ENIs come from: VPC CNI's rules for subnets by tag, custom networking, and our lists of subnets."""

from dataclasses import replace
from typing import Any

import pytest

from eni_crds.conditions import Reason
from eni_crds.eniconfig import ENIConfigSpec, SubnetPolicy
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Subnet
from eni_operator.planning import sourcing
from eni_operator.planning.sourcing import Choice, Question, Rules, Source
from eni_testing.instances import attached, instance_of

M5 = instance_of("m5.large")
OWN = Subnet(M5.subnet_id, M5.zone, "10.0.0.0/24", 200, vpc_id=M5.vpc_id)
POD = Subnet(SubnetId("subnet-00000000000000001"), M5.zone, "10.0.1.0/24", 100, vpc_id=M5.vpc_id)
SPARE = Subnet(SubnetId("subnet-00000000000000002"), M5.zone, "10.0.2.0/24", 100, vpc_id=M5.vpc_id)
FAR = Subnet(SubnetId("subnet-00000000000000003"), "elsewhere-1b", "10.0.3.0/24", 100, vpc_id=M5.vpc_id)
ROLE = "kubernetes.io/role/cni"
OURS, THEIRS = "cni.networking.k8s.aws/cluster/ours", "cni.networking.k8s.aws/cluster/theirs"
CUSTOM = Rules(custom_networking=True)


def config(**spec: Any) -> Choice:
    return Choice("pods", "a label", ENIConfigSpec.parse(spec))


def asked(rules: Rules, choice: Choice | None, *found: Subnet) -> Source:
    primary = attached(M5, 0)
    return sourcing.source(rules, choice, M5, found, (primary,), {s.id: s for s in found})


@pytest.mark.parametrize(
    ("tags", "is_primarys", "used"),
    [
        ({ROLE: "0"}, True, False),
        ({ROLE: "0"}, False, False),
        ({ROLE: "1"}, True, True),
        ({ROLE: "1"}, False, True),
        ({ROLE: "true"}, False, True),
        ({ROLE: ""}, True, True),
        ({ROLE: ""}, False, False),
        ({}, True, True),
        ({}, False, False),
        ({"kubernetes.io/cluster/theirs": "owned"}, True, True),
        ({"kubernetes.io/cluster/ours": "owned"}, False, False),
    ],
)
def test_a_subnets_tag_says_whether_it_is_used(tags: dict[str, str], *, is_primarys: bool, used: bool) -> None:
    subnet = replace(OWN if is_primarys else POD, tags=tags)
    source = asked(Rules(), None, subnet)
    assert source.candidates == ((subnet.id,) if used else ())
    assert (source.obstacle is None) == used


@pytest.mark.parametrize(
    ("cluster", "tags", "used"),
    [
        ("", {THEIRS: "1"}, True),
        ("ours", {}, True),
        ("ours", {THEIRS: "1"}, False),
        ("ours", {THEIRS: "1", OURS: "1"}, True),
    ],
)
def test_a_subnet_of_another_cluster_is_left_alone(cluster: str, tags: dict[str, str], *, used: bool) -> None:
    source = asked(Rules(cluster_name=cluster), None, replace(POD, tags={ROLE: "1", **tags}))
    assert bool(source.candidates) == used


def test_where_no_subnet_may_be_used_the_reason_names_tag_and_zone() -> None:
    obstacle = asked(Rules(), None, replace(OWN, tags={ROLE: "0"})).obstacle
    assert obstacle is not None
    assert obstacle.reason is Reason.NO_SUBNET
    assert ROLE in obstacle.message
    assert M5.zone in obstacle.message


def test_without_discovery_only_the_primarys_subnet_is_asked_for_and_used_unless_tagged_out() -> None:
    rules = Rules(subnet_discovery=False)
    assert sourcing.question(rules, None, M5) == Question(ids=(M5.subnet_id,))
    assert asked(rules, None, OWN).candidates == (OWN.id,)
    assert asked(rules, None, replace(OWN, tags={ROLE: "0"})).candidates == ()


@pytest.mark.parametrize(
    ("tags", "cluster", "excluded"),
    [({}, "", False), ({ROLE: "0"}, "", True), ({ROLE: "1"}, "ours", False), ({ROLE: "1", THEIRS: "1"}, "ours", True)],
)
def test_pods_leave_enis_in_a_subnet_that_is_tagged_out(tags: dict[str, str], cluster: str, *, excluded: bool) -> None:
    source = asked(Rules(cluster_name=cluster), None, replace(OWN, tags=tags))
    assert bool(source.excluded) == excluded


def test_an_eni_in_a_subnet_nobody_listed_is_not_excluded() -> None:
    assert asked(Rules(), None, POD).excluded == {}


def test_custom_networking_takes_subnet_and_groups_from_the_eniconfig_and_leaves_the_primary() -> None:
    source = asked(CUSTOM, config(subnet=POD.id, securityGroups=["sg-0000000a"]), POD)
    assert source.candidates == (POD.id,)
    assert source.security_groups == ("sg-0000000a",)
    assert source.groups_follow
    assert list(source.excluded.values()) == [sourcing.PRIMARY_EXCLUDED]


def test_under_custom_networking_the_primarys_groups_are_taken_once_and_not_followed() -> None:
    source = asked(CUSTOM, config(subnet=POD.id), POD)
    assert (source.security_groups, source.groups_follow) == (M5.security_groups, False)


def test_without_custom_networking_an_eniconfig_of_vpc_cni_moves_nothing() -> None:
    choice = config(subnet=POD.id, securityGroups=["sg-0000000a"])
    assert sourcing.question(Rules(), choice, M5) == Question(zone=M5.zone)
    source = asked(Rules(), choice, OWN)
    assert (source.candidates, source.security_groups, source.excluded) == ((OWN.id,), M5.security_groups, {})
    assert source.groups_follow


def test_listed_subnets_count_without_custom_networking_and_the_primary_goes_on_serving() -> None:
    choice = config(subnets={"ids": [SPARE.id, POD.id]}, subnetPolicy="ordered")
    assert sourcing.question(Rules(), choice, M5) == Question(ids=(SPARE.id, POD.id))
    source = asked(Rules(), choice, POD, SPARE)
    assert source.candidates == (SPARE.id, POD.id)
    assert source.subnet_policy is SubnetPolicy.ORDERED
    assert source.excluded == {}


def test_subnets_by_tag_are_asked_for_in_the_nodes_zone() -> None:
    choice = config(subnets={"tags": {"for": "pods"}})
    assert sourcing.question(CUSTOM, choice, M5) == Question(zone=M5.zone, tags={"for": "pods"})
    assert asked(CUSTOM, choice, POD, SPARE).candidates == (POD.id, SPARE.id)


OBSTACLES = [
    pytest.param(None, (), Reason.ENICONFIG_MISSING, "no ENIConfig is named", id="nothing is named"),
    pytest.param(
        Choice("gone", "a label", None, "does not exist"),
        (),
        Reason.ENICONFIG_MISSING,
        "'gone', named by a label, does not exist",
        id="it is missing",
    ),
    pytest.param(
        Choice("odd", "a label", None, "cannot be read: subnet", is_unreadable=True),
        (),
        Reason.ENICONFIG_INVALID,
        "cannot be read",
        id="it cannot be read",
    ),
    pytest.param(config(), (), Reason.ENICONFIG_INVALID, "set spec.subnet", id="it names no subnet"),
    pytest.param(config(subnet=POD.id), (), Reason.UNKNOWN_SUBNET, POD.id, id="an unknown subnet"),
    pytest.param(
        config(subnet=POD.id),
        (replace(POD, vpc_id="vpc-else"),),
        Reason.UNKNOWN_SUBNET,
        M5.vpc_id,
        id="a subnet of another VPC",
    ),
    pytest.param(config(subnet=FAR.id), (FAR,), Reason.WRONG_ZONE, "elsewhere-1b", id="a subnet in another zone"),
    pytest.param(
        config(subnets={"zones": ["elsewhere-1b"]}), (), Reason.WRONG_ZONE, "elsewhere-1b only", id="other zones"
    ),
    pytest.param(config(subnets={"tags": {"for": "x"}}), (), Reason.NO_SUBNET, "selects no subnet", id="no such tag"),
]


@pytest.mark.parametrize(("choice", "found", "reason", "words"), OBSTACLES)
def test_what_keeps_custom_networking_from_any_subnet_is_said(
    choice: Choice | None, found: tuple[Subnet, ...], reason: Reason, words: str
) -> None:
    source = asked(CUSTOM, choice, *found)
    assert source.candidates == ()
    assert source.obstacle is not None
    assert source.obstacle.reason is reason
    assert words in source.obstacle.message


def test_one_unknown_subnet_of_several_is_said_and_the_others_serve() -> None:
    source = asked(CUSTOM, config(subnets={"ids": [POD.id, SPARE.id]}), SPARE)
    assert source.candidates == (SPARE.id,)
    assert source.obstacle is not None
    assert POD.id in source.obstacle.message


def test_a_missing_eniconfig_matters_without_custom_networking_only_where_the_pool_itself_names_it() -> None:
    named = Choice("gone", "a label", None, "does not exist")
    assert asked(Rules(), named, OWN).obstacle is None
    insisted = asked(Rules(), replace(named, is_insisted_on=True), OWN)
    assert insisted.candidates == (OWN.id,)
    assert insisted.obstacle is not None


def test_enis_of_a_former_eniconfig_are_told_from_those_of_the_present_one() -> None:
    old, new = replace(attached(M5, 1), subnet_id=SPARE.id), replace(attached(M5, 2), subnet_id=POD.id)
    source = asked(CUSTOM, config(subnet=POD.id), POD)
    everything = frozenset((old.id, new.id))
    assert list(sourcing.replaced("pods", source, (old, new), ours=everything)) == [old.id]
    assert sourcing.replaced("pods", source, (old, new), ours=frozenset()) == {}


def test_nothing_is_drained_while_the_present_eniconfig_is_in_doubt() -> None:
    old = replace(attached(M5, 1), subnet_id=SPARE.id)
    source = asked(CUSTOM, config(subnet=POD.id))
    assert sourcing.replaced("pods", source, (old,), ours=frozenset((old.id,))) == {}
