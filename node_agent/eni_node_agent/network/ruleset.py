"""Decides the text of our nftables tables. Pure; ``firewall`` loads it and looks whether it stays.

The chains are of type filter where VPC CNI's are nat: once a nat chain has translated a connection (kube-proxy at
-100) the kernel asks no further nat chain, so a service with an endpoint outside the VPC would never be marked.

A transaction of nftables is atomic to people, not quite to packets: rules switch at one stroke, but a new set is empty
to them until a moment later, and a packet on its way may have passed the place of a new chain. Hence an update keeps
table and chains and changes their rules (``update``), after the set they name has been filled (``filling``).
"""

from collections.abc import Iterator
from typing import Final

from eni_crds.nodeippool import Family
from eni_node_agent.network.desired import Egress, Firewall, Snat, SnatPorts
from eni_node_agent.network.desired.numbers import MULTICAST_CIDRS

TABLE: Final = "eni-agent"
SETS: Final = ("exempt-1", "exempt-2")
"""Names of the set of destinations that see the pod's own address; an update fills the one not in use."""
_CHAINS: Final = ("arriving", "leaving", "translating", "lending", "shielding")
_FLAGS = {SnatPorts.PRNG: " fully-random", SnatPorts.HASHRANDOM: " random", SnatPorts.NONE: ""}
_WORDS = {Family.IPV4: "ip", Family.IPV6: "ip6"}


def name_of(family: Family) -> str:
    """Returns family and name of our table, as commands of nftables take them."""
    return f"{_WORDS[family]} {TABLE}"


def removal(family: Family) -> str:
    """Returns the commands after which there is no table of ours, whether or not there was one."""
    return f"table {name_of(family)}\ndelete table {name_of(family)}\n"


def replacement(firewall: Firewall) -> str:
    """Returns the commands that put the table in place of whatever was there, in one transaction.

    Sample: node eth0 10.0.0.10, VPC 10.0.0.0/16, pod 10.0.1.20 on secondary ENI eth1 behind the veth eni5d0c1.

    - A client 198.51.100.7 calls node port 10.0.0.10:30080: ``arriving`` marks the connection before kube-proxy turns
      it to 10.0.1.20; the pod's answers get the mark back in ``leaving`` and so the main table, not eth1's.
    - The pod calls 198.51.100.2: ``leaving`` marks the connection, after any service address was translated;
      main table, eth0, and ``translating`` gives it 10.0.0.10.
    - The pod calls 10.0.2.30 of the VPC or the node itself: no mark, its own ENI, its own address.
    - A pod of IPv6 alone with the node-local address 169.254.172.5 calls 198.51.100.2: ``lending`` gives it 10.0.0.10.
      Another pod of the node calls 169.254.172.5: ``shielding`` refuses. The node itself may.
    """
    if firewall.is_empty:
        return removal(firewall.family)
    filled = _filled(firewall.snat, SETS[0])
    return f"{removal(firewall.family)}table {name_of(firewall.family)} {{\n{filled}{_body(firewall, SETS[0])}}}\n"


def set_in_use(listing: str) -> str:
    """Returns which of ``SETS`` the rules of a listed table name; the first where they name none."""
    return next((name for name in SETS if f"@{name}" in listing), SETS[0])


def other_set(name: str) -> str:
    """Returns the one of ``SETS`` that is not ``name``."""
    return SETS[1 - SETS.index(name)]


def filling(firewall: Firewall, exempt: str) -> str:
    """Returns the commands that fill the set no rule names yet, to be loaded before ``update``; empty without a set."""
    if firewall.snat is None:
        return ""
    named = f"set {name_of(firewall.family)} {exempt}"
    head = f"table {name_of(firewall.family)}\nadd {named} {_SET}\nflush {named}\n"
    return head + f"table {name_of(firewall.family)} {{\n{_filled(firewall.snat, exempt)}}}\n"


