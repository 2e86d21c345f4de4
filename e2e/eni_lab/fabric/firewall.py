"""What the VPC drops, as one nftables table a family: spoofed sources, and traffic that has no way to the internet.

AWS checks source and destination of every ENI ("source/destination checking", VPC user guide). The destination is
checked by the routes; the source here, at the entrance: the link, the MAC and the address must belong together.
Each drop is counted by the ENI's link and the source address. ``rules`` and ``elements`` are pure text.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from eni_lab.fabric.desired import LINK_PREFIX
from eni_lab.kube.addresses import CLOUD_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from eni_lab.fabric.desired import FabricState

TABLE = "eni_fabric"
FAMILIES = ("ip", "ip6")
"""Of nftables; there is a table of the same name in each."""
ORDINARY_MSS = 1460
"""Bytes of TCP in an Ethernet frame (RFC 9293, 3.7.1)."""
INTERNET_LINK = "igw0"
"""The router's link to the host outside the VPC."""
DROP_REASONS = {
    "spoofed": "source address or MAC is not the ENI's",
    "no_way_out": "only an ENI's primary address has a way to the internet",
}
"""The sets that count drops, and what an entry means."""


Outage = Literal["refused", "unheard"]
"""How a caller finds the AWS endpoint: it gets a reset at once, or never an answer."""
OUTAGES: tuple[Outage, ...] = get_args(Outage)
_DISCOVERY = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit"


@dataclass(frozen=True, slots=True)
class Drop:
    """Packets lost so far from one source address at one link."""

    link: str
    source: str
    reason: str
    packets: int


def rules(local_addresses: Iterable[str], peers: Iterable[str]) -> str:
    """The tables of both families without their elements.

    A full counting set (4096 entries) stops counting and goes on dropping, hence two rules.

    Args:
        local_addresses: those of the router that ENIs may talk to.
        peers: hosts beyond the VPC that every address of an ENI may talk to, as over a peering connection.
    """
    return _ipv4_rules(", ".join(local_addresses), ", ".join(peers)) + _ipv6_rules()


def _ipv4_rules(local_addresses: str, peers: str) -> str:
    return f"""
table ip {TABLE} {{
  set sources {{ type ifname . ether_addr . ipv4_addr; flags interval; }}
  set primaries {{ type ifname . ipv4_addr; }}
  set peers {{ type ipv4_addr; elements = {{ {peers} }}; }}
  set spoofed {{ type ifname . ipv4_addr; flags dynamic; counter; size 4096; }}
  set no_way_out {{ type ifname . ipv4_addr; flags dynamic; counter; size 4096; }}
  set refused {{ type ipv4_addr; }}
  set unheard {{ type ipv4_addr; }}

  # "v6789abcdef0" . 02:00:00:00:00:01 . 10.0.1.10: before connection tracking, so that a spoofed packet leaves no trace
  chain entrance {{
    type filter hook prerouting priority raw; policy accept;
    iifname . ether saddr . ip saddr @sources accept
    iifname "{LINK_PREFIX}*" update @spoofed {{ iifname . ip saddr }}
    iifname "{LINK_PREFIX}*" drop
  }}

  # the VPC's router itself is silent; the control plane and the metadata service are not, and send ordinary frames:
  # larger ones of old connections would be lost once a node lowers its MTU
  chain router {{
    type filter hook input priority filter; policy accept;
    tcp flags & syn == syn tcp option maxseg size set {ORDINARY_MSS}
    iifname "{LINK_PREFIX}*" ip daddr != {{ {local_addresses} }} drop
    ip saddr @refused tcp dport {CLOUD_PORT} reject with tcp reset
    ip saddr @unheard tcp dport {CLOUD_PORT} drop
    iifname "{INTERNET_LINK}" drop
  }}

  # the internet gateway translates one public address per ENI, to and from its primary address; a peered network
  # is reached untranslated
  chain internet {{
    type filter hook forward priority filter; policy accept;
    oifname "{INTERNET_LINK}" ip daddr @peers accept
    iifname "{INTERNET_LINK}" ip saddr @peers accept
    oifname "{INTERNET_LINK}" iifname . ip saddr @primaries accept
    iifname "{INTERNET_LINK}" oifname . ip daddr @primaries accept
    oifname "{INTERNET_LINK}" update @no_way_out {{ iifname . ip saddr }}
    oifname "{INTERNET_LINK}" drop
    iifname "{INTERNET_LINK}" drop
  }}
}}
"""  # noqa: S608, these are nft's words


