"""Short ways to write a world for the planner's tables."""

from typing import Any

from eni_crds.nodeippool import NodeIPPoolSpec, PolicySpec
from eni_operator.domain.eni import Eni
from eni_operator.domain.policy import EnvironmentPolicy, Policy
from eni_operator.domain.pool import Usage, World
from eni_operator.planning import precedence
from eni_testing.pool_simulation import GROUP, SUBNET, attached, instance_of


def policy_of(*, paused: bool = False, **fields: Any) -> Policy:
    """Returns the policy in force when the pool's spec sets these fields (camelCase) and nothing else is set."""
    spec = NodeIPPoolSpec(policy=PolicySpec.model_validate(fields), paused=paused)
    return precedence.resolve(spec, None, EnvironmentPolicy())


def world_of(type_: str, *enis: Eni, usage: Usage | None = None, **fields: Any) -> World:
    """Returns a world with these ENIs, or a bare primary; an agent has reported unless ``usage`` says otherwise."""
    instance = instance_of(type_)
    subnet = fields.pop("subnet", SUBNET)
    return World(
        instance=instance,
        subnets={subnet.id: subnet},
        candidates=(subnet.id,),
        enis=enis or (attached(instance, 0),),
        usage=Usage(reported=True) if usage is None else usage,
        security_groups=(GROUP,),
        **fields,
    )
