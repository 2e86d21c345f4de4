"""Decides what other tools put into pods' way: policy rules that come first, addresses of pods on the host. Pure.

It is not ours to remove, for somebody may need it, and so it is told, in a sentence that names both sides. The rules
Amazon's images make are no conflict: amazon-ec2-net-utils leads the addresses of an ENI into a table of that ENI, rule
and table having the same number from 10000 on, behind our rules for pods.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface, ip_network
from typing import Final

from eni_node_agent.network.desired import (
    LOCAL_TABLE,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
    POD_TABLE,
    HostState,
    Rule,
)
from eni_node_agent.network.desired.items import family_of
from eni_node_agent.network.drift import Observed

_KERNELS_MAIN_PRIORITY: Final = 32766
_IMAGES_FIRST: Final = 10000
"""First table and priority of amazon-ec2-net-utils (its lib/lib.sh on GitHub, ``rule_base``)."""
_LONGEST_LIST: Final = 3
"""CIDRs named in a sentence."""


def conflicts(state: HostState, observed: Observed) -> tuple[str, ...]:
    """Returns a sentence for each conflict, sorted."""
    return tuple(sorted((*_rules_in_the_way(state, observed.rules), *_addresses_of_pods(state, observed))))


def _rules_in_the_way(state: HostState, rules: Mapping[Rule, bool]) -> Iterator[str]:
    for rule, is_ours in rules.items():
        taken = "" if is_ours or rule in state.items else _taken(rule, state)
        if taken:
            yield f"{_said(rule)} takes {taken}; it is another tool's, and stays"


def _addresses_of_pods(state: HostState, observed: Observed) -> Iterator[str]:
    """A pod's address that is the host's too never reaches the pod; on secondary ENIs it is removed, see ``drift``."""
    pods = [ip_network(cidr) for cidr in state.ways_out]
    for address in observed.addresses:
        is_removed = address.ifname in state.secondary_ifnames
        if not is_removed and any(ip_interface(address.interface).ip in network for network in pods):
            yield f"the address {address.interface} of {address.ifname} is for pods; it is another tool's, and stays"


def _taken(rule: Rule, state: HostState) -> str:
    """Returns which packets a rule takes from their way; empty: none."""
    if rule.table in {LOCAL_TABLE, POD_TABLE} or _is_of_an_image(rule):
        return ""
    if rule.mark is not None:
        return f"marked packets, which must look into table {MAIN_TABLE}" if _is_ours_elsewhere(rule, state) else ""
    pods = {cidr: table for cidr, table in state.ways_out.items() if family_of(cidr) is rule.family}
    asked = [cidr for cidr in pods if _takes_answers(rule, cidr)]
    if asked:
        return f"packets to pods of {_listed(asked)}, which must look into table {POD_TABLE}"
    asking = [cidr for cidr, table in pods.items() if _takes_questions(rule, cidr, table)]
    tables = ", ".join(sorted({str(pods[cidr]) for cidr in asking}))
    return f"packets from pods of {_listed(asking)}, which must look into table {tables}" if asking else ""


def _listed(cidrs: Sequence[str]) -> str:
    return ", ".join(cidrs[:_LONGEST_LIST]) + (" and more" if len(cidrs) > _LONGEST_LIST else "")


def _is_of_an_image(rule: Rule) -> bool:
    return rule.priority == rule.table >= _IMAGES_FIRST and rule.destination is None


def _is_ours_elsewhere(rule: Rule, state: HostState) -> bool:
    ours = Rule(MARK_PRIORITY, MAIN_TABLE, mark=rule.mark, family=rule.family)
    is_plain = rule.source is None and rule.destination is None
    return ours in state.items and is_plain and rule.priority <= MARK_PRIORITY and rule.table != MAIN_TABLE


def _takes_answers(rule: Rule, cidr: str) -> bool:
    return rule.destination is not None and rule.priority < POD_PRIORITY and _overlap(rule.destination, cidr)


def _takes_questions(rule: Rule, cidr: str, table: int) -> bool:
    ours_at = _KERNELS_MAIN_PRIORITY if table == MAIN_TABLE else POD_SOURCE_PRIORITY
    if rule.source is None or rule.destination is not None or table == rule.table or rule.priority > ours_at:
        return False
    return _overlap(rule.source, cidr)


def _overlap(one: str, other: str) -> bool:
    return ip_network(one).overlaps(ip_network(other))


def _said(rule: Rule) -> str:
    selectors = {"from": rule.source, "to": rule.destination, "fwmark": rule.mark and f"{rule.mark:#x}"}
    words = [f"{word} {value}" for word, value in selectors.items() if value]
    return f'the rule "{rule.priority}: {" ".join(words)} lookup {rule.table}"'
