"""What ADD makes in the pod and on the host, once or again, and which namespaces and interfaces it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from eni_cni_shim.plugin import pod_links
from eni_cni_shim.plugin.pod_network import NetnsError, PodNetwork, PodNetworkError
from eni_testing.assignments import CARDS, MTU, V6, WEB, all_of, link, state_of

if TYPE_CHECKING:
    from eni_testing.cni import Pod
    from eni_testing.hosts import Host

pytestmark = pytest.mark.netns


async def test_the_pod_has_what_the_data_path_needs_and_one_queue(network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, 1500)
    link = pod.run(["ip", "-d", "link", "show", "eth0"]).stdout
    assert "ea:58:0a:00:01:17" in link
    assert "mtu 1500" in link
    assert "numtxqueues 1 " in link
    assert "numrxqueues 1 " in link
    assert "inet 10.0.1.23/32 scope global eth0" in pod.run(["ip", "-4", "address"]).stdout
    routes = pod.run(["ip", "route"]).stdout
    assert "default via 169.254.1.1 dev eth0" in routes
    assert "169.254.1.1 dev eth0 proto static scope link" in routes


def test_no_two_pods_have_a_mac_in_common() -> None:
    """An IPv6 pod's follows from an address too, and /80s of two ENIs begin alike."""
    blocks = [f"2001:db8:0:{block}:1::" for block in (1, 2)]
    addresses = [f"{block}{offset:x}" for block in blocks for offset in range(500)]
    addresses += [f"10.0.{third}.{fourth}" for third in (1, 2) for fourth in range(250)]
    made = [end for address in addresses for end in pod_links.ends(link(0, address))[:2]]
    assert len({end.mac for end in made}) == len(made)
    assert all(int(end.mac[:2], 16) & 0b11 == 0b10 for end in made), "locally administered, unicast"
    assert pod_links.ends(link(0, V6)) == pod_links.ends(link(0, V6))


async def test_add_again_changes_nothing(node: Host, network: PodNetwork, pod: Pod) -> None:
    await network.add(pod.netns, WEB, MTU)
    before = state_of(node, "-4")
    await network.add(pod.netns, WEB, MTU)
    assert state_of(node, "-4") == before


async def test_add_again_changes_nothing_and_puts_back_a_link_that_is_gone(
    node: Host, network: PodNetwork, pod: Pod
) -> None:
    await network.add(pod.netns, CARDS, MTU)
    before = state_of(node)
    await network.add(pod.netns, CARDS, MTU)
    assert state_of(node) == before
    node.run(["ip", "link", "delete", CARDS.links[1].host_ifname])
    assert "mNicIf1 does not exist" in await network.check(pod.netns, CARDS, MTU)
    await network.add(pod.netns, CARDS, MTU)
    assert await network.check(pod.netns, CARDS, MTU) == []
    assert all(node.reaches(address) for address in all_of(CARDS))


@pytest.mark.parametrize("undone", [f"ip link set {WEB.host_ifname} down", "ip neighbour flush all"])
async def test_what_a_killed_agent_has_half_made_is_made_anew(
    node: Host, network: PodNetwork, pod: Pod, undone: str
) -> None:
    await network.add(pod.netns, WEB, MTU)
    node.run(undone.split())
    pod.run(["ip", "route", "delete", "default"])
    await network.add(pod.netns, WEB, MTU)
    assert await network.check(pod.netns, WEB, MTU) == []
    assert node.reaches(WEB.address)


async def test_an_interface_of_someone_else_is_an_error_and_stays(node: Host, network: PodNetwork, pod: Pod) -> None:
    pod.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
    before = state_of(node, "-4")
    with pytest.raises(PodNetworkError, match=r"eth0 for 10\.0\.1\.23: File exists"):
        await network.add(pod.netns, WEB, MTU)
    await network.remove(WEB)
    assert state_of(node, "-4") == before
    assert "eth0" in pod.run(["ip", "-br", "link"]).stdout


async def test_the_hosts_own_namespace_is_refused(node: Host, network: PodNetwork) -> None:
    netns = os.open(node.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(NetnsError, match="host's own"):
            await network.add(netns, WEB, MTU)
    finally:
        os.close(netns)


@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/ns/mnt", "/dev/null", "/"])
async def test_a_descriptor_of_no_network_namespace_is_refused(network: PodNetwork, path: str) -> None:
    netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(NetnsError, match="Invalid argument"):
            await network.add(netns, WEB, MTU)
    finally:
        os.close(netns)
