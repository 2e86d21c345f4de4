"""Programs pods' networks: veths into their namespaces, addresses, routes and neighbours, nothing else on the node.

Decides the order of steps and what is undone; what each link needs is ``pod_links``'s. Work runs in two threads, so
that the loop is never blocked.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eni_cni_shim.plugin import messages, netlink, pod_links, sysctls
from eni_cni_shim.plugin.addresspool import Assignment, PodLink
from eni_cni_shim.plugin.pod_links import Made
from eni_cni_shim.plugin.workers import Workers

RETIRED_GROUP: Final = 0x454E49
"""Link group ("ENI") of host ends that DEL has set down. Deleting one veth waits 20 ms for RCU; a group waits once."""
REAP_SECONDS: Final = 0.05

logger = logging.getLogger(__name__)


class NetnsError(Exception):
    """The namespace cannot be worked in."""


class PodNetworkError(Exception):
    """The kernel refused."""


class PodNetwork:
    """The pods' side of this node's network; to be used from one event loop and closed in the end."""

    def __init__(self, proc_sys: Path = Path("/proc/sys")) -> None:
        """Makes the threads; ``proc_sys`` is where the sysctls of the calling thread's namespace can be written."""
        self._proc_sys = proc_sys
        self._workers = Workers(2, "pod-network", netlink.Home)
        self._reaper = Workers(1, "veth-reaper", netlink.Home)
        self._timer: asyncio.TimerHandle | None = None

    async def add(self, netns: int, assignment: Assignment, mtu: int) -> int:
        """Sets up the sandbox's links; does nothing to those that are there already as they should be.

        Returns:
            The number of the first link in its pod, see ``pod_links.place``.

        Raises:
            NetnsError: the descriptor is not of a network namespace other than the host's.
            PodNetworkError: the kernel refused; what was done is left for ``remove``.
        """
        return await self._workers.run(lambda home: add(home, netns, assignment, mtu, self._proc_sys))

    async def check(self, netns: int, assignment: Assignment, mtu: int) -> list[str]:
        """Returns in sentences where the kernel differs from what ``add`` has set up; raises as ``add`` does."""
        return await self._workers.run(lambda home: check(home, netns, assignment, mtu))

    async def remove(self, assignment: Assignment) -> None:
        """Takes the sandbox off the network at once, its veths are deleted a moment later; raises PodNetworkError."""
        if await self._workers.run(lambda home: remove(home, assignment)) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REAP_SECONDS, self._start_reaping)

    async def aclose(self) -> None:
        """Deletes what is still to be deleted and ends the threads."""
        if self._timer is not None:
            self._timer.cancel()
        await self._reaper.run(reap)
        self._workers.close()
        self._reaper.close()

    def _start_reaping(self) -> None:
        self._timer = None  # from here on a removal starts the next round
        self._reaper.start(reap)


def add(home: netlink.Home, netns: int, assignment: Assignment, mtu: int, proc_sys: Path = Path("/proc/sys")) -> int:
    """Does what ``PodNetwork.add`` says, in the calling thread."""
    with _pod_socket(home, netns) as pod_socket, _refusals(f"set up {_described(assignment)}"):
        made = []
        first = _place(pod_socket, assignment)
        for index, link in enumerate(assignment.links):
            veth = _ensure_veth(home, pod_socket, index, assignment, netns, mtu)
            if veth is not None:
                sysctls.guard_host_end(proc_sys, link.host_ifname)
                made.append(Made(first + index, link, veth))
        if made:
            _enable_ipv6(home, netns, [each.link for each in made], proc_sys)
            _program(home.socket, pod_socket, made, assignment)
        return first


def check(home: netlink.Home, netns: int, assignment: Assignment, mtu: int) -> list[str]:
    """Does what ``PodNetwork.check`` says, in the calling thread."""
    with _pod_socket(home, netns) as pod_socket, _refusals(f"read the network of {assignment.address}"):
        indexes = range(len(assignment.links))
        return [f for index in indexes for f in _differences(home.socket, pod_socket, index, assignment, mtu)]


def remove(home: netlink.Home, assignment: Assignment) -> bool:
    """Takes the host ends down, which takes their routes along; returns False when all were gone, as with the netns."""
    return sum(_retire(home.socket, link.host_ifname) for link in assignment.links) > 0


def reap(home: netlink.Home) -> None:
    """Deletes the veths that ``remove`` has taken down; what cannot be deleted now stays for the next time."""
    try:
        home.socket.request(messages.delete_group(RETIRED_GROUP))
    except OSError as error:
        if error.errno != errno.ENODEV:
            logger.warning("removed veths could not be deleted", extra={"error": str(error)})


