"""Tells that the host's network may have changed: links, addresses, routes, rules, sysctls and our nftables tables.

Does not say what changed, ``converge`` looks for itself. Pods come and go by the dozen, and their links, routes and
settings are not the host's network: they are told apart by a glance at the bytes. So are the tables of others in
nftables, where a kube-proxy may write ten thousand rules at a time: a name is looked for, nothing is parsed.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from eni_cni_shim.plugin.netlink import Message, find_attribute, parse_attributes, parse_messages
from eni_node_agent.network import links, rtnetlink, ruleset
from eni_node_agent.network.desired import LOCAL_TABLE, MAIN_TABLE, POD_TABLE

# Numbers of groups: RTNLGRP_* in linux/rtnetlink.h, NFNLGRP_NFTABLES in linux/netfilter/nfnetlink.h.
_LINKS, _IPV4_ADDRESSES, _IPV4_ROUTES, _IPV4_RULES, _IPV4_SETTINGS = 1, 5, 7, 8, 24
_IPV6_ROUTES, _IPV6_RULES, _IPV6_SETTINGS = 11, 19, 25
_IPV4_GROUPS: Final = (_LINKS, _IPV4_ADDRESSES, _IPV4_ROUTES, _IPV4_RULES, _IPV4_SETTINGS)
_ROUTING_GROUPS: Final = (*_IPV4_GROUPS, _IPV6_ROUTES, _IPV6_RULES, _IPV6_SETTINGS)
"""Not IPv6 addresses: we have none, and each pod's link gets one by itself."""
_NFTABLES_GROUP: Final = 7
_NETLINK_NETFILTER: Final = 12
_OUR_TABLE: Final = ruleset.TABLE.encode() + b"\0"
_TABLES_OF_OTHERS: Final = frozenset({MAIN_TABLE, LOCAL_TABLE, POD_TABLE})
_RTMSG_SIZE: Final = 12
_RTA_TABLE: Final = 15
_NETCONFMSG_SIZE: Final = 4
_NETCONF_OF_ONE_CHANGE: Final = 2
"""Attributes of an announcement that one setting changed: whose and what. That of a new link names all settings."""
_RECEIVE_BYTES: Final = 1 << 16


def concerns_host(message: Message, veth_prefix: str) -> bool:
    """Returns whether the message may be about the host's network and not only about a pod."""
    match message.type:
        case rtnetlink.RTM_NEWLINK | rtnetlink.RTM_DELLINK:
            return not links.parse_ifname(message.body).startswith(veth_prefix)
        case rtnetlink.RTM_NEWROUTE | rtnetlink.RTM_DELROUTE:
            return _concerns_route(message)
        case rtnetlink.RTM_NEWNETCONF:
            return len(parse_attributes(message.body[_NETCONFMSG_SIZE:])) <= _NETCONF_OF_ONE_CHANGE
        case rtnetlink.RTM_DELNETCONF:
            return False
        case _:
            return True


def _concerns_route(message: Message) -> bool:
    table = rtnetlink.number(find_attribute(message.body[_RTMSG_SIZE:], _RTA_TABLE))
    # With its link a pod's IPv4 route goes without a word: one that is announced to be deleted was deleted by somebody.
    is_pod_deleted = table == POD_TABLE and message.type == rtnetlink.RTM_DELROUTE
    return (is_pod_deleted and message.body[0] == rtnetlink.AF_INET) or table not in _TABLES_OF_OTHERS


def names_our_table(announcement: bytes) -> bool:
    """Returns whether an announcement of nftables is about one of our tables, ``announcement`` being a datagram."""
    return _OUR_TABLE in announcement


class Events:
    """Sets ``happened`` when the network of the caller's namespace may have changed. Made inside a running loop."""

    def __init__(self, veth_prefix: str) -> None:
        self.happened = asyncio.Event()
        self._veth_prefix = veth_prefix
        self._loop = asyncio.get_running_loop()
        self._sockets = [
            self._listen(socket.NETLINK_ROUTE, _ROUTING_GROUPS, self._is_about_routing),
            self._listen(_NETLINK_NETFILTER, (_NFTABLES_GROUP,), names_our_table),
        ]

    def close(self) -> None:
        """Stops listening."""
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()

    def _listen(self, family: int, groups: tuple[int, ...], concerns: Callable[[bytes], bool]) -> socket.socket:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        listener.bind((0, sum(1 << group - 1 for group in groups)))
        listener.settimeout(0)
        self._loop.add_reader(listener, self._read, listener, concerns)
        return listener

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

    def _is_about_routing(self, data: bytes) -> bool:
        return any(concerns_host(message, self._veth_prefix) for _sequence, message in parse_messages(data))
