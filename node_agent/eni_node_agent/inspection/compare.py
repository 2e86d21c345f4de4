"""Decides what differs between the sides of a node, in sentences with what to do. Pure: values in, findings out.

Sides that could not be looked at are compared with nothing. A finding's text holds no times and no counts that change
by themselves, so two looks in a row can be told apart from one difference that lasts (``report``).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import PodLink
from eni_crds.nodeippool import SERVING_ROLES, EniState, Supply
from eni_node_agent.inspection.views import AgentView, Attachment, KernelView, Neighbour, RuntimeView, Views
from eni_node_agent.introspection.state import HeldAddresses, State
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.network.links import is_stacked

SETTLE_SECONDS: Final = 10.0
"""A younger sandbox may not have come through the whole chain of plugins yet."""

_RECREATE = "Delete the pod; its next sandbox gets its network anew."
_RESTART = "Restart the agent on this node: it takes over from the kernel what its journal does not know."


class Finding(NamedTuple):
    """One difference."""

    kind: str
    """For machines: ``pod.no_route``."""
    sides: str
    """Which sides disagree: ``ledger, kernel``."""
    subject: str
    """What it is about: a pod, an ENI, a link."""
    sentence: str
    remedy: str
    """What to do."""


def findings(views: Views) -> list[Finding]:
    """Returns every difference between the sides that could be looked at."""
    found: list[Finding] = []
    if views.agent is not None:
        found += _of_agent(views.agent)
        found += _ledger_and_supply(views.agent.state)
    if views.agent is not None and views.kernel is not None:
        found += _supply_and_kernel(views.agent.state.supply, views.kernel)
        found += _ledger_and_kernel(views.agent.state, views.kernel)
    if views.agent is not None and views.runtime is not None:
        found += _ledger_and_runtime(views.agent.state, views.runtime)
    return found


def _of_agent(agent: AgentView) -> Iterator[Finding]:
    if not agent.is_running:
        sentence = "the agent does not answer; ledger and supply are what it has left"
        remedy = "Look at the pod eni-agent of this node and its log. Pods keep their network meanwhile."
        yield Finding("agent.silent", "agent", "eni-agent", sentence, remedy)
    elif agent.state.obstacle:
        remedy = "docs/operations.md has a section for each reason."
        yield Finding("agent.obstacle", "agent", "eni-agent", agent.state.obstacle, remedy)
    elif not agent.has_conflist:
        sentence = "the agent can serve and the runtime's folder has no conflist of ours"
        remedy = "It is written within 10 s; look at the agent's log for what keeps it from being written."
        yield Finding("agent.no_conflist", "agent, runtime", "conflist", sentence, remedy)


def _ledger_and_supply(state: State) -> Iterator[Finding]:
    if state.supply is None:
        return
    cidrs = [ip_network(cidr) for eni in state.supply.enis for cidr in cidrs_of(eni)]
    for held in state.holdings:
        for address in held.addresses:
            if not any(ip_address(address) in cidr for cidr in cidrs):
                sentence = f"holds {address}, which EC2 has not assigned to this instance"
                remedy = f"Somebody took the address away in EC2; packets to it may reach another node. {_RECREATE}"
                yield Finding("pod.address_not_in_supply", "supply, ledger", held.pod, sentence, remedy)


def _supply_and_kernel(supply: Supply | None, kernel: KernelView) -> Iterator[Finding]:
    if supply is None:
        return
    macs = {link.mac for link in kernel.links.values() if not is_stacked(link.kind)}
    for eni in supply.enis:
        if eni.role in SERVING_ROLES and eni.state is EniState.ATTACHED and eni.mac.lower() not in macs:
            sentence = f"is attached at device index {eni.device_index}, and no link has its MAC {eni.mac}"
            remedy = "Look at dmesg for the driver; an ENI moved into another namespace is not served."
            yield Finding("eni.no_link", "supply, kernel", eni.id, sentence, remedy)
    ours = {eni.mac.lower() for eni in supply.enis}
    for name, link in kernel.links.items():
        if not link.kind and link.mac.strip("0:") and link.mac not in ours:
            sentence = f"is hardware with the MAC {link.mac}, and the supply names no such ENI"
            remedy = "The operator sees a new ENI within minutes; look at its log if this stays."
            yield Finding("link.no_eni", "supply, kernel", name, sentence, remedy)
    for sentence in kernel.host_differences:
        remedy = "The agent repairs it within 5 s; what undoes it again is another network tool on this node."
        yield Finding("host.differs", "supply, kernel", "host network", sentence, remedy)


def _ledger_and_kernel(state: State, kernel: KernelView) -> Iterator[Finding]:
    for held in state.holdings:
        yield from _of_pod(held, kernel)
    known = {address for held in state.holdings for address in held.all_addresses}
    for address, ifname in kernel.pod_routes.items():
        if address not in known:
            sentence = f"the pod table leads to {ifname}, and the ledger gives {address} to nobody"
            remedy = f"The address may be given to a second pod. {_RESTART}"
            yield Finding("route.no_holding", "ledger, kernel", address, sentence, remedy)
    expected = {link.host_ifname for held in state.holdings for link in held.links}
    for ifname in _strays(kernel, expected):
        sentence = "is the host's end of a pod's link, and the ledger knows no such sandbox"
        remedy = f"If no pod uses it: ip link delete {ifname}. {_RESTART}"
        yield Finding("link.no_holding", "ledger, kernel", ifname, sentence, remedy)


def _strays(kernel: KernelView, expected: set[str]) -> list[str]:
    """Links that are down are on their way out: DEL sets them down and a reaper deletes them."""
    return [
        name
        for name, link in kernel.links.items()
        if name.startswith(kernel.veth_prefix) and link.kind == "veth" and link.is_up and name not in expected
    ]


def _of_pod(held: HeldAddresses, kernel: KernelView) -> Iterator[Finding]:
    for link in held.links:
        yield from _of_link(held, link, kernel)


def _of_link(held: HeldAddresses, wanted: PodLink, kernel: KernelView) -> Iterator[Finding]:
    def finding(kind: str, sentence: str, remedy: str = _RECREATE) -> Finding:
        return Finding(f"pod.{kind}", "ledger, kernel", held.pod, sentence, remedy)

    ifname = wanted.host_ifname
    link = kernel.links.get(ifname)
    if link is None:
        named = ", ".join(wanted.addresses)
        remedy = "If the pod is gone, the agent's sweep releases the address within a minute or two. Otherwise: "
        yield finding("no_link", f"holds {named}, and its host link {ifname} is gone", remedy + _RECREATE)
        return
    if not link.is_up:
        yield finding("link_down", f"its host link {ifname} is down", f"ip link set {ifname} up")
    for address in wanted.all_addresses:
        leads_to = kernel.pod_routes.get(address)
        if leads_to is None:
            yield finding("no_route", f"no route to {address} is in the pod table")
        elif leads_to != ifname:
            yield finding("route_elsewhere", f"packets to {address} go to {leads_to}, not to {ifname}")
        if held.is_taken_over:  # VPC CNI lets the kernel ask for it
            continue
        if Neighbour(ifname, address) not in kernel.neighbours:
            yield finding("no_neighbour", f"{ifname} has no permanent neighbour entry for {address}")


def _ledger_and_runtime(state: State, runtime: RuntimeView) -> Iterator[Finding]:
    cached = [each for each in runtime.attachments if runtime.live is None or each.container_id in runtime.live]
    by_key: dict[tuple[str, ...], Attachment] = {each[:3]: each for each in cached}
    for held in state.holdings:
        yield from _of_holding(held, by_key, runtime.live, age=state.now - held.since)
    known = {address for held in state.holdings for address in held.all_addresses}
    for each in cached:
        unknown = [address for address in each.addresses if address not in known]
        if unknown:
            sentence = f"the runtime was given {', '.join(unknown)}, which the ledger gives to nobody"
            remedy = f"The address may be given to a second pod. {_RESTART}"
            yield Finding("sandbox.no_holding", "ledger, runtime", _named(each), sentence, remedy)
    twice = Counter(address for each in cached for address in each.addresses)
    for address in sorted(address for address, count in twice.items() if count > 1):
        pods = " and ".join(_named(each) for each in cached if address in each.addresses)
        remedy = "Delete all but one of these pods, and report this: it must never be."
        yield Finding("address.twice", "runtime", address, f"{pods} have the same address", remedy)


def _of_holding(
    held: HeldAddresses, cached: Mapping[tuple[str, ...], Attachment], live: frozenset[str] | None, *, age: float
) -> Iterator[Finding]:
    if held.is_recovered or held.is_taken_over or age < SETTLE_SECONDS:
        return
    attachment = cached.get((held.network, held.container_id, held.ifname))
    named = ", ".join(held.addresses)
    if attachment is None:
        why = "runs no such sandbox" if live is not None and held.container_id not in live else "has no result of it"
        sentence = f"holds {named}, and the runtime {why}"
        link = held.links[0].host_ifname
        remedy = f"If no pod has {named}, it is released once its link is gone: ip link delete {link}."
        yield Finding("holding.no_sandbox", "ledger, runtime", held.pod, sentence, remedy)
    elif not set(held.addresses) <= set(attachment.addresses) <= set(held.all_addresses):
        given = ", ".join(attachment.addresses) or "none"
        sentence = f"the ledger gives it {named}, and the runtime was told {given}"
        yield Finding("sandbox.other_address", "ledger, runtime", held.pod, sentence, _RECREATE)


def _named(attachment: Attachment) -> str:
    return attachment.pod or f"sandbox {attachment.container_id}"
