"""Finds VPC CNI's rules among those that iptables-nft and others have in nftables, and says how they are removed.

Listings of nft do not show what is looked for: iptables keeps a rule's comment in an extension that nft does not print.
So rules are read from the kernel here, by chain, and removed by handle through libnftables, all in one transaction.
What VPC CNI writes (source: its own iptables-save on a node):

    nat     POSTROUTING  "AWS SNAT CHAIN"              -> AWS-SNAT-CHAIN-0: "AWS SNAT CHAIN" RETURN, "AWS, SNAT" SNAT
    nat     PREROUTING   "AWS, outbound connections"   -> AWS-CONNMARK-CHAIN-0, then "AWS, CONNMARK" restore
    mangle  PREROUTING   "AWS, primary ENI"            marks
    table ip aws-cni     the marks again, where it found nftables

Left are rules that the legacy iptables made, which are no nftables objects (``legacy``), and those of egress-cni.
"""

import errno
import os
import re
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from eni_cni_shim.plugin.netlink import (
    NLM_F_DUMP,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    dump_attribute,
    dump_message,
    parse_attributes,
    parse_messages,
)

OWN_TABLE: Final = "aws-cni"
"""VPC CNI's own nftables table, of family ip."""
FAMILIES: Final = {"ip": 2, "ip6": 10}
BASE_CHAINS: Final = (("nat", "PREROUTING"), ("nat", "POSTROUTING"), ("mangle", "PREROUTING"))
HOST_PORT_CHAIN: Final = ("nat", "CNI-HOSTPORT-DNAT")
"""Of the portmap plugin, which VPC CNI's conflist chains: a rule for each pod with a hostPort."""

_CHAIN: Final = re.compile(r"AWS-(SNAT|CONNMARK)-CHAIN-\d+")
_COMMENT: Final = re.compile(r"AWS, .*|AWS (SNAT|CONNMARK) .*")
_HOST_PORT: Final = re.compile(r'dnat name: "aws-cni" id: "([^"]+)"')
_PLAIN_CHAIN: Final = re.compile(r"[A-Za-z0-9_\-]{1,127}")

_NETLINK_NETFILTER: Final = 12
_NFT: Final = 10 << 8
_GET_CHAIN, _GET_RULE = _NFT | 4, _NFT | 7
_CHAIN_TABLE, _CHAIN_NAME = 1, 3
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_MATCH_NAME, _MATCH_INFO, _IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CHAIN = 1, 3, 2, 2, 2
_NFGENMSG: Final = struct.Struct(">BBH")
_ATTRIBUTE: Final = struct.Struct("=HH")


class ChainRule(NamedTuple):
    """A rule of an nftables chain, as far as it matters here."""

    family: str
    table: str
    chain: str
    handle: int
    comment: str
    target: str
    """The chain it jumps to; empty: none."""


class Found(NamedTuple):
    """What VPC CNI has in nftables."""

    rules: tuple[ChainRule, ...] = ()
    """In chains of others."""
    chains: tuple[tuple[str, str, str], ...] = ()
    """Family, table and name of chains of its own."""
    has_table: bool = False


def find(held: Collection[str] | None) -> Found:
    """Returns what is there, in the network namespace of the calling thread.

    Args:
        held: ids of the containers that still have their hostPort; None: it is not known, all stay.

    Raises:
        OSError: the kernel would not say.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as asking:
        chains = list(_chains(asking))
        rules = [rule for place in (*BASE_CHAINS, HOST_PORT_CHAIN) for rule in _rules_of(asking, chains, *place)]
    return sort(rules, chains, held)


def sort(rules: Iterable[ChainRule], chains: Iterable[tuple[str, str, str]], held: Collection[str] | None) -> Found:
    """Returns what of the rules and chains is VPC CNI's, or of the portmap plugin for a pod of VPC CNI that is gone."""
    chains = tuple(chains)
    expired = tuple(rule for rule in rules if _is_expired(rule, held))
    theirs = tuple(rule for rule in rules if _COMMENT.fullmatch(rule.comment) or _CHAIN.fullmatch(rule.target))
    gone = {(rule.family, rule.table, rule.target) for rule in expired if _PLAIN_CHAIN.fullmatch(rule.target)}
    named = tuple(chain for chain in chains if _CHAIN.fullmatch(chain[2]) or chain in gone)
    return Found((*theirs, *expired), named, any(chain[:2] == ("ip", OWN_TABLE) for chain in chains))


