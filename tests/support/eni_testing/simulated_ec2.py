"""EC2's part of the pool in miniature: one instance's ENIs, in memory, whose calls take no time.

It refuses impossible worlds: more slots than the type has, a device index twice, more than there is. Subnets refuse as
EC2's do.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

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
from eni_operator.domain.eni import Eni, EniId, SubnetId
from eni_operator.domain.instance import Instance, Subnet
from eni_testing.instances import SUBNET, attached, attachment_of, cidrs_of


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
