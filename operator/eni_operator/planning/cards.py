"""Network cards: every managed card is a pool of its own, planned as if the instance had no other.

Decides which cards are planned and what of the world and of the policy each sees. What a card's pool then does is
``card_plan``'s, and ``plan`` adds the cards up. VPC CNI: ENABLE_MULTI_NIC.
"""

from collections.abc import Iterator
from dataclasses import replace

from eni_crds.nodeippool import EniRole
from eni_operator.domain.eni import EniId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import CardUsage, Usage, World
from eni_operator.planning.holdings import is_managed, role


def planned(world: World) -> Iterator[int]:
    """Yields the cards to plan, card 0 first.

    A card that carries an efa-only ENI and no other that pods may use is left alone, as with VPC CNI.
    """
    yield 0
    for card in sorted(set(world.cards) - {0}):
        here = [eni for eni in world.enis if eni.attachment is not None and eni.network_card == card]
        is_efa_only = any(role(eni, world) is EniRole.EFA_ONLY for eni in here)
        if world.instance.limits.enis_on(card) and (any(is_managed(e, world) for e in here) or not is_efa_only):
            yield card


def world_of(card: int, world: World, adopted: frozenset[EniId]) -> World:
    """Returns what one card's pool sees: its own ENIs, limits and usage, and what is left of the unattached ENIs.

    Args:
        card: the network card.
        world: the whole world.
        adopted: unattached ENIs that another card has taken.
    """
    limits = replace(world.instance.limits, enis=world.instance.limits.enis_on(card), cards=())
    return replace(
        world,
        instance=replace(world.instance, limits=limits),
        enis=tuple(
            eni
            for eni in world.enis
            if (eni.network_card == card if eni.attachment is not None else eni.id not in adopted)
        ),
        usage=_usage_of(card, world.usage),
    )


def policy_of(card: int, policy: Policy, elsewhere: int) -> Policy:
    """Returns what is asked of one card: above card 0 always one warm address, as with VPC CNI.

    Args:
        card: the network card.
        policy: the policy in force.
        elsewhere: addresses on the other cards, for which ``maximumIPs`` counts too.
    """
    ceiling = None if policy.maximum_ips is None else max(0, policy.maximum_ips - elsewhere)
    if card == 0:
        return replace(policy, maximum_ips=ceiling)
    return replace(policy, maximum_ips=ceiling, warm_ips=1, minimum_ips=1)


def _usage_of(card: int, usage: Usage) -> Usage:
    """Every pod that waits wants an address of card 0; the agent says which want one of the others too."""
    if card:
        own = usage.cards.get(card, CardUsage())
        return replace(usage, assigned=own.assigned, cooling=own.cooling, pending=own.pending, free=0)
    others = usage.cards.values()
    return replace(
        usage,
        assigned=max(0, usage.assigned - sum(other.assigned for other in others)),
        cooling=max(0, usage.cooling - sum(other.cooling for other in others)),
    )