def _pod_socket(home: netlink.Home, netns: int) -> netlink.Socket:
    """Returns a socket in the pod's namespace; raises NetnsError."""
    try:
        if home.is_in(netns):
            raise NetnsError("it is the host's own namespace; a pod's is needed")
        return home.open_in(netns)
    except OSError as error:
        raise NetnsError(f"it cannot be entered as a network namespace: {error.strerror}") from error


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PodNetworkError(f"the kernel refused to {what}: {error.strerror}") from error
    except sysctls.SysctlError as error:
        raise PodNetworkError(str(error)) from error


def _described(assignment: Assignment) -> str:
    return ", ".join(f"{link.ifname} for {' and '.join(link.addresses)}" for link in assignment.links)


def _ensure_veth(
    home: netlink.Home, pod_socket: netlink.Socket, index: int, assignment: Assignment, netns: int, mtu: int
) -> messages.Link | None:
    """Returns the host's end of a new veth; None when the whole link is there already."""
    pair = pod_links.veth_of(assignment.links[index], netns, mtu)
    try:
        return _create(home.socket, pair)
    except FileExistsError:
        if not _differences(home.socket, pod_socket, index, assignment, mtu):
            return None
        # Of this sandbox by its name: just removed, or half made by an agent that was killed.
        _retire(home.socket, pair.name)
        reap(home)
        return _create(home.socket, pair)


def _create(host_socket: netlink.Socket, veth: messages.Veth) -> messages.Link:
    answers = host_socket.request(messages.new_veth(veth), messages.get_link(veth.name))
    return messages.parse_link(answers[0].body)


def _program(host_socket: netlink.Socket, pod_socket: netlink.Socket, made: list[Made], assignment: Assignment) -> None:
    rules = pod_links.rules_of(pod_socket) if any(each.number for each in made) else ()
    try:
        pod_socket.request(*(message for each in made for message in pod_links.pod_messages(each, rules)))
        table = assignment.route_table
        host_socket.request(*(message for each in made for message in pod_links.host_messages(each, table)))
        # The pod's end has its carrier only now and drops what it sends until the kernel's link watch has come by, up
        # to a second later. Asking for the link makes that happen at once (rtnl_getlink() since Linux 6.8).
        pod_socket.request(*(messages.get_link(each.link.ifname) for each in made))
    except OSError:
        for message in (message for each in made for message in pod_links.rule_removals(each)):
            with contextlib.suppress(OSError):  # links go from the host, rules of the pod do not go with them
                pod_socket.request(message)
        raise


def _enable_ipv6(home: netlink.Home, netns: int, links: list[PodLink], proc_sys: Path) -> None:
    """Lets both ends of the links that have an IPv6 address have it."""
    with_ipv6 = [link for link in links if pod_links.has_ipv6(link)]
    if with_ipv6:
        sysctls.enable_ipv6(proc_sys, *(link.host_ifname for link in with_ipv6))
        with home.away_in(netns):
            sysctls.enable_ipv6(proc_sys, "lo", *(link.ifname for link in with_ipv6))


def _retire(host_socket: netlink.Socket, ifname: str) -> bool:
    with _refusals(f"remove {ifname}"):
        try:
            host_socket.request(messages.retire_link(ifname, RETIRED_GROUP))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False
    return True


def _differences(
    host_socket: netlink.Socket, pod_socket: netlink.Socket, index: int, assignment: Assignment, mtu: int
) -> list[str]:
    link = assignment.links[index]
    host, pod, _ = pod_links.ends(link)
    host_link, pod_link = _find_link(host_socket, host.name), _find_link(pod_socket, pod.name)
    found = pod_links.link_differences(pod, pod_link, mtu) + pod_links.link_differences(host, host_link, mtu)
    if pod_link is None or host_link is None:
        return found
    if host_link.peer_ifindex != pod_link.ifindex:
        found.append(f"{host.name} does not lead to {pod.name}")
    made = Made(_place(pod_socket, assignment) + index, link, host_link._replace(peer_ifindex=pod_link.ifindex))
    ipv6 = pod_links.has_ipv6(link)
    found += pod_links.pod_differences(made, pod_links.View(pod_socket, ipv6=ipv6))
    host_view = pod_links.View(host_socket, ipv6=ipv6)
    return found + pod_links.host_differences(made, host_view, assignment.route_table)


def _place(pod_socket: netlink.Socket, assignment: Assignment) -> int:
    routes = pod_links.routes_of(pod_socket, assignment.links)
    if not pod_links.ways(routes):
        return 0
    own = _find_link(pod_socket, assignment.links[0].ifname)
    return pod_links.place(routes, None if own is None else own.ifindex)


def _find_link(where: netlink.Socket, name: str) -> messages.Link | None:
    try:
        return messages.parse_link(where.request(messages.get_link(name))[0].body)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return None
