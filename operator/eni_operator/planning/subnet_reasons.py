"""What subnets refuse, in verdicts and sentences that name each subnet, its free addresses and the next try.

Decides SubnetExhausted and PrefixFragmented, and whether a refusal is what keeps a pool short: it is not while
anything else gives. Counterparts: ``subnet_choice`` acts on the same refusals, ``reasons`` makes the other verdicts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import Family
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.domain.reasons import Verdict
from eni_operator.planning import ipv6, subnet_choice
from eni_operator.planning.card_plan import CardPlan


def refusals(world: World, parts: Iterable[CardPlan], now: float) -> tuple[Verdict, Verdict]:
    """Returns SubnetExhausted and PrefixFragmented: true when a subnet the pool draws from has refused lately."""
    subnets = _drawn_from(world, parts)
    return _EXHAUSTED.verdict(subnets, now), _FRAGMENTED.verdict(subnets, now)


def hindrance(part: CardPlan, now: float) -> Reason | None:
    """Returns which refusal keeps a card's pool from growing; None while any place gives, or where none refuses."""
    places = frozenset(_places(part))
    refused = [part.world.subnets[place] for place in places if place in part.offers.refusing]
    if not refused or len(refused) < len(places):
        return None
    is_exhausted = any(now < subnet.exhausted_until for subnet in refused)
    return Reason.SUBNET_FULL if is_exhausted else Reason.NO_FREE_PREFIX


def without_ipv6(world: World, policy: Policy, now: float) -> str | None:
    """Returns the sentence on subnets whose ENIs get no /80 under IPv6; None where all do."""
    if not ipv6.is_served(policy, world):
        return None
    lacking = ipv6.lacking(world, policy, now)
    if lacking:
        return _listed(_no_ipv6(subnet) for subnet in lacking)
    if Family.IPV4 in policy.families or ipv6.has_any(world) or subnet_choice.candidates(world, policy):
        return None
    return f"none of the subnets for new ENIs has an IPv6 block: {', '.join(world.candidates) or 'there is no subnet'}"


def clock_time(instant: float) -> str:
    """Returns an instant as people and Kubernetes write it."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def yes(type_: ConditionType, reason: Reason, message: str) -> Verdict:
    """Returns a condition that is true."""
    return Verdict(type_, status=True, reason=reason, message=message)


def no(type_: ConditionType, reason: Reason, message: str) -> Verdict:
    """Returns a condition that is false for a reason."""
    return Verdict(type_, status=False, reason=reason, message=message)


def not_affected(type_: ConditionType, message: str) -> Verdict:
    """Returns a condition of trouble that is false, as it should be."""
    return no(type_, Reason.NOT_AFFECTED, message)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What one error of EC2 means for a subnet."""

    type: ConditionType
    reason: Reason
    gives: str
    """What the subnet gives without it."""
    until: Callable[[Subnet], float]
    refused: Callable[[Subnet], str]
    besides: str = ""

    def verdict(self, subnets: tuple[Subnet, ...], now: float) -> Verdict:
        """Returns the condition for these subnets; the next try is the earliest of theirs."""
        refusing = [subnet for subnet in subnets if now < self.until(subnet)]
        if not refusing:
            return not_affected(self.type, _all_give(subnets, self.gives))
        next_try = clock_time(min(self.until(subnet) for subnet in refusing))
        told = _listed(self.refused(subnet) for subnet in refusing)
        return yes(self.type, self.reason, f"{told}; next try at {next_try}{self.besides}")


_EXHAUSTED: Final = _Refusal(
    ConditionType.SUBNET_EXHAUSTED,
    Reason.SUBNET_FULL,
    gives="addresses",
    until=lambda subnet: subnet.exhausted_until,
    refused=lambda s: f"subnet {s.id} ({s.cidr}) refused an address, {s.free_addresses} free when last asked",
)
_FRAGMENTED: Final = _Refusal(
    ConditionType.PREFIX_FRAGMENTED,
    Reason.NO_FREE_PREFIX,
    gives="prefixes",
    until=lambda subnet: subnet.fragmented_until,
    refused=lambda s: (
        f"subnet {s.id} ({s.cidr}) has no whole /28 free, {s.free_addresses} addresses free when last asked"
    ),
    besides=", mode auto takes single addresses meanwhile",
)


def _all_give(subnets: tuple[Subnet, ...], what: str) -> str:
    names = ", ".join(subnet.id for subnet in subnets)
    if not names:
        return f"no subnet is asked for {what}"
    return f"subnet {names} gives {what}" if len(subnets) == 1 else f"subnets {names} give {what}"


def _no_ipv6(subnet: Subnet) -> str:
    if not subnet.ipv6_cidr:
        return f"subnet {subnet.id} ({subnet.cidr}) has no IPv6 block, so its ENIs get no IPv6 address"
    return f"subnet {subnet.id} ({subnet.ipv6_cidr}) refuses prefixes until {clock_time(subnet.fragmented_until)}"


def _listed(sentences: Iterable[str]) -> str:
    return ", and ".join(sentences)


def _drawn_from(world: World, parts: Iterable[CardPlan]) -> tuple[Subnet, ...]:
    """Returns the candidates as listed, then the subnets of ENIs that new addresses may go onto."""
    own = (holding.eni.subnet_id for part in parts for holding in part.held.usable)
    named = dict.fromkeys((*world.candidates, *own))
    return tuple(world.subnets[subnet_id] for subnet_id in named if subnet_id in world.subnets)


def _places(part: CardPlan) -> Iterator[SubnetId]:
    yield from (holding.eni.subnet_id for holding in part.held.usable if holding.slots_free)
    if part.room:
        yield from (subnet.id for subnet in subnet_choice.candidates(part.world, part.policy))