def update(firewall: Firewall, exempt: str) -> str:
    """Returns the commands that change the rules of the table that is there, which name the filled set ``exempt``."""
    if firewall.is_empty:
        return removal(firewall.family)
    name = name_of(firewall.family)
    stale = [chain for chain in _CHAINS if chain not in dict(_chains(firewall, exempt))]
    unused = SETS if firewall.snat is None else (other_set(exempt),)
    lines = [f"table {name}", f"flush table {name}"]
    lines += [f"{verb} chain {name} {chain}" for chain in stale for verb in ("add", "delete")]
    lines += [f"table {name} {{", f"{_body(firewall, exempt)}}}"]
    return "\n".join(lines) + "\n" + "".join(emptying(firewall.family, each) for each in unused)


def emptying(family: Family, exempt: str) -> str:
    """Returns the commands after which there is no such set, whether or not there was one."""
    named = f"set {name_of(family)} {exempt}"
    return f"add {named} {_SET}\ndelete {named}\n"


_SET: Final = "{ type ipv4_addr; flags interval; }"


def _filled(snat: Snat | None, exempt: str) -> str:
    if snat is None:
        return ""
    elements = f" elements = {{ {', '.join(snat.exempt)} }};" if snat.exempt else ""
    return f"  set {exempt} {{ type ipv4_addr; flags interval;{elements} }}\n"


def _body(firewall: Firewall, exempt: str) -> str:
    return "".join(text for _, text in _chains(firewall, exempt))


def _chains(firewall: Firewall, exempt: str) -> Iterator[tuple[str, str]]:
    if firewall.node_port:
        yield "arriving", _arriving(firewall)
    if firewall.node_port or firewall.snat is not None:
        yield "leaving", _leaving(firewall, exempt)
    if firewall.snat is not None:
        yield "translating", _translating(firewall, firewall.snat, exempt)
    if firewall.egress is not None:
        yield "lending", _lending(firewall, firewall.egress)
        yield "shielding", _shielding(firewall, firewall.egress)


def _arriving(firewall: Firewall) -> str:
    return _chain(
        "arriving",
        "filter hook prerouting priority mangle",
        f'iifname "{firewall.primary_ifname}" fib daddr . iif type local ct mark set ct mark or {firewall.mark:#x}',
    )


def _leaving(firewall: Firewall, exempt: str) -> str:
    pods = f'iifname "{firewall.veth_prefix}*"'
    mark = f"{firewall.mark:#x}"
    outbound = f"{pods} ct state new fib daddr type != local ip daddr != @{exempt} ct mark set ct mark or {mark}"
    restore = f"{pods} ct mark and {mark} == {mark} meta mark set meta mark or {mark}"
    rules = (restore,) if firewall.snat is None else (outbound, restore)
    return _chain("leaving", "filter hook prerouting priority -90", *rules)


def _translating(firewall: Firewall, snat: Snat, exempt: str) -> str:
    marked = f"ct mark and {firewall.mark:#x} == {firewall.mark:#x}"
    target = f"snat to {snat.address}{_FLAGS[snat.ports]}"
    return _chain(
        "translating",
        "nat hook postrouting priority srcnat",
        f'oifname "{firewall.primary_ifname}" {marked} ip daddr != @{exempt} {target}',
    )


def _lending(firewall: Firewall, egress: Egress) -> str:
    word = _WORDS[firewall.family]
    flow = f"{word} saddr {egress.cidr} {word} daddr != {MULTICAST_CIDRS[firewall.family]}"
    target = "masquerade" if egress.address is None else f"snat to {egress.address}"
    return _chain(
        "lending",
        "nat hook postrouting priority srcnat",
        f'oifname != "{firewall.veth_prefix}*" {flow} {target}{_FLAGS[egress.ports]}',
    )


def _shielding(firewall: Firewall, egress: Egress) -> str:
    refused = f"{_WORDS[firewall.family]} daddr {egress.cidr} ct state new reject"
    return _chain("shielding", "filter hook forward priority filter", refused)


def _chain(name: str, hook: str, *rules: str) -> str:
    body = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    type {hook}; policy accept;\n{body}  }}\n"
