"""Decides which rules of others take pods' packets from the way they must go. Pure.

Such a rule is not ours to remove: somebody may need it. It is told instead, in a sentence that names both sides.
What Amazon's images make is no conflict: amazon-ec2-net-utils leads the addresses of an ENI into a table of that ENI
from 10000 on, at priorities from 10000 on, behind our rules for pods.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
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

_KERNELS_MAIN_PRIORITY: Final = 32766
_IMAGES_FIRST: Final = 10000
"""First table and first priority of amazon-ec2-net-utils
(https://github.com/amazonlinux/amazon-ec2-net-utils, lib/lib.sh)."""


def conflicts(state: HostState, rules: Mapping[Rule, bool]) -> tuple[str, ...]:
    """Returns a sentence for each rule of others that comes before ours and leads elsewhere, sorted.

    Args:
        state: what is wanted.
        rules: the rules of the shapes we use; True: ours.
    """
    foreign = (rule for rule, is_ours in rules.items() if not is_ours and rule not in state.items)
    return tuple(sorted(sentence for rule in foreign for sentence in _quarrels(rule, state)))


def _quarrels(rule: Rule, state: HostState) -> Iterator[str]:
    if rule.table in {LOCAL_TABLE, POD_TABLE} or _is_of_an_image(rule):
        return
    if rule.mark is not None:
        if _is_ours_elsewhere(rule, state):
            yield f"{_said(rule)} takes marked packets, which must look into table {MAIN_TABLE}; {_ADVICE}"
        return
    for cidr, table in state.ways_out.items():
        if family_of(cidr) is not rule.family:
            continue
        if _takes_answers(rule, cidr):
            yield f"{_said(rule)} takes packets to pods of {cidr}, which must look into table {POD_TABLE}; {_ADVICE}"
        elif _takes_questions(rule, cidr, table):
            yield f"{_said(rule)} takes packets from pods of {cidr}, which must look into table {table}; {_ADVICE}"


_ADVICE: Final = "it is another tool's, and stays"


def _is_of_an_image(rule: Rule) -> bool:
    return rule.priority >= _IMAGES_FIRST and rule.table >= _IMAGES_FIRST and rule.destination is None


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
