"""Short ways to write a world for the planner's tables."""

from typing import Any

from eni_crds.nodeippool import Family, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.eni import Eni
from eni_operator.domain.policy import EnvironmentPolicy, Policy
from eni_operator.domain.pool import Usage, World
from eni_operator.planning import precedence
from eni_testing.instances import GROUP, SUBNET, attached, instance_of


def policy_of(*, paused: bool = False, **fields: Any) -> Policy:
    """Returns the policy in force when the pool's spec sets these fields (camelCase) and nothing else is set.

    ``families`` is the spec's own, all others are of ``spec.policy``.
    """
    families: list[Family] | None = fields.pop("families", None)
    spec = NodeIPPoolSpec(policy=PolicySpec.parse(fields), paused=paused, families=families)
    return precedence.resolve(spec, None, EnvironmentPolicy())


def world_of(type_: str, *enis: Eni, usage: Usage | None = None, **fields: Any) -> World:
    """Returns a world with these ENIs, or a bare primary; an agent has reported unless ``usage`` says otherwise.

    ``subnets`` are the candidates too unless ``candidates`` says otherwise.
    """
    instance = fields.pop("instance", instance_of(type_))
    subnets = fields.pop("subnets", (fields.pop("subnet", SUBNET),))
    return World(
        instance=instance,
        subnets={subnet.id: subnet for subnet in subnets},
        candidates=fields.pop("candidates", tuple(subnet.id for subnet in subnets)),
        enis=enis or (attached(instance, 0),),
        usage=Usage(reported=True) if usage is None else usage,
        security_groups=(GROUP,),
        **fields,
    )
