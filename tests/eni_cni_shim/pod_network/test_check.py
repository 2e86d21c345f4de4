"""CHECK names what of a pod's network differs from what ADD has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eni_testing.assignments import CARDS, MTU, V6, WEB, one_link
from eni_testing.cni import POD_TABLE, Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from eni_cni_shim.plugin.pod_network import PodNetwork
    from eni_testing.hosts import Host

pytestmark = pytest.mark.netns

DAMAGE_OF_ONE_LINK = {
    "pod link down": ("pod", "ip link set eth0 down", "eth0 is down"),
    "pod link gone": ("pod", "ip link delete eth0", "eth0 does not exist"),
    "pod MAC": ("pod", "ip link set eth0 address 02:00:00:00:00:01", "eth0 has the MAC 02:00:00:00:00:01"),
    "pod MTU": ("pod", "ip link set eth0 mtu 1400", "eth0 has the MTU 1400, not 9001"),
    "pod address": ("pod", "ip address delete 10.0.1.23/32 dev eth0", "lacks the address 10.0.1.23/32"),
    "pod default route": ("pod", "ip route delete default", "lacks the default route"),
    "pod link route": ("pod", "ip route delete 169.254.1.1", "lacks the route 169.254.1.1/32"),
    "pod neighbour": ("pod", "ip neigh delete 169.254.1.1 dev eth0", "lacks the neighbour"),
    "host link down": ("node", f"ip link set {WEB.host_ifname} down", f"{WEB.host_ifname} is down"),
    "host MAC": ("node", f"ip link set {WEB.host_ifname} address 02:00:00:00:00:01", "has the MAC"),
    "host route": ("node", f"ip route flush table {POD_TABLE}", f"table {POD_TABLE} has no route"),
    "host route elsewhere": ("node", f"ip route replace 10.0.1.23 dev lo table {POD_TABLE}", "has no route"),
}


@pytest.mark.parametrize("name", DAMAGE_OF_ONE_LINK)
async def test_check_names_what_differs_in_the_kernel(node: Host, network: PodNetwork, pod: Pod, name: str) -> None:
    where, command, expected = DAMAGE_OF_ONE_LINK[name]
    await network.add(pod.netns, WEB, MTU)
    assert await network.check(pod.netns, WEB, MTU) == []
    (pod if where == "pod" else node).run(command.split())
    found = await network.check(pod.netns, WEB, MTU)
    assert any(expected in sentence for sentence in found), found


DAMAGE = {
    "IPv6 address": ("pod", f"ip address delete {V6}/128 dev eth0", f"lacks the address {V6}/128"),
    "IPv6 default route": ("pod", "ip -6 route delete default dev eth0", "lacks the default route via fe80::1"),
    "IPv6 neighbour": ("pod", "ip neigh delete fe80::1 dev eth0", "lacks the neighbour fe80::1"),
    "rule": ("pod", "ip rule delete from 10.0.9.5", "lacks the rule from 10.0.9.5/32"),
    "IPv6 rule": ("pod", "ip -6 rule delete from 2001:db8:0:9::5", "lacks the rule from 2001:db8:0:9::5/128"),
    "table of the card": ("pod", "ip route flush table 2", "lacks the default route via 169.254.1.3"),
    "second link": ("pod", "ip link set mNicIf1 down", "mNicIf1 is down"),
    "host route": ("node", f"ip -6 route flush table {POD_TABLE}", f"table {POD_TABLE} has no route {V6}/128"),
    "host neighbour": ("node", f"ip neigh delete {V6} dev eniweb0", f"the host lacks the neighbour {V6}"),
    "host end of a card": ("node", "ip link delete eniweb2", "eniweb2 does not exist"),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_check_names_what_differs(node: Host, network: PodNetwork, pod: Pod, name: str) -> None:
    where, command, expected = DAMAGE[name]
    await network.add(pod.netns, CARDS, MTU)
    assert await network.check(pod.netns, CARDS, MTU) == []
    (pod if where == "pod" else node).run(command.split())
    found = await network.check(pod.netns, CARDS, MTU)
    assert any(expected in sentence for sentence in found), found


async def test_check_finds_a_veth_that_leads_elsewhere(network: PodNetwork, make_pod: Callable[[], Pod]) -> None:
    pod, other = make_pod(), make_pod()
    await network.add(pod.netns, WEB, MTU)
    other.run(["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8"])  # so that the indexes differ
    await network.add(other.netns, one_link(24), MTU)
    found = await network.check(pod.netns, one_link(24), MTU)
    assert f"{one_link(24).host_ifname} does not lead to eth0" in found
    assert "the pod lacks the address 10.0.1.24/32" in found
