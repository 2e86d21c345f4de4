"""As the agent's container has it: NET_ADMIN and SYS_ADMIN, no new privileges, and a /proc/sys that is read-only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eni_crds.nodeippool import Family, Supply
from eni_testing.dual import dual_supply
from eni_testing.nodes import PRIMARY, SECONDARY, Node

pytestmark = pytest.mark.netns

V4, BOTH = dual_supply([Family.IPV4]), dual_supply([Family.IPV4, Family.IPV6])
READY = sorted([PRIMARY.eni_id, SECONDARY.eni_id])
PROC_SYS = Path("/proc/sys")
READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
ALLOWED = "+net_admin,+sys_admin"
CONVERGE = """
import json, sys
from pathlib import Path
from eni_crds.nodeippool import Supply
from eni_node_agent.network.converge import Converger
from eni_node_agent.network.desired import NetworkSettings
converger = Converger(NetworkSettings(), Path(sys.argv[1]))
state = converger.converge(Supply.parse(json.load(sys.stdin))).state
print(json.dumps([sorted(state.ready), list(state.problems)]))
"""


def converge(node: Node, supply: Supply, proc_sys: Path = PROC_SYS) -> tuple[list[str], list[str]]:
    """Returns ready ENIs and problems of one round in such a container; the node's sysctls are at ``proc_sys`` too."""
    limits = f"setpriv --no-new-privs --inh-caps=-all,{ALLOWED} --bounding-set=-all,{ALLOWED}"
    beside = "" if proc_sys == PROC_SYS else f"mount --bind /proc/sys/net {proc_sys}/net && "
    inside = f'mount --make-rprivate / && {beside}{READ_ONLY} && exec {limits} "$@"'
    program = [sys.executable, "-c", CONVERGE, str(proc_sys)]
    command = ["unshare", "--mount", "nsenter", f"--net={node.path}", "sh", "-c", inside, "sh", *program]
    sent = json.dumps(supply.dump())
    run = subprocess.run(command, input=sent, text=True, capture_output=True, check=False, timeout=25)
    assert run.returncode == 0, run.stderr
    ready, problems = json.loads(run.stdout)
    return ready, problems


def set_sysctls(node: Node, *values: str) -> None:
    """Does what the init container does, or somebody undoes."""
    node.run(["sysctl", "-qw", *values])


def test_prepared_node_is_set_up_and_how_links_check_sources_is_repaired(node: Node) -> None:
    set_sysctls(node, "net.ipv4.ip_forward=1", "net.ipv4.conf.eth0.rp_filter=1")
    assert converge(node, V4) == (READY, [])
    assert node.run(["sysctl", "-n", "net.ipv4.conf.eth0.rp_filter"]).stdout.strip() == "2"
    assert "from 10.0.1.48/28 lookup 2" in node.run(["ip", "rule"]).stdout
    assert "snat to 10.0.1.10" in node.run(["nft", "list", "ruleset"]).stdout


def test_what_cannot_be_written_is_told_and_no_pod_is_served(node: Node) -> None:
    set_sysctls(node, "net.ipv4.ip_forward=0")
    ready, (problem,) = converge(node, V4)
    assert ready == []
    assert "net.ipv4.ip_forward must be 1 and cannot be written at /proc/sys: Read-only file system" in problem


def test_pool_of_ipv6_needs_its_settings_prepared(node: Node) -> None:
    names = ("all.disable_ipv6=0", "eth0.disable_ipv6=0", "eth1.disable_ipv6=0", "eth0.accept_ra=2")
    set_sysctls(node, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=0")
    assert any("net.ipv6.conf.all.forwarding must be 1" in problem for problem in converge(node, BOTH)[1])
    set_sysctls(node, *(f"net.ipv6.conf.{name}" for name in names), "net.ipv6.conf.all.forwarding=1")
    assert converge(node, BOTH) == (READY, [])


def test_sysctls_mounted_beside_are_repaired_though_proc_sys_is_read_only(node: Node, tmp_path: Path) -> None:
    set_sysctls(node, "net.ipv4.ip_forward=0")
    (tmp_path / "net").mkdir()
    assert converge(node, BOTH, proc_sys=tmp_path) == (READY, [])
    assert node.run(["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]).stdout.split() == ["1"] * 2
