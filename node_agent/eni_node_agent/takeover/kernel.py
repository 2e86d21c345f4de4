"""Reads and changes what VPC CNI keeps in the kernel's routing: routes to pods, policy rules, ENIs' addresses.

Decides nothing; ``plan`` and ``takeover`` do. Rules are kept as the kernel gave them, so that one is taken over or
removed to the letter whatever its shape; those of ours are known by ``OUR_PROTOCOL``.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Final, Self

from eni_cni_shim.plugin.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Socket,
    dump_attribute,
    parse_attributes,
)
from eni_node_agent.network import links, rtnetlink
from eni_node_agent.network.desired import ENI_SOURCE_PRIORITY, MAIN_TABLE, POD_TABLE
from eni_node_agent.network.drift import OUR_PROTOCOL, Link
from eni_node_agent.takeover.plan import PolicyRule, Settlement

_HEADER: Final = struct.Struct("=BBBBBBBBI")
"""rtmsg and fib_rule_hdr: family, destination length, source length, tos, table, three more, flags."""
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_RTA_DST, _RTA_OIF, _RTA_TABLE = 1, 4, 15
_FRA_DST, _FRA_SRC, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 1, 2, 6, 10, 15, 16, 21
_PROTOCOL_OFFSET: Final = 5
_STATIC, _SCOPE_LINK, _UNICAST = 4, 253, 1
_WHOLE: Final[Mapping[int, int]] = {socket.AF_INET: 32, socket.AF_INET6: 128}


class Kernel:
    """The routing of the network namespace of the thread that makes it. For one thread; raises OSError."""

    def __init__(self) -> None:
        self._socket = Socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.__exit__(*exc)

    def links(self) -> dict[str, Link]:
        """Returns the links by name."""
        return links.read_links(self._socket)

    def host_routes(self) -> dict[str, str]:
        """Returns the link by address of the main table's routes to single addresses."""
        names = {link.index: link.ifname for link in self.links().values()}
        found: dict[str, str] = {}
        for family in _FAMILIES:
            for body in rtnetlink.dump(self._socket, rtnetlink.RTM_GETROUTE, _asking(family)):
                length, parts = body[1], parse_attributes(body[_HEADER.size :])
                ifname = names.get(rtnetlink.number(parts.get(_RTA_OIF)))
                is_main = rtnetlink.number(parts.get(_RTA_TABLE)) == MAIN_TABLE
                if is_main and length == _WHOLE[family] and _RTA_DST in parts and ifname:
                    found[str(ip_address(parts[_RTA_DST]))] = ifname
        return found

    def our_tables(self) -> set[int]:
        """Returns the tables that have routes of ours."""
        asking = [_asking(family) for family in _FAMILIES]
        bodies = [body for header in asking for body in rtnetlink.dump(self._socket, rtnetlink.RTM_GETROUTE, header)]
        ours = (parse_attributes(body[_HEADER.size :]) for body in bodies if body[_PROTOCOL_OFFSET] == OUR_PROTOCOL)
        return {rtnetlink.number(parts.get(_RTA_TABLE)) for parts in ours} - {MAIN_TABLE, POD_TABLE}

    def ensure_pod_route(self, address: str, index: int) -> None:
        """Routes an address to a link in the pod table, as the CNI plugin does for a pod of ours."""
        packed = ip_address(address).packed
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        header = _HEADER.pack(family, _WHOLE[family], 0, 0, 0, _STATIC, _SCOPE_LINK, _UNICAST, 0)
        parts = dump_attribute(_RTA_TABLE, rtnetlink.word(POD_TABLE)) + dump_attribute(_RTA_DST, packed)
        body = header + parts + dump_attribute(_RTA_OIF, rtnetlink.word(index))
        self._socket.request(Message(rtnetlink.RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body))

    def rules(self) -> list[PolicyRule]:
        """Returns the policy rules of both families, in the order the kernel tries them."""
        return [
            parse_rule(body)
            for family in _FAMILIES
            for body in rtnetlink.dump(self._socket, rtnetlink.RTM_GETRULE, _asking(family))
        ]

    def settle(self, settlement: Settlement) -> None:
        """Does what was decided."""
        for rule in settlement.own:
            self.own(rule)
        for rule in settlement.remove:
            self.remove(rule)

    def own(self, rule: PolicyRule) -> None:
        """Puts our own in the place of another's rule. A rule of this kind is there all the while.

        Whether it stays is then ``converge``'s to decide, which removes what is ours and not wanted.
        """
        with contextlib.suppress(FileExistsError):
            self._socket.request(Message(rtnetlink.RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _as_ours(rule.body)))
        self.remove(rule)

    def remove(self, rule: PolicyRule) -> None:
        """Removes another's rule; one that is gone is no error.

        The kernel takes the first that fits, whoever's it is where the other has no protocol number. Should that be
        ours, which is as good, the other goes the next time.
        """
        try:
            self._socket.request(Message(rtnetlink.RTM_DELRULE, 0, rule.body))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def own_addresses(self, primaries: Collection[str]) -> None:
        """Puts our own in the place of an ENI's primary address, while the link's routes stay.

        With the last address of a link the kernel drops its routes: 10.0.1.20/24 of eth1, which VPC CNI added with a
        connected route, may go only while 10.0.1.20/32 is there.
        """
        found = self.links()
        names = {link.index: link.ifname for link in found.values()}
        for address, facts in links.read_addresses(self._socket, names).items():
            ip, _, length = address.interface.partition("/")
            if ip not in primaries or length == "32" or not facts.has_connected_route:
                continue
            index = found[address.ifname].index
            with contextlib.suppress(FileExistsError):  # of an agent that was killed right here
                self._socket.request(links.add_address(index, f"{ip}/32"))
            self._socket.request(
                links.remove_address(index, address.interface),
                links.add_address(index, address.interface),
                links.remove_address(index, f"{ip}/32"),
            )


def parse_rule(body: bytes) -> PolicyRule:
    """Returns the rule that a RTM_NEWRULE message describes."""
    family, destination, source, _tos, table, *_ = _HEADER.unpack_from(body)
    parts = parse_attributes(body[_HEADER.size :])
    mark, mask = rtnetlink.number(parts.get(_FRA_FWMARK)), rtnetlink.number(parts.get(_FRA_FWMASK))
    return PolicyRule(
        body,
        priority=rtnetlink.number(parts.get(_FRA_PRIORITY)),
        table=rtnetlink.number(parts.get(_FRA_TABLE)) or table,
        source=str(ip_address(parts[_FRA_SRC])) if source and source == _WHOLE.get(family) else "",
        destination=f"{ip_address(parts[_FRA_DST])}/{destination}" if destination else "",
        mark=mark if mark == mask else 0,
        is_ours=rtnetlink.number(parts.get(_FRA_PROTOCOL)) == OUR_PROTOCOL,
    )


def eni_primaries(rules: Collection[PolicyRule]) -> Iterator[str]:
    """Yields the primary addresses of the secondary ENIs that VPC CNI has set up, which its rules at 32765 name."""
    yield from (rule.source for rule in rules if rule.priority == ENI_SOURCE_PRIORITY and rule.source)


def _as_ours(body: bytes) -> bytes:
    parts = parse_attributes(body[_HEADER.size :]) | {_FRA_PROTOCOL: bytes([OUR_PROTOCOL])}
    return body[: _HEADER.size] + b"".join(dump_attribute(kind, payload) for kind, payload in parts.items())


def _asking(family: int) -> bytes:
    return _HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