def _ipv6_rules() -> str:
    # every IPv6 address has its own way through the internet gateway, so there is nothing to check on the way out
    return f"""
table ip6 {TABLE} {{
  set sources {{ type ifname . ether_addr . ipv6_addr; flags interval; }}
  set spoofed {{ type ifname . ipv6_addr; flags dynamic; counter; size 4096; }}

  # a link-local address serves to find the router (RFC 4861: hop limit 255) and for nothing else; the search for
  # duplicates (from ::) and group reports are nothing to it
  chain entrance {{
    type filter hook prerouting priority raw; policy accept;
    iifname . ether saddr . ip6 saddr @sources accept
    iifname "{LINK_PREFIX}*" ip6 saddr fe80::/10 ip6 hoplimit 255 icmpv6 type {{ {_DISCOVERY} }} accept
    iifname "{LINK_PREFIX}*" ip6 saddr {{ ::, fe80::/10 }} drop
    iifname "{LINK_PREFIX}*" update @spoofed {{ iifname . ip6 saddr }}
    iifname "{LINK_PREFIX}*" drop
  }}

  chain router {{
    type filter hook input priority filter; policy accept;
    icmpv6 type {{ {_DISCOVERY} }} accept
    iifname {{ "{LINK_PREFIX}*", "{INTERNET_LINK}" }} drop
  }}
}}
"""


def elements(state: FabricState) -> str:
    """Replaces the elements of all sets in one transaction; counters stay."""
    sources: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for source in sorted(state.sources):
        family = "ip6" if ":" in source.cidr else "ip"
        sources[family].append(f'"{source.link}" . {source.mac} . {_cidr(source.cidr)}')
    primaries = sorted(f'"{link}" . {address}' for link, address in state.primaries)
    lines = [line for family, members in sources.items() for line in _replaced("sources", members, family)]
    return "\n".join([*lines, *_replaced("primaries", primaries)])


def cut_off(outages: Mapping[str, Outage]) -> None:
    """Makes the AWS endpoint, and nothing else, refuse or ignore these source addresses and no others."""
    members = {how: sorted(address for address, chosen in outages.items() if chosen == how) for how in OUTAGES}
    load("\n".join(line for how in OUTAGES for line in _replaced(how, members[how])))


def load(text: str) -> None:
    """Applies ``text`` in the namespace of the calling thread; RuntimeError with nft's own words when it refuses."""
    result = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"nft refused the fabric's table {TABLE}: {result.stderr.strip()}")


def drops() -> list[Drop]:
    """The counters of the namespace of the calling thread, of both families."""
    listing = ["nft", "-j", "list", "table"]
    families = [
        subprocess.run([*listing, family, TABLE], text=True, capture_output=True, check=True).stdout
        for family in FAMILIES
    ]
    return [drop for text in families for drop in parse_drops(text)]


def parse_drops(listing: str) -> list[Drop]:
    """The counters in the JSON that ``nft -j list table`` prints (libnftables-json(5))."""
    sets = [entry["set"] for entry in json.loads(listing)["nftables"] if "set" in entry]
    return [
        _drop(a_set["name"], element["elem"])
        for a_set in sets
        if a_set["name"] in DROP_REASONS
        for element in a_set.get("elem", [])
    ]


def _drop(set_name: str, element: dict[str, Any]) -> Drop:
    link, source = element["val"]["concat"]
    return Drop(link, source, DROP_REASONS[set_name], element["counter"]["packets"])


def _replaced(name: str, members: list[str], family: str = "ip") -> Iterator[str]:
    yield f"flush set {family} {TABLE} {name}"
    if members:
        yield f"add element {family} {TABLE} {name} {{ {', '.join(members)} }}"


def _cidr(cidr: str) -> str:
    """Without the length of a lone address, which nft does not accept beside intervals."""
    return cidr.removesuffix("/128" if ":" in cidr else "/32")
