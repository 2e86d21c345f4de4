"""Node ports with kube-proxy's rules beside ours, in both its modes: the pod's answer leaves by the primary ENI.

The rules are those kube-proxy writes for one Service of type NodePort with one endpoint (Kubernetes 1.29 and later,
pkg/proxy/iptables and pkg/proxy/nftables), its marks 0x4000 and 0x8000 included. The laboratory runs the real one.
"""

import pytest

from eni_lab.fabric.outside import ADDRESS as OUTSIDE
from eni_testing.datapath import NODE, PODS, World, seen_by, seen_from
from eni_testing.nodes import NEIGHBOUR, PRIMARY, SECONDARY, Node
from eni_testing.routed import RoutedLab

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("telling")]

NODES_OWN = {PRIMARY.primary_ip, SECONDARY.primary_ip}
"""What a pod may see of a connection that kube-proxy masquerades on its way to it."""
CLUSTER_IP = "172.20.0.10"


def iptables(pod: str, *, is_local: bool) -> str:
    external = (
        """
-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-SVC-WEB
-A KUBE-EXT-WEB -j KUBE-SVL-WEB
"""
        if is_local
        else """
-A KUBE-EXT-WEB -j KUBE-MARK-MASQ
-A KUBE-EXT-WEB -j KUBE-SVC-WEB
"""
    )
    return f"""
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-EXT-WEB - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SVL-WEB - [0:0]
:KUBE-SEP-WEB - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-SERVICES -d {CLUSTER_IP}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-WEB
{external}
-A KUBE-SVC-WEB -j KUBE-SEP-WEB
-A KUBE-SVL-WEB -j KUBE-SEP-WEB
-A KUBE-SEP-WEB -s {pod}/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-WEB -p tcp -m tcp -j DNAT --to-destination {pod}:8080
COMMIT
*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


def nftables(pod: str, *, is_local: bool) -> str:
    external = (
        "fib saddr type local jump mark-for-masquerade\n    fib saddr type local goto service-web\n    goto local-web"
        if is_local
        else "jump mark-for-masquerade\n    goto service-web"
    )
    return f"""
table ip kube-proxy {{
  set nodeport-ips {{ type ipv4_addr; elements = {{ {NODE} }} }}
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ {CLUSTER_IP} . tcp . 80 : goto service-web }}
  }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; elements = {{ tcp . 30080 : goto external-web }} }}
  chain mark-for-masquerade {{ mark set mark or 0x4000; }}
  chain masquerading {{
    mark and 0x4000 == 0 return
    mark set mark xor 0x4000
    masquerade fully-random
  }}
  chain endpoint-web {{
    ip saddr {pod} jump mark-for-masquerade
    meta l4proto tcp dnat to {pod}:8080
  }}
  chain service-web {{ numgen random mod 1 vmap {{ 0 : goto endpoint-web }}; }}
  chain local-web {{ numgen random mod 1 vmap {{ 0 : goto endpoint-web }}; }}
  chain external-web {{
    {external}
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
}}
"""


def proxy(node: Node, mode: str, pod: str, *, is_local: bool) -> None:
    rules = (iptables if mode == "iptables" else nftables)(pod, is_local=is_local)
    load = "iptables-restore --noflush" if mode == "iptables" else "nft -f -"
    node.run(["sh", "-c", f"{load} <<'RULES'\n{rules}\nRULES"])


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("pod", PODS)
@pytest.mark.parametrize("is_local", [True, False], ids=["Local", "Cluster"])
def test_node_port_reaches_a_pod_of_any_eni_and_its_answer_comes_back(
    *, world: World, lab: RoutedLab, mode: str, pod: str, is_local: bool
) -> None:
    proxy(world.node, mode, pod, is_local=is_local)
    for seen, caller in (
        (seen_from(lab.fabric._outside.path, NODE, 30080), OUTSIDE),
        (seen_by(world.neighbour, NODE, 30080), NEIGHBOUR.primary_ip),
    ):
        assert seen in ({caller} if is_local else NODES_OWN)
    assert lab.drops() == []


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_service_and_the_world_are_as_without_kube_proxy(world: World, mode: str) -> None:
    target, *others = PODS
    proxy(world.node, mode, target, is_local=False)
    assert {pod: seen_by(world.pods[pod], CLUSTER_IP, 80) for pod in others} == {pod: pod for pod in others}
    assert {seen_by(world.pods[pod], OUTSIDE, 80) for pod in PODS} == {NODE}
