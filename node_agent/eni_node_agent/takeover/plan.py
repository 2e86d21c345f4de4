"""Decides which pods of VPC CNI live, how they are held from now on, and whose policy rules are whose. Pure.

The kernel has the last word. A checkpoint may name a container that is gone (VPC CNI tells the runtime that a removal
went well while its daemon is away) beside the present one of the same pod, both by the one link name; the route says
whose address it is.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.network.desired import (
    ENI_SOURCE_PRIORITY,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
)
from eni_node_agent.sandbox import names
from eni_node_agent.takeover.checkpoint import Allocation

EXTERNAL_SERVICE_PRIORITY: Final = 1535
"""VPC CNI's rules for AWS_EXTERNAL_SERVICE_CIDRS."""

_LINK: Final = re.compile(names.HOST_IFNAME_PREFIX + "[0-9a-f]{11}")


class Heir(NamedTuple):
    """A pod that runs: its address, its host link, and the sandbox it is held by."""

    address: str
    link: str
    sandbox: Sandbox


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


def divide(allocations: Iterable[Allocation], links: Collection[str], routes: Mapping[str, str]) -> Estate:
    """Returns which pods live.

    Args:
        allocations: of all network cards' checkpoints.
        links: names of the host's veths.
        routes: link by address of the host routes in the main table, where VPC CNI puts those to pods.
    """
    allocations = tuple(allocations)
    routes = {address: link for address, link in routes.items() if link in links}
    heirs: dict[str, Heir] = {}
    keys: set[SandboxKey] = set()
    for allocation in allocations:
        link = _link_of(allocation, links, routes)
        if link and allocation.address not in heirs:
            sandbox = _sandbox(allocation, link, keys)
            keys.add(sandbox.key)
            heirs[allocation.address] = Heir(allocation.address, link, sandbox)
    for address, link in routes.items():
        if address not in heirs and _LINK.fullmatch(link):
            heirs[address] = Heir(address, link, Sandbox(key_by_link(link, address)))
    departed = dict.fromkeys(each.address for each in allocations if each.address not in heirs)
    return Estate(tuple(heirs.values()), tuple(departed))


def _link_of(allocation: Allocation, links: Collection[str], routes: Mapping[str, str]) -> str:
    """Returns the living link of an allocation; empty: there is none."""
    routed = routes.get(allocation.address, "")
    if not allocation.pod_name:
        return routed
    candidates = [link for suffix in _suffixes(allocation) for link in links if link.endswith(suffix)]
    if routed:
        return routed if routed in candidates else ""
    taken = set(routes.values())
    return next((link for link in candidates if link not in taken), "")


def _suffixes(allocation: Allocation) -> Iterator[str]:
    """Yields the ends of the names of the pod's links: the interface on card 0 first, ``web-0.1`` for the next."""
    yield names.pod_hash(allocation.pod_namespace, allocation.pod_name)
    for number in range(1, allocation.interfaces):
        yield names.pod_hash(allocation.pod_namespace, f"{allocation.pod_name}.{number}")


def _sandbox(allocation: Allocation, link: str, taken: Collection[SandboxKey]) -> Sandbox:
    """Returns the sandbox that a runtime will name, where our own way of naming links leads to this one.

    Any other (of a further card, or of another prefix) is held by its link and let go of when that is gone.
    """
    key = SandboxKey(names.VPC_CNI_NETWORK, allocation.container_id, allocation.ifname)
    namespace, name = allocation.pod_namespace, allocation.pod_name
    sandbox = Sandbox(key, pod_namespace=namespace, pod_name=name)
    if name and key not in taken and names.host_ifname_of(sandbox) == link:
        return sandbox
    return Sandbox(key_by_link(link, allocation.address), pod_namespace=namespace, pod_name=name)


def key_by_link(link: str, address: str) -> SandboxKey:
    """Returns a key that no runtime uses; the address tells two of one link apart."""
    return names.recovered_key(link)._replace(ifname=address)
