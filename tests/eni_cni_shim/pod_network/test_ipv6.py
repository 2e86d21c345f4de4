"""IPv6 of a pod's link: switched on where it is needed, told of where the kernel has none, believing no pod."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim.plugin.pod_network import PodNetwork, PodNetworkError
from eni_testing.assignments import DUAL, IPV6_ALONE, MTU, V4, V6, assignment, link
from eni_testing.cni import NODE_ADDRESS_IPV6, Pod
from eni_testing.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eni_testing.hosts import Host

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("where", ["pod", "node", "both"])
async def test_ipv6_that_is_off_is_switched_on_for_the_link(
    node: Host, network: PodNetwork, pod: Pod, where: str
) -> None:
    for host in (pod, node) if where == "both" else (pod,) if where == "pod" else (node,):
        for name in ("default", "lo"):
            host.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"])
    node.run(["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"])
    node.run(["ip", "address", "replace", f"{NODE_ADDRESS_IPV6}/128", "dev", "lo", "nodad"])
    await network.add(pod.netns, DUAL, MTU)
    assert node.reaches(V6)
    assert pod.reaches("::1")


async def test_without_an_ipv6_address_ipv6_stays_off(node: Host, network: PodNetwork, pod: Pod) -> None:
    assert node.pid
    pod.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    await network.add(pod.netns, assignment(link(0, V4)), MTU)
    assert pod.run(["sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6"]).stdout == "1\n"


async def test_a_kernel_without_ipv6_is_told_of_in_one_sentence(node: Host, pod: Pod, tmp_path: Path) -> None:
    assert node.pid
    network = PodNetwork(tmp_path)
    with pytest.raises(PodNetworkError, match=f"the kernel has none: there is no {tmp_path}/net/ipv6"):
        await network.add(pod.netns, IPV6_ALONE, MTU)
    await network.remove(IPV6_ALONE)
    await network.add(pod.netns, assignment(link(0, V4, name="four")), MTU)
    await network.aclose()


@contextlib.contextmanager
def mounted(what: str, where: Path) -> Iterator[None]:
    where.mkdir()
    subprocess.run(["mount", "--bind", what, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


async def test_sysctls_are_written_where_the_folder_is_mounted(node: Host, pod: Pod, tmp_path: Path) -> None:
    """As in the agent's pod, whose own /proc/sys is read-only; the mount shows whichever namespace a thread is in."""
    for host in (node, pod):
        host.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    with mounted("/proc/sys/net", tmp_path / "net"):
        network = PodNetwork(tmp_path)
        await network.add(pod.netns, IPV6_ALONE, MTU)
        await network.aclose()
    assert pod.run(["sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6"]).stdout == "0\n"


async def test_the_node_takes_no_router_advertisement_from_a_pod(node: Host, network: PodNetwork, pod: Pod) -> None:
    """Also where no pod has IPv6: a node that does not forward it would believe its pods."""
    node.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"])
    only_ipv4 = assignment(link(0, V4))
    await network.add(pod.netns, only_ipv4, MTU)
    veth = only_ipv4.host_ifname
    await eventually(
        lambda: "fe80" in node.run(["ip", "-6", "address", "show", "dev", veth, "-tentative"]).stdout,
        "the host's end listens to IPv6",
    )
    before = node.run(["ip", "-6", "route"]).stdout
    pod.call(advertise, "eth0")
    assert node.run(["ip", "-6", "route"]).stdout == before
    node.run(["sysctl", "-qw", f"net.ipv6.conf.{veth}.accept_ra=1"])
    pod.call(advertise, "eth0")  # so that the above is certain to have meant something
    await eventually(lambda: "proto ra" in node.run(["ip", "-6", "route"]).stdout, "else it would believe it")


def advertise(ifname: str) -> None:
    """Says to be a router of 2001:db8:bad::/64, as RFC 4861, 4.2 has it."""
    option = bytes([3, 4, 64, 0xC0, *b"\xff" * 8, *bytes(4)]) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    message = bytes([134, 0, 0, 0, 64, 0, 0x07, 0x08, *bytes(8)]) + option
    deadline = time.monotonic() + 5
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        while time.monotonic() < deadline:
            try:
                sender.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(ifname)))
            except OSError as error:  # the pod's link-local address is not there yet
                if error.errno not in {errno.EADDRNOTAVAIL, errno.ENETUNREACH}:
                    raise
                time.sleep(0.05)
            else:
                return
    pytest.fail("the pod has had no link-local address for 5 seconds")
