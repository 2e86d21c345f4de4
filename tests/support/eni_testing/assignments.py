"""Assignments for tests of the pod's network, of one link and of several, and what a pod could leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eni_cni_shim.plugin.addresspool import Assignment, PodLink, Sandbox, SandboxKey
from eni_testing.cni import POD_TABLE

if TYPE_CHECKING:
    from eni_testing.hosts import Host

MTU = 9001
V4, V6 = "10.0.1.23", "2001:db8:0:1::"
OTHER_V4, OTHER_V6 = "10.0.1.24", "2001:db8:0:1::1"


def link(number: int, *addresses: str, egress: str = "", name: str = "web") -> PodLink:
    """Returns the link of a pod on its n-th network card."""
    ifname = f"mNicIf{number}" if number else "eth0"
    return PodLink(ifname, f"eni{name}{number}", f"eni-{number}", addresses, egress)


def assignment(*links: PodLink, name: str = "web") -> Assignment:
    """Returns the assignment of a pod with these links."""
    return Assignment(Sandbox(SandboxKey("eni", name, "eth0")), links, POD_TABLE)


IPV6_ALONE = assignment(link(0, V6))
DUAL = assignment(link(0, V4, V6))
CARDS = assignment(link(0, V4, V6), link(1, "10.0.9.5", "2001:db8:0:9::5"), link(2, "10.0.17.6", "2001:db8:0:17::6"))
V6_EGRESS = assignment(link(0, V4, egress="fd00::ac:2"))
V4_EGRESS = assignment(link(0, V6, egress="169.254.172.2"))
KINDS = {"ipv6": IPV6_ALONE, "dual": DUAL, "cards": CARDS, "v6 egress": V6_EGRESS, "v4 egress": V4_EGRESS}


def one_link(number: int) -> Assignment:
    """Returns the assignment of a pod like most: one link with the address 10.0.1.``number``."""
    made = PodLink("eth0", f"eni{number:011x}", "eni-1", (f"10.0.1.{number}",))
    return Assignment(Sandbox(SandboxKey("eni", f"c{number}", "eth0")), (made,), POD_TABLE)


WEB = one_link(23)


def all_of(given: Assignment) -> list[str]:
    """Returns all addresses, node-local ones too."""
    return [address for each in given.links for address in each.all_addresses]


def state_of(host: Host, *families: str) -> str:
    """Returns all that a pod could leave behind on a host; of links not the carrier, which comes a moment later.

    Of both families, or of those named (``-4``, ``-6``): where a pod has no IPv6, its link's own addresses come and go.
    """
    links = [line.split()[0] for line in host.run(["ip", "-br", "link"]).stdout.splitlines()]
    objects = [["route", "show", "table", "all"], ["rule"], ["neigh"], ["-br", "address"]]
    shown = [host.run(["ip", flag, *words]).stdout for flag in families or ("-4", "-6") for words in objects]
    return "\n".join(links + shown)
