"""Tells that the host's network may have changed: links, addresses, routes and rules, as the kernel announces them.

Does not say what changed, ``converge`` looks for itself. Pods come and go by the dozen, and their links and routes are
not the host's network: they are told apart by a glance at the bytes. nftables is not listened to, since a kube-proxy
that rewrites ten thousand rules would announce each of them; ``repair`` looks at our table now and then.
"""

import asyncio
import errno
import socket
from typing import Final

from eni_cni_shim.plugin.netlink import Message, find_attribute, parse_messages
from eni_node_agent.network import links, rtnetlink
from eni_node_agent.network.desired import MAIN_TABLE, POD_TABLE

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80  # RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE
_LOCAL_TABLE: Final = 255
_TABLES_OF_OTHERS: Final = frozenset({MAIN_TABLE, _LOCAL_TABLE, POD_TABLE})
_RTMSG_SIZE: Final = 12
_RTA_TABLE: Final = 15
_RECEIVE_BYTES: Final = 1 << 16


def concerns_host(message: Message, veth_prefix: str) -> bool:
    """Returns whether the message may be about the host's network and not only about a pod."""
    match message.type:
        case rtnetlink.RTM_NEWLINK | rtnetlink.RTM_DELLINK:
            return not links.parse_ifname(message.body).startswith(veth_prefix)
        case rtnetlink.RTM_NEWROUTE | rtnetlink.RTM_DELROUTE:
            table = find_attribute(message.body[_RTMSG_SIZE:], _RTA_TABLE)
            return rtnetlink.number(table) not in _TABLES_OF_OTHERS
        case _:
            return True


class Events:
    """Sets ``happened`` when the network of the caller's namespace may have changed. Made inside a running loop."""

    def __init__(self, veth_prefix: str) -> None:
        self.happened = asyncio.Event()
        self._veth_prefix = veth_prefix
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        self._socket.settimeout(0)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Stops listening."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.happened.set()  # announcements were lost: anything may have changed
            return
        messages = (message for _sequence, message in parse_messages(data))
        if not self.happened.is_set() and any(concerns_host(message, self._veth_prefix) for message in messages):
            self.happened.set()
