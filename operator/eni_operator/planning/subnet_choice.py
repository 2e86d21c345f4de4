"""Which subnet is asked next: what each is believed to have free, which refuse, and the order of ``subnetPolicy``.

Decides among the candidates of a world; which subnets are candidates is ``sourcing``'s, and on which ENI addresses go
is ``placement``'s. Free counts are from EC2's last answer, so they choose and apportion but never forbid: only a
refusal does, until its back-off ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from eni_crds.eniconfig import SubnetPolicy
from eni_crds.nodeippool import Family
from eni_operator.domain.eni import SubnetId
from eni_operator.domain.instance import ReservationKind, Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World


def gives(world: World, subnet_id: SubnetId, grain_size: int, now: float) -> bool:
    """Tells whether a subnet may be asked for a slot's worth; one that is not known has refused nothing."""
    subnet = world.subnets.get(subnet_id)
    return subnet is None or refused_until(subnet, grain_size) <= now


def refused_until(subnet: Subnet, grain_size: int) -> float:
    """Returns from which instant on a subnet may be asked for a slot's worth."""
    return max(subnet.exhausted_until, subnet.fragmented_until) if grain_size > 1 else subnet.exhausted_until


def free(subnet: Subnet, grain_size: int) -> int:
    """Returns the addresses a subnet has for slots of this size: a lower bound.

    Single addresses never come from a reservation, prefixes never from an explicit one; how much of a reservation is
    in use already EC2 does not tell (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html).
    """
    aside = (
        IPv4Network(reservation.cidr).num_addresses
        for reservation in subnet.reservations or ()
        if ":" not in reservation.cidr and (grain_size == 1 or reservation.kind is ReservationKind.EXPLICIT)
    )
    return max(0, subnet.free_addresses - sum(aside))


def candidates(world: World, policy: Policy) -> tuple[Subnet, ...]:
    """Returns where new ENIs may go, as listed: under IPv6 those with an IPv6 block, unless IPv4 can do with others."""
    listed = tuple(world.subnets[subnet_id] for subnet_id in world.candidates if subnet_id in world.subnets)
    if Family.IPV6 not in policy.families:
        return listed
    with_ipv6 = tuple(subnet for subnet in listed if subnet.ipv6_cidr)
    return with_ipv6 if with_ipv6 or Family.IPV4 not in policy.families else listed


def ordered(world: World) -> tuple[Subnet, ...]:
    """Returns the candidates for single addresses, the one asked first at the front, whether or not it refuses now."""
    listed = tuple(world.subnets[subnet_id] for subnet_id in world.candidates if subnet_id in world.subnets)
    if world.subnet_policy is SubnetPolicy.ORDERED:
        return listed
    is_packed = world.subnet_policy is SubnetPolicy.PACKED
    return tuple(sorted(listed, key=lambda subnet: free(subnet, 1) if is_packed else -free(subnet, 1)))


@dataclass(frozen=True, slots=True)
class Offers:
    """What subnets are believed to give while a plan is made; each step of the plan takes from it."""

    grain_size: int
    policy: SubnetPolicy
    candidates: tuple[Subnet, ...]
    """Those that may be asked, as listed."""
    open_to: Mapping[SubnetId, int]
    """Free addresses of every subnet that may be asked."""
    refusing: frozenset[SubnetId]
    spent: frozenset[SubnetId] = frozenset()
    """Subnets this plan has asked something of already."""

    def slots(self, subnet_id: SubnetId, asked: int, *, besides: int = 0) -> int:
        """Returns how many slots to ask of a subnet, ``besides`` single addresses for ENIs themselves.

        What is more than it has is left to other subnets; one that had nothing when last asked is asked for all.
        """
        if subnet_id in self.refusing:
            return 0
        known = self.open_to.get(subnet_id)
        if known is None:
            return asked
        fits = max(0, (known - besides) // self.grain_size)
        return min(asked, fits) if fits or subnet_id in self.spent else asked

    def taking(self, subnet_id: SubnetId, addresses: int) -> "Offers":
        """Returns what is left after so many addresses of a subnet were asked for."""
        left = {**self.open_to, subnet_id: max(0, self.open_to.get(subnet_id, 0) - addresses)}
        return replace(
            self, open_to=left if subnet_id in self.open_to else self.open_to, spent=self.spent | {subnet_id}
        )

    def best(self, slots: int, *, least: int = 0) -> SubnetId | None:
        """Returns the subnet for an ENI with so many slots to fill; None where none may be asked.

        Args:
            slots: what is to be filled; zero for a bare ENI.
            least: free addresses it must have, whatever the policy says.
        """
        enough = self._having(max(least, 1 + slots * self.grain_size))
        some = self._having(max(least, 1 + min(1, slots) * self.grain_size))
        if some:
            return self._first(some, enough).id
        untouched = tuple(subnet for subnet in self.candidates if subnet.id not in self.spent)
        return self._first(untouched, ()).id if untouched and not least else None

    def _having(self, addresses: int) -> tuple[Subnet, ...]:
        return tuple(subnet for subnet in self.candidates if self.open_to[subnet.id] >= addresses)

    def _first(self, subnets: tuple[Subnet, ...], enough: tuple[Subnet, ...]) -> Subnet:
        if self.policy is SubnetPolicy.ORDERED:  # an ENI that cannot be filled wastes its place on the instance
            return (enough or subnets)[0]
        if self.policy is SubnetPolicy.PACKED and enough:
            return min(enough, key=lambda subnet: self.open_to[subnet.id])
        return max(subnets, key=lambda subnet: (self._has_reserved_prefixes(subnet), self.open_to[subnet.id]))

    def _has_reserved_prefixes(self, subnet: Subnet) -> bool:
        kinds = (reservation.kind for reservation in subnet.reservations or ())
        return self.grain_size > 1 and ReservationKind.PREFIX in kinds


def offers(world: World, policy: Policy, grain_size: int, now: float) -> Offers:
    """Returns what the subnets of a world are believed to give now."""
    refusing = frozenset(s for s in world.subnets if not gives(world, s, grain_size, now))
    return Offers(
        grain_size=grain_size,
        policy=world.subnet_policy,
        candidates=tuple(subnet for subnet in candidates(world, policy) if subnet.id not in refusing),
        open_to={s.id: free(s, grain_size) for s in world.subnets.values() if s.id not in refusing},
        refusing=refusing,
    )
