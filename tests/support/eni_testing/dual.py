"""A node with both families on a small router that drops what is not the ENI's, for tests of the agent's host network.

The VPC fabric of ``eni_lab`` has engine, zones and many nodes; here is one node, and a world behind the router that
answers whoever asks with the address it sees::

    pods -- node (eth0, eth1) -- router (fe80:ec2::1 and 10.0.1.1 on both) with 2001:db8:ffff::2 and 198.51.100.2
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from eni_testing.hosts import Host
from eni_testing.nodes import POD_TABLE, PRIMARY, SECONDARY, Node, supply_eni, supply_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eni_crds.nodeippool import Family, Supply

WORLD_V4, WORLD_V6 = "198.51.100.2", "2001:db8:ffff::2"
NODE_V4, NODE_V6 = PRIMARY.primary_ip, "2001:db8:0:1::10"
PRIMARY_PREFIX, SECONDARY_PREFIX = "2001:db8:0:1:a::/80", "2001:db8:0:1:b::/80"
ON_PRIMARY_V6, ON_SECONDARY_V6 = "2001:db8:0:1:a::5", "2001:db8:0:1:b::5"
PORT = 8080

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as asked:
    print(asked.makefile().read())
"""
TELL = f"""
import socket
listener = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    asked, peer = listener.accept()
    asked.sendall(peer[0].removeprefix("::ffff:").encode())
    asked.close()
"""
ADVERTISE = """
import socket, struct, sys
index = socket.if_nametoindex(sys.argv[1])
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
    router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    router.bind(("fe80:ec2::1", 0, 0, index))
    router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0, 0, index))
"""
_GATEWAYS = {"fe80::1": "fe80::1/64", "169.254.1.1": "169.254.1.1/32"}


def dual_supply(families: Sequence[Family]) -> Supply:
    """Returns a supply of both ENIs, each with a /80, for a pool of these families."""
    enis = [
        supply_eni(port).replace(ipv6_prefixes=[prefix], subnet_ipv6_cidr="2001:db8:0:1::/64")
        for port, prefix in ((PRIMARY, PRIMARY_PREFIX), (SECONDARY, SECONDARY_PREFIX))
    ]
    return supply_of(*enis).replace(families=list(families))


def asks(asker: Host, address: str, port: int = PORT) -> str:
    """Returns the address ``address`` sees, or nothing when it is not reached."""
    return asker.run([sys.executable, "-IS", "-c", ASK, address, str(port)], check=False).stdout.strip()


class DualNode(Node):
    """The node, its router and its pods."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.router = self._stack.enter_context(Host())
        self.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"])
        self.router.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        for name, mac in (("eth0", PRIMARY.mac), ("eth1", SECONDARY.mac)):
            self._plug(name, mac)
        self.run(["ip", "address", "add", f"{NODE_V4}/24", "dev", "eth0"])
        self.run(["ip", "address", "add", f"{NODE_V6}/128", "dev", "eth0"])
        self.run(["ip", "link", "set", "eth0", "up"])
        self.run(["ip", "route", "add", "default", "via", "10.0.1.1"])
        self.run(["ip", "-6", "route", "add", "default", "via", "fe80:ec2::1", "dev", "eth0"])
        for address in (f"{WORLD_V4}/32", f"{WORLD_V6}/128"):
            self.router.run(["ip", "address", "add", address, "dev", "lo"])
        self._deliver("eth0", NODE_V4, NODE_V6, PRIMARY_PREFIX)
        self._deliver("eth1", SECONDARY.primary_ip, "10.0.1.48/28", SECONDARY_PREFIX)
        self.tell(self.router)

    def _plug(self, name: str, mac: str) -> None:
        peer = ["peer", "name", name, "address", mac, "netns", str(self.pid)]
        self.router.run(["ip", "link", "add", name, "type", "veth", *peer])
        self.router.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0"])
        self.router.run(["ip", "link", "set", name, "up"])
        self.router.run(["ip", "address", "add", "fe80:ec2::1/64", "dev", name, "nodad"])
        self.router.run(["ip", "address", "add", "10.0.1.1/32", "dev", name])
        for hop in ("169.254.0.2", "fe80::2"):
            self.router.run(["ip", "neighbour", "add", hop, "lladdr", mac, "dev", name, "nud", "permanent"])

    def _deliver(self, link: str, *cidrs: str) -> None:
        """The router brings these to the ENI and takes nothing else from it, as AWS does."""
        for cidr in cidrs:
            family, hop = ("-6", "fe80::2") if ":" in cidr else ("-4", "169.254.0.2")
            self.router.run(["ip", family, "route", "add", cidr, "via", hop, "dev", link, "onlink"])
        v4 = ", ".join(cidr for cidr in cidrs if ":" not in cidr)
        v6 = ", ".join(["fe80::/10", *(cidr for cidr in cidrs if ":" in cidr)])
        for word, sources in (("ip", v4), ("ip6", v6)):
            hook = "type filter hook prerouting priority raw;"
            rule = f'iifname "{link}" {word} saddr != {{ {sources} }} drop'
            self.router.run(["nft", f"table {word} {link} {{ chain entrance {{ {hook} {rule}; }}; }}"])

    def advertise(self, link: str) -> None:
        """Has the router tell the node's link that it is there (RFC 4861 section 4.2)."""
        self.router.run([sys.executable, "-IS", "-c", ADVERTISE, link])

    def tell(self, host: Host) -> None:
        """Has whoever asks ``host`` on its port told what address it sees."""
        command = ["nsenter", f"--net={host.path}", sys.executable, "-IS", "-c", TELL]
        server = self._stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self._stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

    def plug_pod(self, name: str, *addresses: str) -> Host:
        """Returns a pod behind the host's veth ``name`` with these addresses, and routes to them in the pod table."""
        pod = self._stack.enter_context(Host())
        self.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pod.pid)])
        pod.run(["sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"])
        pod.run(["ip", "link", "set", "eth0", "up"])
        self.run(["ip", "link", "set", name, "up"])
        for gateway in _GATEWAYS.values():
            self.run(["ip", "address", "add", gateway, "dev", name])
        for address in addresses:
            family, length, gateway = ("-6", 128, "fe80::1") if ":" in address else ("-4", 32, "169.254.1.1")
            pod.run(["ip", "address", "add", f"{address}/{length}", "dev", "eth0"])
            pod.run(["ip", family, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"])
            self.run(["ip", family, "route", "add", address, "dev", name, "table", str(POD_TABLE)])
        return pod

    def close(self) -> None:
        """Ends servers and pods, and all namespaces."""
        self._stack.close()
        super().close()

    def __enter__(self) -> Self:
        return self
