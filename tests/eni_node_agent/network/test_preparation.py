from pathlib import Path

import pytest

from eni_node_agent.network.preparation import default_ifnames, prepare
from eni_node_agent.network.sysctl import SysctlError
from eni_testing.nodes import Node

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
ens5\t00000000\t0100000A\t0003\t0\t0\t512\t00000000\t0\t0\t0
ens5\t00000000\t0100000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0
ens6\t0000000A\t00000000\t0001\t0\t0\t512\t0000FFFF\t0\t0\t0
ens7\t00000000\t0100000A\t0003\t0\t0\t512\t00000080\t0\t0\t0
"""


def proc_of(folder: Path) -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "route").write_text(ROUTES)
    for name in ("ip_forward", "conf/ens5/rp_filter", "conf/ens6/rp_filter"):
        path = folder / "sys/net/ipv4" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n" if "rp_filter" in name else "0\n")
    return folder


def test_names_the_links_of_default_routes_once() -> None:
    assert default_ifnames(ROUTES) == ["ens5"]


def test_lets_the_node_forward_and_loosens_the_primary_eni_alone(tmp_path: Path) -> None:
    prepare(proc_of(tmp_path), early_demux=True, ipv6_egress=False)
    values = tmp_path / "sys/net/ipv4"
    assert (values / "ip_forward").read_text() == "1"
    assert (values / "conf/ens5/rp_filter").read_text() == "2"
    assert (values / "conf/ens6/rp_filter").read_text() == "1\n"


@pytest.mark.parametrize(("early_demux", "value"), [(True, "1"), (False, "0")])
def test_early_look_ups_of_sockets_are_as_asked(*, tmp_path: Path, early_demux: bool, value: str) -> None:
    proc = proc_of(tmp_path)
    (proc / "sys/net/ipv4/tcp_early_demux").write_text("2")
    prepare(proc, early_demux=early_demux, ipv6_egress=False)
    assert (proc / "sys/net/ipv4/tcp_early_demux").read_text() == value


def test_a_kernel_without_early_look_ups_is_left_alone(tmp_path: Path) -> None:
    prepare(proc_of(tmp_path), early_demux=False, ipv6_egress=False)
    assert not (tmp_path / "sys/net/ipv4/tcp_early_demux").exists()


@pytest.mark.netns
def test_node_that_lends_its_ipv6_address_keeps_its_default_route_while_it_forwards(node: Node, tmp_path: Path) -> None:
    (tmp_path / "sys").symlink_to("/proc/sys")
    (tmp_path / "net").symlink_to("/proc/thread-self/net")
    node.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
    node.do(prepare, tmp_path, early_demux=True, ipv6_egress=False)
    assert read_sysctls(node) == ["1", "1", "0", "1"]
    node.do(prepare, tmp_path, early_demux=True, ipv6_egress=True)
    assert read_sysctls(node) == ["0", "0", "1", "2"]


def read_sysctls(node: Node) -> list[str]:
    names = ("all.disable_ipv6", "eth0.disable_ipv6", "all.forwarding", "eth0.accept_ra")
    return node.run(["sysctl", "-n", *(f"net.ipv6.conf.{name}" for name in names)]).stdout.split()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    proc = proc_of(tmp_path)
    (proc / "sys/net/ipv4/ip_forward").unlink()
    (proc / "sys/net/ipv4/ip_forward").mkdir()
    with pytest.raises(SysctlError, match=r"net\.ipv4\.ip_forward must be 1"):
        prepare(proc, early_demux=True, ipv6_egress=False)