def removal(found: Found) -> str:
    """Returns the commands that remove it, for one transaction; empty where there is nothing."""
    lines = [
        f"delete rule {rule.family} {rule.table} {rule.chain} handle {rule.handle}"
        for rule in dict.fromkeys(found.rules)
    ]
    lines += [f"flush chain {' '.join(chain)}" for chain in found.chains]
    lines += [f"delete chain {' '.join(chain)}" for chain in found.chains]
    lines += [f"delete table ip {OWN_TABLE}"] if found.has_table else []
    return "".join(f"{line}\n" for line in lines)


def _is_expired(rule: ChainRule, held: Collection[str] | None) -> bool:
    match = _HOST_PORT.fullmatch(rule.comment)
    return held is not None and match is not None and match[1] not in held


def _chains(asking: socket.socket) -> Iterator[tuple[str, str, str]]:
    for family, number in FAMILIES.items():
        for body in _dump(asking, _GET_CHAIN, number, b""):
            parts = parse_attributes(body[_NFGENMSG.size :])
            yield family, _text(parts.get(_CHAIN_TABLE)), _text(parts.get(_CHAIN_NAME))


def _rules_of(
    asking: socket.socket, chains: Collection[tuple[str, str, str]], table: str, chain: str
) -> Iterator[ChainRule]:
    for family, number in FAMILIES.items():
        if (family, table, chain) in chains:
            selection = dump_attribute(_RULE_TABLE, table.encode() + b"\0")
            selection += dump_attribute(_RULE_CHAIN, chain.encode() + b"\0")
            for body in _dump(asking, _GET_RULE, number, selection):
                yield parse_rule(family, body)


def parse_rule(family: str, body: bytes) -> ChainRule:
    """Returns the rule that an NFT_MSG_NEWRULE message describes."""
    parts = parse_attributes(body[_NFGENMSG.size :])
    comment = target = ""
    for expression in _elements(parts.get(_RULE_EXPRESSIONS, b"")):
        fields = parse_attributes(expression)
        data = parse_attributes(fields.get(_EXPRESSION_DATA, b""))
        match _text(fields.get(_EXPRESSION_NAME)):
            case "match" if _text(data.get(_MATCH_NAME)) == "comment":
                comment = _text(data.get(_MATCH_INFO))
            case "immediate":
                verdict = parse_attributes(parse_attributes(data.get(_IMMEDIATE_DATA, b"")).get(_DATA_VERDICT, b""))
                target = _text(verdict.get(_VERDICT_CHAIN))
            case _:
                pass
    handle = int.from_bytes(parts.get(_RULE_HANDLE, b""), "big")
    return ChainRule(family, _text(parts.get(_RULE_TABLE)), _text(parts.get(_RULE_CHAIN)), handle, comment, target)


def _elements(data: bytes) -> Iterator[bytes]:
    """Yields the payloads of a list of attributes, all of one type."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, _kind = _ATTRIBUTE.unpack_from(data, offset)
        yield data[offset + _ATTRIBUTE.size : offset + length]
        offset += max(length + 3 & ~3, _ATTRIBUTE.size)


def _dump(asking: socket.socket, kind: int, family: int, selection: bytes) -> Iterator[bytes]:
    asking.send(dump_message(Message(kind, NLM_F_DUMP, _NFGENMSG.pack(family, 0, 0) + selection), 1))
    while True:
        for _sequence, answer in parse_messages(asking.recv(1 << 16)):
            if answer.type == NLMSG_DONE:
                return
            if answer.type == NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer.body)[0]
                if number in {0, errno.ENOENT}:
                    return
                raise OSError(number, os.strerror(number))
            yield answer.body


def _text(payload: bytes | None) -> str:
    return (payload or b"").partition(b"\0")[0].decode(errors="replace")
