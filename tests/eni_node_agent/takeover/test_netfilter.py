"""VPC CNI's rules are told from everybody else's, in a nftables that iptables wrote and in one that others did."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_node_agent.network.libnftables import Nftables
from eni_node_agent.takeover import legacy, netfilter
from eni_node_agent.takeover.netfilter import ChainRule, Found
from eni_testing.nodes import Node

pytestmark = pytest.mark.netns

PAGE = Path(__file__).parents[3] / "docs/migration.md"
SNAT, MARKS = "AWS-SNAT-CHAIN-0", "AWS-CONNMARK-CHAIN-0"
VPC_CNI = f"""
-t nat -N {SNAT}
-t nat -A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j {SNAT}
-t nat -A {SNAT} -d 10.0.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-t nat -A {SNAT} ! -o vlan+ -m comment --comment "AWS, SNAT" -j SNAT --to-source 10.0.1.10 --random-fully
-t nat -N {MARKS}
-t nat -A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j {MARKS}
-t nat -A {MARKS} -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80
-t nat -A PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --mask 0x80
-t mangle -A PREROUTING -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --mask 0x80
-t nat -N AWS-SNAT-CHAIN-1
"""
OTHERS = """
-t nat -N KUBE-SERVICES
-t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-t nat -A KUBE-SERVICES -d 172.20.0.1 -m comment --comment "AWS is no prefix" -j RETURN
-t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE
-t nat -A POSTROUTING -m comment --comment "a person wrote: AWS, SNAT" -j RETURN
-t filter -A FORWARD -m comment --comment "AWS, SNAT" -j ACCEPT
-t mangle -A PREROUTING -i eth0 -j CONNMARK --restore-mark --mask 0x40
"""
HOST_PORTS = """
-t nat -N CNI-HOSTPORT-DNAT
-t nat -N CNI-DN-aaa
-t nat -N CNI-DN-bbb
-t nat -N CNI-DN-ccc
-t nat -A CNI-DN-aaa -p tcp --dport 80 -j DNAT --to-destination 10.0.1.21:80
-t nat -A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \\"aws-cni\\" id: \\"gone\\"" -j CNI-DN-aaa
-t nat -A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \\"aws-cni\\" id: \\"lives\\"" -j CNI-DN-bbb
-t nat -A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \\"eni\\" id: \\"gone\\"" -j CNI-DN-ccc
"""


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def write(node: Node, rules: str, iptables: str = "iptables-nft") -> None:
    node.run(["sh", "-ec", "\n".join(f"{iptables} {line}" for line in rules.split("\n") if line)])


def saved(node: Node) -> set[str]:
    lines = node.run(["iptables-nft-save"]).stdout.splitlines()
    return {line.partition("[")[0] for line in lines if not line.startswith("#")}


def remove(node: Node, held: frozenset[str] | None) -> None:
    commands = netfilter.removal(node.do(netfilter.find, held))
    nftables = node.do(Nftables)
    node.do(nftables.run, commands)
    node.do(nftables.close)


def test_only_vpc_cnis_rules_and_chains_go(node: Node) -> None:
    write(node, OTHERS)
    before = saved(node)
    write(node, VPC_CNI)
    node.run(["nft", "table ip aws-cni { chain snat-mark { ct mark set ct mark or 0x80; }; }"])
    node.run(["nft", "table inet aws-cni { chain mine { }; }"])
    assert saved(node) != before
    remove(node, frozenset())
    assert saved(node) == before
    assert node.run(["nft", "list", "tables"]).stdout.count("aws-cni") == 1
    assert node.do(netfilter.find, frozenset()) == Found()


def test_a_node_without_nftables_has_nothing(node: Node) -> None:
    assert node.do(netfilter.find, frozenset()) == Found()
    assert netfilter.removal(Found()) == ""


def test_the_host_port_of_a_pod_goes_with_it(node: Node) -> None:
    write(node, HOST_PORTS)
    before = saved(node)
    assert node.do(netfilter.find, None) == Found()
    remove(node, frozenset({"lives"}))
    assert {line for line in before - saved(node) if line.startswith("-A")} == {
        line for line in before if "aaa" in line and line.startswith("-A")
    }
    assert not any("CNI-DN-aaa" in line for line in saved(node))


def test_a_chain_name_that_is_no_word_is_never_put_into_a_command() -> None:
    comment = 'dnat name: "aws-cni" id: "gone"'
    rule = ChainRule("ip", "nat", "CNI-HOSTPORT-DNAT", 7, comment, "x; flush ruleset")
    found = netfilter.sort([rule], [("ip", "nat", "x; flush ruleset")], frozenset())
    assert netfilter.removal(found) == "delete rule ip nat CNI-HOSTPORT-DNAT handle 7\n"


def test_thousands_of_rules_of_others_are_read_past(node: Node) -> None:
    write(node, VPC_CNI)
    many = "".join(f"-A POSTROUTING -s 10.1.{number // 250}.{number % 250} -j RETURN\n" for number in range(3000))
    node.run(["sh", "-ec", f"iptables-nft-restore --noflush <<'END'\n*nat\n{many}COMMIT\nEND"])
    found = node.do(netfilter.find, frozenset())
    assert len(found.rules) == 4
    assert {chain[2] for chain in found.chains} == {SNAT, MARKS, "AWS-SNAT-CHAIN-1"}


def test_the_legacy_iptables_is_asked_without_being_loaded(node: Node) -> None:
    assert node.do(legacy.tables_with_traces) == ()
    assert node.run(["cat", "/proc/thread-self/net/ip_tables_names"], check=False).stdout == ""
    write(node, "-t nat -N KUBE-SERVICES", "iptables-legacy")
    assert node.do(legacy.tables_with_traces) == ()
    write(node, VPC_CNI, "iptables-legacy")
    assert set(node.do(legacy.tables_with_traces)) == {"nat", "mangle"}


def test_the_command_of_the_page_removes_them_from_the_legacy_iptables_and_nothing_else(node: Node) -> None:
    def saved() -> list[str]:
        lines = node.run(["iptables-legacy-save"]).stdout.splitlines()
        return [line.partition(" [")[0] for line in lines if not line.startswith("#")]

    write(node, OTHERS, "iptables-legacy")
    before = saved()
    write(node, VPC_CNI, "iptables-legacy")
    [command] = [line.strip() for line in PAGE.read_text().splitlines() if "iptables-legacy-save" in line]
    node.run(["sh", "-c", command])
    assert saved() == before
    assert node.do(legacy.tables_with_traces) == ()
