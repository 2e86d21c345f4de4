"""Decides which pods of VPC CNI live, how they are held from now on, and whose policy rules are whose. Pure.

The kernel has the last word. A checkpoint may name a container that is gone (VPC CNI tells the runtime that a removal
went well while its daemon is away) beside the present one of the same pod, both by the one link name; the route says
whose address it is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.ranges import is_node_local
from eni_node_agent.network.desired import (
    ENI_SOURCE_PRIORITY,
    EXTERNAL_SERVICE_PRIORITY,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
)
from eni_node_agent.sandbox import names
from eni_node_agent.takeover.checkpoint import Allocation


class Heir(NamedTuple):
    """A pod that runs: its links and addresses, and the sandbox it is held by."""

    sandbox: Sandbox
    links: tuple[PodLink, ...]


class Estate(NamedTuple):
    """What was found."""

    heirs: tuple[Heir, ...]
    departed: tuple[str, ...]
    """Addresses that the checkpoint gives to pods which are gone."""


class PolicyRule(NamedTuple):
    """A policy rule of the kernel."""

    body: bytes
    """As the kernel gave it."""
    priority: int
    table: int
    source: str
    """Address, where it is for one alone; empty otherwise."""
    destination: str
    """CIDR; empty: all."""
    mark: int
    is_ours: bool

    @property
    def pod_address(self) -> str:
        """Returns whose rule it is, when it is one of VPC CNI's for one pod: ``to`` at 512, ``from`` at 1536."""
        address, _, length = self.destination.partition("/")
        if self.priority == POD_PRIORITY and self.table == MAIN_TABLE and length in {"32", "128"}:
            return address
        return self.source if self.priority == POD_SOURCE_PRIORITY else ""


class Settlement(NamedTuple):
    """What becomes of VPC CNI's rules."""

    own: tuple[PolicyRule, ...] = ()
    """Ours takes their place: our network may want the like, and removes them where it does not."""
    remove: tuple[PolicyRule, ...] = ()


def settle(rules: Iterable[PolicyRule], held: Collection[str], tables: Collection[int], mark: int) -> Settlement:
    """Returns what becomes of VPC CNI's rules once our network is in order; what is like them but no part stays.

    A table with a route of ours is an ENI's that we serve. Rules that lead to another table may be the image's or a
    person's, for an ENI that was never VPC CNI's to manage.

    Args:
        rules: of the kernel.
        held: addresses of pods taken over that live; their rules stay, so that a way back stays open.
        tables: that have routes of ours.
        mark: of connections that leave by the primary ENI.
    """
    theirs = [rule for rule in rules if not rule.is_ours]
    of_nobody = [rule for rule in theirs if rule.pod_address and rule.pod_address not in held]
    of_node = [rule for rule in theirs if _serves_node(rule, mark) and rule.table in {*tables, MAIN_TABLE}]
    own = [rule for rule in of_nobody if rule.table in tables]
    return Settlement((*own, *of_node), tuple(rule for rule in of_nobody if rule not in own))


def _serves_node(rule: PolicyRule, mark: int) -> bool:
    if rule.priority == MARK_PRIORITY:
        return rule.table == MAIN_TABLE and rule.mark == mark
    if rule.priority == EXTERNAL_SERVICE_PRIORITY:
        return rule.table == MAIN_TABLE and bool(rule.destination)
    return rule.priority == ENI_SOURCE_PRIORITY and rule.table != MAIN_TABLE and bool(rule.source)


def divide(
    allocations: Iterable[Allocation],
    links: Collection[str],
    routes: Mapping[str, str],
    prefix: str = names.HOST_IFNAME_PREFIX,
) -> Estate:
    """Returns which pods live.

    Args:
        allocations: of all network cards' checkpoints, card 0 first.
        links: names of the host's veths.
        routes: link by address of the host routes in the main table, where VPC CNI puts those to pods.
        prefix: what the names of pods' links begin with; a link that no checkpoint speaks of is known by it.
    """
    allocations = tuple(allocations)
    routes = {address: link for address, link in routes.items() if link in links}
    heirs: dict[SandboxKey, Heir] = {}
    placed: set[str] = set()
    for allocation in allocations:
        link = _link_of(allocation, links, routes)
        if link is not None and allocation.address not in placed:
            _join(heirs, _sandbox(allocation), link)
            placed.add(allocation.address)
    for address, ifname in routes.items():
        # The links of VPC CNI's second plugin have names of chance, and addresses of a range that ours are of too.
        if address not in placed and (_is_pods(ifname, prefix) or is_node_local(address)):
            _join(heirs, Sandbox(names.recovered_key(ifname)), _link("", ifname, address))
            placed.add(address)
    departed = dict.fromkeys(each.address for each in allocations if each.address not in placed)
    return Estate(tuple(heirs.values()), tuple(departed))


def _is_pods(ifname: str, prefix: str) -> bool:
    digits = ifname.removeprefix(prefix)
    return ifname.startswith(prefix) and len(digits) == 11 and set(digits) <= set("0123456789abcdef")


def _join(heirs: dict[SandboxKey, Heir], sandbox: Sandbox, link: PodLink) -> None:
    """Adds a link to what its sandbox has; the one on card 0 was added first."""
    before = heirs.get(sandbox.key)
    heirs[sandbox.key] = Heir(sandbox, (*before.links, link) if before else (link,))


def _link_of(allocation: Allocation, links: Collection[str], routes: Mapping[str, str]) -> PodLink | None:
    """Returns the living link of an allocation; None: there is none."""
    routed = routes.get(allocation.address, "")
    if not allocation.pod_name:
        return _link(allocation.ifname, routed, allocation.address) if routed else None
    candidates = {link: number for number, suffix in _suffixes(allocation) for link in links if link.endswith(suffix)}
    if not routed:
        taken = set(routes.values())
        routed = next((link for link in candidates if link not in taken), "")
    if routed not in candidates:
        return None
    number = candidates[routed]
    return _link(f"mNicIf{number}" if number else allocation.ifname, routed, allocation.address)


def _suffixes(allocation: Allocation) -> Iterator[tuple[int, str]]:
    """Yields number and end of the name of the pod's links: that on card 0 first, then as of a pod ``web-0.1``."""
    for number in range(allocation.interfaces):
        further = f".{number}" if number else ""
        yield number, names.pod_hash(allocation.pod_namespace, f"{allocation.pod_name}{further}")


def _sandbox(allocation: Allocation) -> Sandbox:
    key = SandboxKey(names.VPC_CNI_NETWORK, allocation.container_id, allocation.ifname)
    return Sandbox(key, pod_namespace=allocation.pod_namespace, pod_name=allocation.pod_name)


def _link(ifname: str, host_ifname: str, address: str) -> PodLink:
    return PodLink(ifname, host_ifname, "", (address,))
