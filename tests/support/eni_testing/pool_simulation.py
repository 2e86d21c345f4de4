"""A pool in miniature around the real planner: EC2's part, the agent's part, and the shell's memory between plans.

Everything is in memory and in virtual time. The fakes refuse impossible worlds: more slots than the type has, a device
index twice, and above all an address taken from EC2 while the agent has it assigned, cooling or on offer. Subnets
refuse as EC2's do, and the shell leaves one that refused alone for a while.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from eni_crds.eniconfig import SubnetPolicy
from eni_crds.names import TAG_INSTANCE
from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignIpv6Prefix,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    EnsureDeleteOnTermination,
    RemoveEni,
    SetSecurityGroups,
    SetTags,
    Unassign,
)
from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    EniId,
    InstanceId,
    SecurityGroupId,
    SubnetId,
)
from eni_operator.domain.instance import Instance, InstanceLimits, Subnet
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import CardUsage, Handover, Usage, World
from eni_operator.planning.plan import Plan, plan

SUBNET = Subnet(SubnetId("subnet-1"), "eu-1a", "10.0.0.0/16", free_addresses=60000)
GROUP = SecurityGroupId("sg-1")
REST_SECONDS = 120.0
"""How long a subnet that refused is left alone."""

LIMITS: Mapping[str, tuple[InstanceLimits, int]] = {
    "t2.micro": (InstanceLimits(enis=2, addresses_per_eni=2, prefixes=False), 4),
    "t3.small": (InstanceLimits(enis=3, addresses_per_eni=4, prefixes=True), 110),
    "m5.large": (InstanceLimits(enis=3, addresses_per_eni=10, prefixes=True), 110),
    "c5.xlarge": (InstanceLimits(enis=4, addresses_per_eni=15, prefixes=True), 58),
    "p3dn.24xlarge": (InstanceLimits(enis=15, addresses_per_eni=50, prefixes=True), 737),
}
"""Limits of some types as DescribeInstanceTypes tells them, and the most pods of their nodes."""


def instance_of(type_: str) -> Instance:
    """Returns an instance of this type, named after it."""
    limits, pods = LIMITS[type_]
    return Instance(InstanceId("i-1"), type_, "eu-1a", "vpc-1", SUBNET.id, (GROUP,), limits, pods)


def attachment_of(
    instance: Instance, device_index: int, state: AttachmentState = AttachmentState.ATTACHED, *, card: int = 0
) -> Attachment:
    """Returns an attachment that dies with its instance."""
    return Attachment(
        id=AttachmentId(f"attach-{card}-{device_index}" if card else f"attach-{device_index}"),
        instance_id=instance.id,
        device_index=device_index,
        network_card=card,
        state=state,
        delete_on_termination=True,
    )


def attached(
    instance: Instance,
    device_index: int,
    *,
    addresses: int = 0,
    prefixes: int = 0,
    tags: Mapping[str, str] | None = None,
    subnet: Subnet = SUBNET,
    card: int = 0,
) -> Eni:
    """Returns an attached ENI of ours: addresses from 10.0.<index>.10 on, prefixes from 10.1.<index>.0 on.

    On other cards than 0 the second number is higher by ten for each.
    """
    net = 10 * card
    return Eni(
        id=EniId(f"eni-{card}-{device_index}" if card else f"eni-{device_index}"),
        mac=f"02:00:00:00:{card:02x}:{device_index:02x}",
        subnet_id=subnet.id,
        primary_ip=f"10.{net}.{device_index}.4",
        addresses=tuple(f"10.{net}.{device_index}.{10 + n}" for n in range(addresses)),
        prefixes=tuple(f"10.{net + 1}.{device_index}.{16 * n}/28" for n in range(prefixes)),
        attachment=attachment_of(instance, device_index, card=card),
        tags={TAG_INSTANCE: instance.id} if tags is None else tags,
    )


def cidrs_of(eni: Eni) -> tuple[str, ...]:
    """Returns what pods may have of an ENI."""
    return (*(f"{address}/32" for address in eni.addresses), *eni.prefixes)


class RefusedError(Exception):
    """EC2 has nothing to give in a subnet."""

    def __init__(self, subnet_id: SubnetId, *, prefix: bool) -> None:
        super().__init__(subnet_id)
        self.subnet_id = subnet_id
        self.prefix = prefix
        """InsufficientCidrBlocks; otherwise InsufficientFreeAddressesInSubnet."""


class FakeEc2:
    """The instance's ENIs; gives the lowest free address, so that one given back comes again at once."""

    def __init__(self, instance: Instance, subnets: tuple[Subnet, ...] = (SUBNET,)) -> None:
        self.instance = instance
        self.subnets = {subnet.id: subnet for subnet in subnets}
        """With what is free where nothing is assigned yet."""
        self.fragmented: set[SubnetId] = set()
        """Subnets that have no whole /28 left."""
        self.enis: dict[EniId, Eni] = {EniId("eni-0"): attached(instance, 0)}
        self.calls: list[str] = []
        self._made = 0

    def free_in(self, subnet_id: SubnetId) -> int:
        """Counts the free addresses of a subnet."""
        taken = sum(1 + eni.pod_addresses for eni in self.enis.values() if eni.subnet_id == subnet_id)
        return self.subnets[subnet_id].free_addresses - taken

    def perform(self, action: Action) -> None:
        """Performs one action in full; raises RefusedError where the subnet has nothing to give."""
        match action:
            case CreateEni():
                self.calls += ["Create", "Attach", "Modify"]
                self._create(action)
            case AttachEni(eni_id, device_index, card):
                self.calls.append("Attach")
                self._attach(eni_id, device_index, card)
            case AssignAddresses(eni_id, count):
                self.calls.append("Assign")
                self._fill(eni_id, addresses=count)
            case AssignPrefixes(eni_id, count):
                self.calls.append("Assign")
                self._fill(eni_id, prefixes=count)
            case Unassign(eni_id, addresses, prefixes):
                self.calls.append("Unassign")
                self._unassign(eni_id, addresses, prefixes)
            case RemoveEni(eni_id, _):
                self.calls += ["Detach", "Delete"]
                del self.enis[eni_id]
            case _:
                self.calls.append("Modify")
                self._modify(action)

    def _modify(self, action: Action) -> None:
        match action:
            case EnsureDeleteOnTermination(eni_id, _):
                self._ensure_delete_on_termination(eni_id)
            case SetTags(eni_id, tags):
                self.enis[eni_id] = replace(self.enis[eni_id], tags={**self.enis[eni_id].tags, **tags})
            case SetSecurityGroups(eni_id, groups):
                self.enis[eni_id] = replace(self.enis[eni_id], security_groups=groups)
            case AssignIpv6Prefix(eni_id):
                self._add_ipv6(eni_id, 1)

    def detach(self, eni_id: EniId) -> None:
        """Performs the first half of a removal."""
        self.enis[eni_id] = replace(self.enis[eni_id], attachment=None)

    def create_only(self, action: CreateEni) -> EniId:
        """Performs the first of a creation's calls."""
        self._refuse(action.subnet_id, 1 + action.addresses, action.prefixes)
        self._made += 1
        eni_id = EniId(f"eni-new-{self._made}")
        self.enis[eni_id] = Eni(
            id=eni_id,
            mac=f"02:00:00:00:01:{self._made % 256:02x}",
            subnet_id=action.subnet_id,
            primary_ip=f"10.200.{self._made // 200}.{self._made % 200 + 1}",
            tags={TAG_INSTANCE: self.instance.id},
            security_groups=action.security_groups,
        )
        self._add_ipv6(eni_id, action.ipv6_prefixes)
        self._fill(eni_id, addresses=action.addresses, prefixes=action.prefixes)
        return eni_id

    def holds(self, address: IPv4Address) -> bool:
        """Tells whether the address is on an attached ENI."""
        return any(
            address in IPv4Network(cidr) for eni in self.enis.values() if eni.attachment for cidr in cidrs_of(eni)
        )

    def _create(self, action: CreateEni) -> None:
        self._attach(self.create_only(action), action.device_index, action.network_card)

    def _attach(self, eni_id: EniId, device_index: int, card: int) -> None:
        here = [eni.attachment for eni in self.enis.values() if eni.attachment and eni.network_card == card]
        assert device_index not in {a.device_index for a in here}, f"device index {device_index} is taken"
        assert len(here) < self.instance.limits.enis_on(card), "AttachmentLimitExceeded"
        attachment = attachment_of(self.instance, device_index, card=card)
        self.enis[eni_id] = replace(self.enis[eni_id], attachment=attachment)

    def _refuse(self, subnet_id: SubnetId, addresses: int, prefixes: int) -> None:
        if prefixes and subnet_id in self.fragmented:
            raise RefusedError(subnet_id, prefix=True)
        if self.free_in(subnet_id) < addresses + 16 * prefixes:
            raise RefusedError(subnet_id, prefix=bool(prefixes))

    def _add_ipv6(self, eni_id: EniId, count: int) -> None:
        if count:
            assert self.subnets[self.enis[eni_id].subnet_id].ipv6_cidr, "the subnet has no IPv6 block"
            self.enis[eni_id] = replace(self.enis[eni_id], ipv6_prefixes=(f"2001:db8:0:0:{len(self.calls)}::/80",))

    def _fill(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> None:
        eni = self.enis[eni_id]
        self._refuse(eni.subnet_id, addresses, prefixes)
        eni = replace(
            eni,
            addresses=(*eni.addresses, *self._lowest(IPv4Network("10.10.0.0/16"), 32, addresses)),
            prefixes=(*eni.prefixes, *self._lowest(IPv4Network("10.20.0.0/16"), 28, prefixes)),
        )
        assert eni.slots_used <= self.instance.limits.addresses_per_eni, "PrivateIpAddressLimitExceeded"
        self.enis[eni_id] = eni

    def _lowest(self, network: IPv4Network, prefix_length: int, count: int) -> tuple[str, ...]:
        taken = {cidr for eni in self.enis.values() for cidr in (*eni.addresses, *eni.prefixes)}
        found: list[str] = []
        for candidate in network.subnets(new_prefix=prefix_length) if count else ():
            text = str(candidate).removesuffix("/32")
            if text not in taken:
                found.append(text)
            if len(found) == count:
                break
        return tuple(found)

    def _unassign(self, eni_id: EniId, addresses: tuple[str, ...], prefixes: tuple[str, ...]) -> None:
        eni = self.enis[eni_id]
        assert set(addresses) <= set(eni.addresses), "an address is unassigned that is not there"
        assert set(prefixes) <= set(eni.prefixes), "a prefix is unassigned that is not there"
        self.enis[eni_id] = replace(
            eni,
            addresses=tuple(a for a in eni.addresses if a not in addresses),
            prefixes=tuple(p for p in eni.prefixes if p not in prefixes),
        )

    def _ensure_delete_on_termination(self, eni_id: EniId) -> None:
        eni = self.enis[eni_id]
        assert eni.attachment is not None, "only an attachment dies with its instance"
        self.enis[eni_id] = replace(eni, attachment=replace(eni.attachment, delete_on_termination=True))


@dataclass(frozen=True)
class SupplyView:
    """What the agent reads of the operator's status."""

    cidrs: tuple[str, ...] = ()
    releasing: Mapping[str, str] = field(default_factory=dict)
    """Token by CIDR."""
    excluded: frozenset[str] = frozenset()
    """CIDRs on ENIs that no pod gets a new address of."""
    cards: Mapping[str, int] = field(default_factory=dict)
    """Network card by CIDR."""

    @classmethod
    def of(
        cls,
        enis: Mapping[EniId, Eni],
        releasing: Mapping[EniId, tuple[Handover, ...]],
        excluded: Collection[EniId] = (),
    ) -> "SupplyView":
        """Returns the supply as the shell writes it."""
        here = [eni for _, eni in sorted(_placed(enis.values()), key=lambda pair: pair[0])]
        tokens = {h.cidr: h.token for eni in here for h in releasing.get(eni.id, ()) if h.cidr in cidrs_of(eni)}
        return cls(
            cidrs=tuple(cidr for eni in here for cidr in cidrs_of(eni)),
            releasing=tokens,
            excluded=frozenset(cidr for eni in here if eni.id in excluded for cidr in cidrs_of(eni)),
            cards={cidr: eni.network_card for eni in here for cidr in cidrs_of(eni)},
        )


def _placed(enis: Iterable[Eni]) -> Iterator[tuple[tuple[int, int], Eni]]:
    for eni in enis:
        if eni.attachment is not None:
            yield (eni.network_card, eni.attachment.device_index), eni


def _prefix_of(address: IPv4Address) -> str:
    return f"{IPv4Address(int(address) & ~15)}/28"


class FakeAgent:
    """The agent at its smallest: assigns densely, cools, and answers the handshake."""

    def __init__(self, cooldown: float = 30.0) -> None:
        self.cooldown = cooldown
        self.supply = SupplyView()
        self.assigned: dict[str, IPv4Address] = {}
        self.cooling: dict[IPv4Address, float] = {}
        self.pending: list[str] = []
        self.card_of: dict[str, int] = {}
        """Network card a pod wants its address on, where that is not card 0."""

    def observe(self, supply: SupplyView) -> None:
        """Takes a supply over; the agent never goes back to an older one."""
        self.supply = supply
        self.serve()

    def add_pod(self, pod: str, *, card: int = 0) -> None:
        """A pod is bound here and wants an address."""
        if card:
            self.card_of[pod] = card
        self.pending.append(pod)
        self.serve()

    def delete_pod(self, pod: str, now: float) -> None:
        """A pod is gone; its address cools."""
        if pod in self.pending:
            self.pending.remove(pod)
        else:
            self.cooling[self.assigned.pop(pod)] = now + self.cooldown

    def tick(self, now: float) -> None:
        """Ends every cooldown that is over."""
        self.cooling = {address: until for address, until in self.cooling.items() if until > now}
        self.serve()

    def serve(self) -> None:
        """Gives waiting pods addresses, the first in line first."""
        for card in sorted({self.card_of.get(pod, 0) for pod in self.pending}):
            offers = self.offers(card)
            for pod in [pod for pod in self.pending if self.card_of.get(pod, 0) == card]:
                address = next(offers, None)
                if address is None:
                    break
                self.pending.remove(pod)
                self.assigned[pod] = address

    def offers(self, card: int = 0) -> Iterator[IPv4Address]:
        """Yields what a pod could have now: of the fullest CIDR, then on the ENI with the lowest device index."""
        busy = self.busy()
        open_cidrs = [cidr for cidr in self.supply.cidrs if self.is_open(cidr) and self.supply.cards[cidr] == card]
        held = self.held()
        for cidr in sorted(open_cidrs, key=lambda cidr: -held[cidr]):
            yield from (address for address in IPv4Network(cidr) if address not in busy)

    def is_open(self, cidr: str) -> bool:
        """Tells whether a pod may get an address of this CIDR."""
        return cidr in self.supply.cidrs and cidr not in self.supply.releasing and cidr not in self.supply.excluded

    def busy(self) -> frozenset[IPv4Address]:
        """Returns the addresses that are assigned or cooling."""
        return frozenset((*self.assigned.values(), *self.cooling))

    def held(self) -> Counter[str]:
        """Counts what is assigned or cooling, by /32 and by /28."""
        return Counter(text for address in self.busy() for text in (f"{address}/32", _prefix_of(address)))

    def held_of(self, cidr: str) -> int:
        """Counts what is assigned or cooling of a CIDR."""
        return self.held()[cidr]

    def is_unused(self, cidr: str) -> bool:
        """Tells whether nothing in the CIDR is assigned or cooling."""
        return not self.held_of(cidr)

    def usage(self) -> Usage:
        """Returns the report of now."""
        under_way = [Handover(cidr, token) for cidr, token in self.supply.releasing.items()]
        held = self.held()
        return Usage(
            assigned=len(self.assigned),
            cooling=len(self.cooling),
            free=sum(1 for card in (0, *self._cards()) for _ in self.offers(card)),
            pending=len(self.pending),
            idle=tuple(cidr for cidr in reversed(self.supply.cidrs) if not held[cidr]),
            released=frozenset(handover for handover in under_way if not held[handover.cidr]),
            reported=True,
            leaving={handover: held[handover.cidr] for handover in under_way if held[handover.cidr]},
            cards={card: self._usage_of(card) for card in self._cards()},
        )

    def _cards(self) -> frozenset[int]:
        return frozenset(self.supply.cards.values()) - {0}

    def _usage_of(self, card: int) -> CardUsage:
        networks = [IPv4Network(cidr) for cidr, on in self.supply.cards.items() if on == card]
        return CardUsage(
            assigned=sum(1 for address in self.assigned.values() if any(address in n for n in networks)),
            cooling=sum(1 for address in self.cooling if any(address in n for n in networks)),
        )


class FakePool:
    """The shell's memory: what was last written, and one loop of observe, plan, write, perform."""

    def __init__(
        self, instance: Instance, policy: Policy, cooldown: float = 30.0, *, subnets: tuple[Subnet, ...] = (SUBNET,)
    ) -> None:
        self.instance = instance
        self.policy = policy
        self.candidates = tuple(subnet.id for subnet in subnets)
        self.subnet_policy = SubnetPolicy.MOST_FREE
        self.excluded: dict[EniId, str] = {}
        self.cards: tuple[int, ...] = (0,)
        self.ec2 = FakeEc2(instance, subnets)
        self.exhausted_until: dict[SubnetId, float] = {}
        self.fragmented_until: dict[SubnetId, float] = {}
        self.agent = FakeAgent(cooldown)
        self.releasing: Mapping[EniId, tuple[Handover, ...]] = {}
        self.draining: frozenset[EniId] = frozenset()
        self.generation = 0
        self.surplus_since: float | None = None
        self.now = 1_000.0
        self.plans = 0

    def world(self, usage: Usage) -> World:
        """Returns the world as the shell would observe it."""
        return World(
            instance=self.instance,
            subnets={subnet_id: self._subnet(subnet) for subnet_id, subnet in self.ec2.subnets.items()},
            candidates=self.candidates,
            enis=tuple(self.ec2.enis.values()),
            usage=usage,
            releasing=self.releasing,
            draining=self.draining,
            surplus_since=self.surplus_since,
            generation=self.generation,
            security_groups=(GROUP,),
            subnet_policy=self.subnet_policy,
            excluded=dict(self.excluded),
            cards=self.cards,
        )

    def _subnet(self, subnet: Subnet) -> Subnet:
        return replace(
            subnet,
            free_addresses=max(0, self.ec2.free_in(subnet.id)),
            exhausted_until=self.exhausted_until.get(subnet.id, 0.0),
            fragmented_until=self.fragmented_until.get(subnet.id, 0.0),
        )

    def decide(self, usage: Usage) -> Plan:
        """Returns the plan for this usage under a fresh nonce."""
        self.plans += 1
        return plan(self.world(usage), self.policy, self.now, f"nonce-{self.plans}")

    def write(self, decision: Plan) -> None:
        """Remembers a plan as the shell does, before its actions are performed."""
        self.releasing, self.draining, self.generation = decision.releasing, decision.draining, decision.generation
        if not decision.surplus:
            self.surplus_since = None
        elif self.surplus_since is None:
            self.surplus_since = self.now

    def supply(self) -> SupplyView:
        """Returns what the agent would read now."""
        return SupplyView.of(self.ec2.enis, self.releasing, self.excluded)

    def perform(self, action: Action) -> None:
        """Performs an action, refusing to take from EC2 what the agent has or offers; minds what EC2 refuses."""
        self._refuse_to_take(self._taken_by(action))
        with self._minding_refusals():
            self.ec2.perform(action)

    def create_only(self, action: CreateEni) -> None:
        """Performs the first of a creation's calls."""
        with self._minding_refusals():
            self.ec2.create_only(action)

    @contextmanager
    def _minding_refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as refused:
            self.rest(refused.subnet_id, prefix=refused.prefix)

    def rest(self, subnet_id: SubnetId, *, prefix: bool) -> None:
        """Leaves a subnet alone for a while."""
        until = self.fragmented_until if prefix else self.exhausted_until
        until[subnet_id] = self.now + REST_SECONDS

    def detach(self, eni_id: EniId) -> None:
        """Performs the first half of a removal under the same law."""
        self._refuse_to_take(cidrs_of(self.ec2.enis[eni_id]))
        self.ec2.detach(eni_id)

    def _refuse_to_take(self, cidrs: tuple[str, ...]) -> None:
        for cidr in cidrs:
            assert self.agent.is_unused(cidr), f"{cidr} is taken from EC2 while a pod has it or it cools"
            assert not self.agent.is_open(cidr), f"{cidr} is taken from EC2 while the agent offers it"

    def _taken_by(self, action: Action) -> tuple[str, ...]:
        match action:
            case Unassign(_, addresses, prefixes):
                return (*(f"{address}/32" for address in addresses), *prefixes)
            case RemoveEni(eni_id, attachment_id) if attachment_id is not None:
                return cidrs_of(self.ec2.enis[eni_id])
            case _:
                return ()

    def settle(self, rounds: int = 300) -> Plan:
        """Loops with instant EC2 and a prompt agent until nothing more happens; skips every wait but a back-off's."""
        for _ in range(rounds):
            self.agent.tick(self.now)
            decision = self.decide(self.agent.usage())
            before = (self.releasing, self.draining)
            self.write(decision)
            self.agent.observe(self.supply())
            for action in decision.actions:
                self.perform(action)
            self.agent.observe(self.supply())
            is_still = not decision.actions and before == (self.releasing, self.draining)
            rests = decision.recheck_at in self._back_offs() and not decision.surplus
            waits = None if rests else decision.recheck_at
            if is_still and (waits is None or waits <= self.now):
                return decision
            self.now = max(self.now, waits or self.now)
        raise AssertionError(f"not settled after {rounds} rounds: {decision}")

    def _back_offs(self) -> frozenset[float]:
        return frozenset((*self.exhausted_until.values(), *self.fragmented_until.values()))

    @property
    def held(self) -> int:
        """Counts pod addresses held in EC2."""
        return sum(eni.pod_addresses for eni in self.ec2.enis.values())
