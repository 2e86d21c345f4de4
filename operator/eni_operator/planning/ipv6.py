"""IPv6: one /80 on every ENI that pods may use, and no more, for no node outgrows it.

Decides which ENI gets one and which cannot. There is nothing to release: a /80 stays as long as its ENI
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html). The IPv4 law is ``capacity``'s.
"""

from collections.abc import Iterator

from eni_crds.nodeippool import Family
from eni_operator.domain.actions import AssignIpv6Prefix
from eni_operator.domain.eni import Eni, SubnetId
from eni_operator.domain.instance import Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning.holdings import is_managed


def is_served(policy: Policy, world: World) -> bool:
    """Tells whether pods get IPv6 addresses here: prefixes need a Nitro instance."""
    return Family.IPV6 in policy.families and world.instance.limits.prefixes


def takes_ipv6(world: World, policy: Policy, subnet_id: SubnetId) -> bool:
    """Tells whether a new ENI in this subnet is created with a /80."""
    subnet = world.subnets.get(subnet_id)
    return is_served(policy, world) and subnet is not None and bool(subnet.ipv6_cidr)


def assignments(world: World, policy: Policy, now: float) -> Iterator[AssignIpv6Prefix]:
    """Yields the /80s that are missing and can be had."""
    for eni in _without(world, policy):
        subnet = world.subnets.get(eni.subnet_id)
        if subnet is not None and _gives(subnet, now):
            yield AssignIpv6Prefix(eni.id)


def lacking(world: World, policy: Policy, now: float) -> tuple[Subnet, ...]:
    """Returns the subnets whose ENIs have no /80 and can get none now."""
    own = {eni.subnet_id: world.subnets.get(eni.subnet_id) for eni in _without(world, policy)}
    return tuple(subnet for subnet in own.values() if subnet is not None and not _gives(subnet, now))


def has_any(world: World) -> bool:
    """Tells whether pods can get an IPv6 address now."""
    return any(_is_open(eni, world) and eni.ipv6_prefixes for eni in world.enis)


def _without(world: World, policy: Policy) -> Iterator[Eni]:
    if is_served(policy, world):
        yield from (eni for eni in world.enis if _is_open(eni, world) and not eni.ipv6_prefixes)


def _is_open(eni: Eni, world: World) -> bool:
    is_leaving = eni.id in world.excluded or eni.id in world.draining
    return eni.is_attached and is_managed(eni, world) and not is_leaving


def _gives(subnet: Subnet, now: float) -> bool:
    return bool(subnet.ipv6_cidr) and now >= subnet.fragmented_until
