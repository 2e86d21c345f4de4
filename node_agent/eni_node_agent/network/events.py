"""Tells that the host's network may have changed: links, addresses, routes, rules, sysctls and our nftables tables.

Does not say what changed, ``converge`` looks for itself. Pods come and go by the dozen, and their links, routes and
settings are not the host's network: ``pod_filter`` has the kernel keep those to itself. The tables of others in
nftables, where a kube-proxy may write ten thousand rules at a time, are told apart by a glance at the bytes: a name is
looked for, nothing is parsed.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from eni_node_agent.network import pod_filter, ruleset

# Numbers of groups: RTNLGRP_* in linux/rtnetlink.h, NFNLGRP_NFTABLES in linux/netfilter/nfnetlink.h.
_LINKS, _IPV4_ADDRESSES, _IPV4_ROUTES, _IPV4_RULES, _IPV4_SETTINGS = 1, 5, 7, 8, 24
_IPV6_ROUTES, _IPV6_RULES, _IPV6_SETTINGS = 11, 19, 25
_IPV4_GROUPS: Final = (_LINKS, _IPV4_ADDRESSES, _IPV4_ROUTES, _IPV4_RULES, _IPV4_SETTINGS)
_ROUTING_GROUPS: Final = (*_IPV4_GROUPS, _IPV6_ROUTES, _IPV6_RULES, _IPV6_SETTINGS)
"""Not IPv6 addresses: we have none, and each pod's link gets one by itself."""
_NFTABLES_GROUP: Final = 7
_NETLINK_NETFILTER: Final = 12
_OUR_TABLE: Final = ruleset.TABLE.encode() + b"\0"
_RECEIVE_BYTES: Final = 1 << 16


def names_our_table(announcement: bytes) -> bool:
    """Returns whether an announcement of nftables is about one of our tables, ``announcement`` being a datagram."""
    return _OUR_TABLE in announcement


class Events:
    """Sets ``happened`` when the network of the caller's namespace may have changed. Made inside a running loop."""

    def __init__(self, veth_prefix: str) -> None:
        self.happened = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        routing, nftables = _open(socket.NETLINK_ROUTE), _open(_NETLINK_NETFILTER)
        pod_filter.attach(routing, veth_prefix)
        self._sockets = [routing, nftables]
        self._listen(routing, _ROUTING_GROUPS, lambda _: True)
        self._listen(nftables, (_NFTABLES_GROUP,), names_our_table)

    def close(self) -> None:
        """Stops listening."""
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()

    def _listen(self, listener: socket.socket, groups: tuple[int, ...], concerns: Callable[[bytes], bool]) -> None:
        listener.bind((0, sum(1 << group - 1 for group in groups)))
        self._loop.add_reader(listener, self._read, listener, concerns)

    def _read(self, listener: socket.socket, concerns: Callable[[bytes], bool]) -> None:
        try:
            data = listener.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.happened.set()  # announcements were lost: anything may have changed
            return
        if not self.happened.is_set() and concerns(data):
            self.happened.set()


def _open(family: int) -> socket.socket:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    listener.settimeout(0)
    return listener
