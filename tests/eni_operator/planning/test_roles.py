"""What an interface of the instance is to us, and what is done with those that are not ours. On a c5.xlarge."""

from dataclasses import replace

import pytest

from eni_crds.names import TAG_INSTANCE, TAG_NO_MANAGE
from eni_crds.nodeippool import EniRole
from eni_operator.domain.actions import AssignAddresses, CreateEni
from eni_operator.domain.eni import Eni, InstanceId
from eni_operator.domain.pool import Usage
from eni_operator.planning.holdings import is_managed, role
from eni_operator.planning.plan import plan
from eni_testing.instances import attached, attachment_of, cidrs_of, instance_of
from eni_testing.worlds import policy_of, world_of

C5 = instance_of("c5.xlarge")
OURS, OTHERS = {TAG_INSTANCE: "i-1"}, {TAG_INSTANCE: "i-2"}
HANDS_OFF, HANDS_ON = {TAG_NO_MANAGE: "true"}, {TAG_NO_MANAGE: "false"}


def eni_of(type_: str = "interface", tags: dict[str, str] = OURS, index: int = 1, card: int = 0) -> Eni:
    return replace(attached(C5, index, tags=tags, card=card), interface_type=type_)


@pytest.mark.parametrize(
    ("eni", "expected", "untagged"),
    [
        (eni_of(index=0, tags=HANDS_OFF), EniRole.PRIMARY, EniRole.PRIMARY),
        (eni_of("efa", index=0), EniRole.PRIMARY, EniRole.PRIMARY),
        (eni_of(), EniRole.SECONDARY, EniRole.SECONDARY),
        (eni_of(tags={}), EniRole.SECONDARY, EniRole.UNMANAGED),
        (eni_of(tags=OTHERS), EniRole.SECONDARY, EniRole.UNMANAGED),
        (eni_of(tags=HANDS_OFF | OURS), EniRole.UNMANAGED, EniRole.UNMANAGED),
        (eni_of(tags=HANDS_ON), EniRole.SECONDARY, EniRole.SECONDARY),
        (eni_of("efa", tags={}), EniRole.EFA, EniRole.UNMANAGED),
        (eni_of("efa"), EniRole.EFA, EniRole.EFA),
        (eni_of("efa-only"), EniRole.EFA_ONLY, EniRole.EFA_ONLY),
        (eni_of("trunk", tags={}), EniRole.TRUNK, EniRole.TRUNK),
        (eni_of("branch"), EniRole.UNMANAGED, EniRole.UNMANAGED),
        (eni_of(card=1, index=0), EniRole.UNMANAGED, EniRole.UNMANAGED),
        (replace(eni_of(), attachment=None), EniRole.UNMANAGED, EniRole.UNMANAGED),
        (
            replace(eni_of(), attachment=replace(attachment_of(C5, 1), instance_id=InstanceId("i-2"))),
            EniRole.UNMANAGED,
            EniRole.UNMANAGED,
        ),
    ],
)
def test_the_role_of_an_eni(eni: Eni, expected: EniRole, untagged: EniRole) -> None:
    world = world_of("c5.xlarge")
    assert role(eni, world) is expected
    assert role(eni, replace(world, manage_untagged=False)) is untagged
    assert is_managed(eni, world) == (expected in ("primary", "secondary", "efa"))


def test_an_efa_serves_pods_and_is_never_taken_off() -> None:
    efa = replace(eni_of("efa"), addresses=("10.0.1.10",))
    full = attached(C5, 0, addresses=14)
    policy = policy_of(warmIPs=0, releaseAfterSeconds=0)
    needed = world_of("c5.xlarge", full, efa, usage=Usage(assigned=15, pending=2, reported=True))
    assert plan(needed, policy, 0.0, "nonce").actions == (AssignAddresses(efa.id, 2),)
    idle = world_of("c5.xlarge", full, efa, usage=Usage(assigned=14, reported=True, idle=cidrs_of(efa)))
    surplus = plan(idle, policy, 0.0, "nonce")
    assert (set(surplus.releasing), surplus.draining) == ({efa.id}, frozenset())


@pytest.mark.parametrize("type_", ["efa-only", "trunk", "branch"])
def test_an_interface_that_serves_no_pods_takes_a_place_and_is_left_alone(type_: str) -> None:
    other = replace(eni_of(type_), addresses=("10.0.1.10",))
    full = attached(C5, 0, addresses=14)
    world = world_of("c5.xlarge", full, other, usage=Usage(assigned=14, pending=99, reported=True))
    decision = plan(world, policy_of(warmIPs=0), 0.0, "nonce")
    assert [a.device_index for a in decision.actions if isinstance(a, CreateEni)] == [2, 3]
    assert (decision.wanted, decision.maximum_pods) == (42, 44)
    idle = world_of("c5.xlarge", full, other, usage=Usage(assigned=14, reported=True, idle=cidrs_of(other)))
    assert plan(idle, policy_of(warmIPs=0, releaseAfterSeconds=0), 0.0, "nonce").actions == ()
