"""Programs a pod's network: a veth into its namespace, addresses, routes and neighbours, nothing else on the node.

For the pod 10.0.1.23 with interface eth0, and host end eni0a1b2c3d4e5:

    pod    eth0 (ea:58:0a:00:01:17)  10.0.1.23/32
           169.254.1.1 dev eth0 scope link; default via 169.254.1.1
           169.254.1.1 lladdr ee:58:0a:00:01:17 permanent
    host   eni0a1b2c3d4e5 (ee:58:0a:00:01:17), no address
           10.0.1.23 dev eni0a1b2c3d4e5 scope link, in the table of pod routes
           10.0.1.23 lladdr ea:58:0a:00:01:17 permanent

The gateway is on no interface: the permanent entries answer for ARP, and both MACs follow from the address. How packets
go on from the host belongs to the agent's ``network``. Work runs in two threads, so that
the loop is never blocked.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from eni_cni_shim import spec
from eni_cni_shim.plugin import messages, netlink
from eni_cni_shim.plugin.addresspool import Assignment

RETIRED_GROUP: Final = 0x454E49
"""Link group ("ENI") of host ends that DEL has set down. Deleting one veth waits 20 ms for RCU; a group waits once."""
REAP_SECONDS: Final = 0.05

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class NetnsError(Exception):
    """The namespace cannot be worked in."""


class PodNetworkError(Exception):
    """The kernel refused."""


class PodNetwork:
    """The pods' side of this node's network; to be used from one event loop and closed in the end."""

    def __init__(self) -> None:
        self._workers = ThreadPoolExecutor(2, "pod-network")
        self._reaper = ThreadPoolExecutor(1, "veth-reaper")
        self._timer: asyncio.TimerHandle | None = None

    async def add(self, netns: int, assignment: Assignment, mtu: int) -> None:
        """Sets up the sandbox's interface; does nothing when it is there already as it should be.

        Raises:
            NetnsError: the descriptor is not of a network namespace other than the host's.
            PodNetworkError: the kernel refused; what was done is left for ``remove``.
        """
        await self._run(self._workers, add, netns, assignment, mtu)

    async def check(self, netns: int, assignment: Assignment, mtu: int) -> list[str]:
        """Returns in sentences where the kernel differs from what ``add`` has set up; raises as ``add`` does."""
        return await self._run(self._workers, check, netns, assignment, mtu)

    async def remove(self, assignment: Assignment) -> None:
        """Takes the sandbox off the network at once, its veth is deleted a moment later; raises PodNetworkError."""
        if await self._run(self._workers, remove, assignment) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REAP_SECONDS, self._start_reaping)

    async def aclose(self) -> None:
        """Deletes what is still to be deleted and ends the threads."""
        if self._timer is not None:
            self._timer.cancel()
        await self._run(self._reaper, reap)
        self._workers.shutdown()
        self._reaper.shutdown()

    def _start_reaping(self) -> None:
        self._timer = None  # from here on a removal starts the next round
        self._reaper.submit(reap)

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A thread cannot be stopped: when the caller is cancelled, its undoing must not overtake the work."""
        future = asyncio.get_running_loop().run_in_executor(executor, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def interfaces(assignment: Assignment) -> tuple[spec.Interface, spec.Interface]:
    """Returns host end and pod end. The MACs are unicast and locally administered (IEEE 802), of no range AWS gives."""
    octets = ":".join(f"{int(part):02x}" for part in assignment.address.split("."))
    host = spec.Interface(assignment.host_ifname, f"ee:58:{octets}")
    return host, spec.Interface(assignment.sandbox.key.ifname, f"ea:58:{octets}")


def add(netns: int, assignment: Assignment, mtu: int) -> None:
    """Does what ``PodNetwork.add`` says, in the calling thread."""
    host, pod = interfaces(assignment)
    veth = messages.Veth(host.name, host.mac, pod.name, pod.mac, netns, mtu)
    with _sockets(netns) as (host_socket, pod_socket), _refusals(f"set up {pod.name} for {assignment.address}"):
        try:
            link = _create(host_socket, veth)
        except FileExistsError:
            if not _differences(host_socket, pod_socket, assignment, mtu):
                return
            reap()  # a sandbox of the same name may just have gone
            link = _create(host_socket, veth)
        _program_pod_end(pod_socket, link.peer_ifindex, assignment.address, host.mac)
        # The host end goes up last: while the pod's is down, the first packets would be lost.
        host_socket.request(
            messages.set_link_up(link.ifindex),
            messages.new_neighbour(link.ifindex, assignment.address, pod.mac),
            messages.new_host_route(link.ifindex, assignment.address, assignment.route_table),
        )
        # The pod's end has its carrier only now and drops what it sends until the kernel's link watch has come by, up
        # to a second later. Asking for the link makes that happen at once (rtnl_getlink() since Linux 6.8).
        pod_socket.request(messages.get_link(pod.name))


def check(netns: int, assignment: Assignment, mtu: int) -> list[str]:
    """Does what ``PodNetwork.check`` says, in the calling thread."""
    with _sockets(netns) as (host_socket, pod_socket), _refusals(f"read the network of {assignment.address}"):
        return _differences(host_socket, pod_socket, assignment, mtu)


def remove(assignment: Assignment) -> bool:
    """Takes the host end down, which takes its routes along; returns False when it was gone, as with its namespace."""
    with netlink.Socket() as host_socket, _refusals(f"remove {assignment.host_ifname}"):
        try:
            host_socket.request(messages.retire_link(assignment.host_ifname, RETIRED_GROUP))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False
    return True


def reap() -> None:
    """Deletes the veths that ``remove`` has taken down; what cannot be deleted now stays for the next time."""
    with netlink.Socket() as host_socket:
        try:
            host_socket.request(messages.delete_group(RETIRED_GROUP))
        except OSError as error:
            if error.errno != errno.ENODEV:
                logger.warning("removed veths could not be deleted", extra={"error": str(error)})


@contextlib.contextmanager
def _sockets(netns: int) -> Iterator[tuple[netlink.Socket, netlink.Socket]]:
    """Yields a socket in the host's namespace and one in the pod's; raises NetnsError."""
    try:
        if os.path.samestat(os.fstat(netns), Path("/proc/thread-self/ns/net").stat()):
            raise NetnsError("it is the host's own namespace; a pod's is needed")
        pod_socket = netlink.open_in(netns)
    except OSError as error:
        raise NetnsError(f"it cannot be entered as a network namespace: {error.strerror}") from error
    with pod_socket, netlink.Socket() as host_socket:
        yield host_socket, pod_socket


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PodNetworkError(f"the kernel refused to {what}: {error.strerror}") from error


def _create(host_socket: netlink.Socket, veth: messages.Veth) -> messages.Link:
    answers = host_socket.request(messages.new_veth(veth), messages.get_link(veth.name))
    return messages.parse_link(answers[0].body)


def _differences(
    host_socket: netlink.Socket, pod_socket: netlink.Socket, assignment: Assignment, mtu: int
) -> list[str]:
    host, pod = interfaces(assignment)
    host_link, pod_link = _find_link(host_socket, host.name), _find_link(pod_socket, pod.name)
    found = _link_differences(pod, pod_link, mtu) + _link_differences(host, host_link, mtu)
    if pod_link is None or host_link is None:
        return found
    if host_link.peer_ifindex != pod_link.ifindex:
        found.append(f"{host.name} does not lead to {pod.name}")
    found += _pod_differences(pod_socket, pod_link.ifindex, assignment.address, host.mac)
    route = (assignment.route_table, f"{assignment.address}/32", "", host_link.ifindex)
    if route not in [messages.parse_route(answer.body) for answer in host_socket.dump(messages.get_routes())]:
        found.append(f"table {assignment.route_table} has no route {assignment.address}/32 to {host.name}")
    neighbour = (host_link.ifindex, assignment.address, pod.mac, True)
    neighbours = [messages.parse_neighbour(answer.body) for answer in host_socket.dump(messages.get_neighbours())]
    if neighbour not in neighbours:
        found.append(f"{host.name} has no permanent neighbour {assignment.address} with MAC {pod.mac}")
    return found


def _program_pod_end(pod_socket: netlink.Socket, ifindex: int, address: str, gateway_mac: str) -> None:
    pod_socket.request(
        messages.set_link_up(ifindex),
        messages.new_address(ifindex, address),
        messages.new_host_route(ifindex, spec.GATEWAY),
        messages.new_neighbour(ifindex, spec.GATEWAY, gateway_mac),
        messages.new_default_route(ifindex, spec.GATEWAY),
    )


def _find_link(where: netlink.Socket, name: str) -> messages.Link | None:
    try:
        return messages.parse_link(where.request(messages.get_link(name))[0].body)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return None


def _link_differences(end: spec.Interface, link: messages.Link | None, mtu: int) -> list[str]:
    if link is None:
        return [f"{end.name} does not exist"]
    found = [] if link.is_up else [f"{end.name} is down"]
    if link.mac != end.mac:
        found.append(f"{end.name} has the MAC {link.mac}, not {end.mac}")
    if link.mtu != mtu:
        found.append(f"{end.name} has the MTU {link.mtu}, not {mtu}")
    return found


def _pod_differences(pod_socket: netlink.Socket, ifindex: int, address: str, gateway_mac: str) -> list[str]:
    addresses = [messages.parse_address(answer.body) for answer in pod_socket.dump(messages.get_addresses())]
    routes = [messages.parse_route(answer.body) for answer in pod_socket.dump(messages.get_routes())]
    neighbours = [messages.parse_neighbour(answer.body) for answer in pod_socket.dump(messages.get_neighbours())]
    main = messages.RT_TABLE_MAIN
    expected = {
        f"the address {address}/32": (ifindex, f"{address}/32") in addresses,
        f"the route {spec.GATEWAY}/32": (main, f"{spec.GATEWAY}/32", "", ifindex) in routes,
        f"the default route via {spec.GATEWAY}": (main, "0.0.0.0/0", spec.GATEWAY, ifindex) in routes,
        f"the neighbour {spec.GATEWAY}": (ifindex, spec.GATEWAY, gateway_mac, True) in neighbours,
    }
    return [f"the pod lacks {what}" for what, present in expected.items() if not present]
