from pathlib import Path

import pytest

from eni_node_agent.network.preparation import default_ifnames, prepare
from eni_node_agent.network.sysctl import SysctlError

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
    prepare(proc_of(tmp_path))
    values = tmp_path / "sys/net/ipv4"
    assert (values / "ip_forward").read_text() == "1"
    assert (values / "conf/ens5/rp_filter").read_text() == "2"
    assert (values / "conf/ens6/rp_filter").read_text() == "1\n"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    proc = proc_of(tmp_path)
    (proc / "sys/net/ipv4/ip_forward").unlink()
    (proc / "sys/net/ipv4/ip_forward").mkdir()
    with pytest.raises(SysctlError, match=r"net\.ipv4\.ip_forward must be 1"):
        prepare(proc)
