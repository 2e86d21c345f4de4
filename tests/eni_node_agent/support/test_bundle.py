"""The archive of a node where secrets lie in every place the command looks at: none of them may come along."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.settings import Settings
from eni_node_agent.support import bundle, tables
from eni_testing.agents import AgentNode
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

PLANTED = {
    name: f"planted-{name}-7f3a9c"
    for name in ("environment", "account", "conflist", "kubeconfig", "log", "url", "nftables", "supply", "podlog")
}
JWT = f"eyJhbGciOiJSUzI1NiJ9.{'cGxhbnRlZA' * 3}.c2lnbmF0dXJl"


def plant(node: AgentNode) -> None:
    conflist = {"name": "other", "plugins": [{"type": "other", "k8s_auth_token": PLANTED["conflist"], "jwt": JWT}]}
    (node.folder / "conf" / "20-other.conflist").write_text(json.dumps(conflist))
    (node.folder / "conf" / "other-kubeconfig").write_text(f"users: [{{user: {{token: {PLANTED['kubeconfig']}}}}}]")
    (node.folder / "account" / "token").write_text(PLANTED["account"])
    log = node.folder / "agent.log"
    log.write_text(f'{{"message": "it failed", "password": "{PLANTED["log"]}", "note": "{PLANTED["environment"]}"}}\n')
    node.host.run(["nft", "add", "table", "ip", "other", f'{{ comment "token={PLANTED["nftables"]}"; }}'])


async def members(node: AgentNode) -> tuple[dict[str, str], str]:
    """Returns the archive's members, and what was said while it was written."""
    variables = {
        "AWS_VPC_K8S_CNI_LOG_FILE": str(node.folder / "agent.log"),
        "CLUSTER_ENDPOINT": f"https://admin:{PLANTED['url']}@10.0.0.1:6443",
        "AWS_SECRET_ACCESS_KEY": PLANTED["environment"],
    }
    result = await node.execute("support-bundle", "--output", "-", **variables)
    assert result.returncode == 0, result.stderr
    return unpacked(result.stdout), result.stderr.decode()


def unpacked(data: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
    return found


@pytest.mark.netns
@pytest.mark.timeout(90)
async def test_no_secret_leaves_the_node(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR, releasing=[("10.0.1.7/32", PLANTED["supply"])])))
    await node.address_of("web")
    saved = node.folder / "state" / "supply.json"
    await eventually(saved.exists, "the supply is saved")
    plant(node)
    found, _ = await members(node)
    whole = "\n".join([*found, *found.values()])
    assert [name for name, secret in PLANTED.items() if secret in whole] == []
    assert JWT not in whole
    # ... and what is wanted is there.
    assert "default/web" in found["inspect.txt"] or "10.0.1.4" in found["state.json"]
    assert json.loads(found["settings.json"])["MY_NODE_NAME"] == "node-a"
    assert "AWS_SECRET_ACCESS_KEY" not in found["settings.json"]
    assert "eni_agent_request_seconds" in found["agent/metrics.txt"]
    assert "10.0.1.4" in found["agent/v1-enis.txt"]
    assert "request answered" in found["agent/log.txt"]
    assert "table 512: 10.0.1.4/32" in found["kernel/tables.txt"]
    assert "512: from all lookup 512" in found["kernel/tables.txt"]
    assert "table ip eni-agent" in found["kernel/nftables.txt"]
    assert json.loads(found["cni/10-eni.conflist"])["name"] == "eni"
    assert "it failed" in found["logs/agent.log"]
    assert [line.partition(":")[0] for line in found["left-out.txt"].splitlines()] == ["operator/metrics.txt"]


@pytest.mark.netns
@pytest.mark.timeout(90)
async def test_without_an_agent_it_has_what_the_last_one_left(node: AgentNode) -> None:
    await node.serve(supply(eni(0, addresses=FOUR)))
    await node.address_of("web")
    node.stop()
    found, progress = await members(node)
    assert [held["links"][0]["addresses"] for held in json.loads(found["state.json"])["holdings"]] == [["10.0.1.4"]]
    assert "agent/metrics.txt: " in found["left-out.txt"]
    assert "collecting kernel/tables.txt" in progress.splitlines()


@pytest.mark.netns
@pytest.mark.timeout(60)
async def test_the_tables_say_what_ip_says(node: AgentNode) -> None:
    node.host.run(["ip", "-6", "address", "add", "2001:db8::7/64", "dev", "eth0", "nodad"])
    node.host.run(
        ["ip", "rule", "add", "from", "10.9.0.0/16", "fwmark", "0x80/0xff", "lookup", "777", "priority", "99"]
    )
    node.host.run(["ip", "route", "add", "10.8.0.0/16", "via", "10.0.250.1", "table", "777"])
    node.host.run(["ip", "route", "add", "unreachable", "10.7.0.0/16"])
    lines = node.host.call(tables.text).splitlines()
    assert "   99: from 10.9.0.0/16 fwmark 0x80/0xff lookup 777 proto 0" in lines
    assert "table 777: 10.8.0.0/16 via 10.0.250.1 dev eth0 proto 3 scope 0" in lines
    assert "table 254: unreachable 10.7.0.0/16 proto 3 scope 0" in lines
    assert "eth0 2001:db8::7/64 scope 0" in lines
    assert any(line.startswith("table 254: 2001:db8::/64 dev eth0 metric 256") for line in lines)


def settings(folder: Path) -> Settings:
    return Settings(
        node_name="node-a",
        run_dir=folder,
        state_dir=folder,
        cni_conf_dir=folder,
        cni_bin_dir=folder / "bin",
        cni_cache_dir=folder,
        proc_sys=folder,
        service_account_dir=folder,
    )


def test_it_does_not_grow_without_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST_PART", 1000)
    monkeypatch.setattr(bundle, "LARGEST_BUNDLE", 4000)
    monkeypatch.setattr(bundle, "_parts", lambda *_: iter([(f"part-{n}", lambda: "x" * 5000) for n in range(9)]))
    output = io.BytesIO()
    bundle.write(output, settings(tmp_path), NetworkSettings(), {}, io.StringIO())
    found = unpacked(output.getvalue())
    assert sum(len(text) for name, text in found.items() if name != "left-out.txt") <= 4000
    assert "part-0: 4000 of 5000 characters, for the size of it" in found["left-out.txt"]
    assert "part-8: 5000 of 5000 characters" in found["left-out.txt"]


def test_a_secret_that_is_cut_through_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST_PART", 100)
    monkeypatch.setattr(bundle, "_parts", lambda *_: iter([("part", lambda: "x" * 80 + f" {JWT} end")]))
    output = io.BytesIO()
    bundle.write(output, settings(tmp_path), NetworkSettings(), {}, io.StringIO())
    assert "eyJ" not in unpacked(output.getvalue())["part"]


def test_what_is_in_the_way_of_one_part_is_not_in_the_way_of_the_others(tmp_path: Path) -> None:
    output = io.BytesIO()
    bundle.write(output, settings(tmp_path / "nothing"), NetworkSettings(), {}, io.StringIO())
    found = unpacked(output.getvalue())
    assert "supply.json: FileNotFoundError" in found["left-out.txt"]
    assert json.loads(found["versions.json"])["sqlite"]


def test_logs_of_pods_are_taken_where_they_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = tmp_path / "kube-system_eni-agent-x_uid" / "agent"
    container.mkdir(parents=True)
    (tmp_path / "default_web_uid").mkdir()
    (container / "0.log").write_text("old")
    (container / "1.log").write_text("new")
    monkeypatch.setattr(bundle, "POD_LOGS", tmp_path)
    found = dict(bundle._files(settings(tmp_path / "nothing")))
    assert list(found) == ["logs/kube-system_eni-agent-x_uid-agent-1.log"]
    assert found["logs/kube-system_eni-agent-x_uid-agent-1.log"]() == b"new"


def test_the_file_is_new_and_for_nobody_else(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "MY_NODE_NAME": "node-a", "ENI_RUN_DIR": str(tmp_path)}
    target = tmp_path / "bundle.tar.gz"
    command = [shutil.which(sys.executable) or sys.executable, "-m", "eni_node_agent", "support-bundle"]
    for expected in (0, 1):
        result = subprocess.run(
            [*command, "--output", str(target)], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == expected, result.stderr
    assert "File exists" in result.stderr
    assert target.stat().st_mode & 0o777 == 0o600
