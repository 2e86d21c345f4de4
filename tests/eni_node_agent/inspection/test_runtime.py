import json
from pathlib import Path

import pytest

from eni_node_agent.inspection import runtime
from eni_node_agent.inspection.runtime import RuntimeUnseenError
from eni_node_agent.inspection.views import Attachment

CACHED = {
    "kind": "cniCacheV1",
    "containerId": "c1",
    "config": "e30=",
    "ifName": "eth0",
    "networkName": "eni",
    "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "web-0"]],
    "result": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.1.4/32"}, {"address": "2001:db8::7/128"}]},
}


def test_reads_what_libcni_keeps() -> None:
    found = runtime.parse(json.dumps(CACHED).encode())
    assert found == Attachment("eni", "c1", "eth0", ("10.0.1.4", "2001:db8::7"), "default/web-0")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"result": []}',
        json.dumps({**CACHED, "result": {"ips": [{"address": "here"}]}}).encode(),
        json.dumps({**CACHED, "result": None}).encode(),
        json.dumps({**CACHED, "containerId": 7}).encode(),
        json.dumps({key: value for key, value in CACHED.items() if key != "ifName"}).encode(),
    ],
)
def test_passes_over_what_is_no_result(text: bytes) -> None:
    assert runtime.parse(text) is None


def test_only_our_network_counts(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "eni-c1-eth0").write_text(json.dumps(CACHED))
    (tmp_path / "results" / "cni-loopback-c1-lo").write_text(json.dumps({**CACHED, "networkName": "cni-loopback"}))
    (tmp_path / "results" / "torn").write_text(json.dumps(CACHED)[:40])
    view = runtime.look(tmp_path, "eni")
    assert [each.container_id for each in view.attachments] == ["c1"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnseenError, match="No such file"):
        runtime.look(tmp_path, "eni")


def test_asks_crictl_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    crictl = tmp_path / "crictl"
    crictl.write_text('#!/bin/sh\necho \'{"items": [{"id": "c1"}, {"id": "c2"}]}\'\n')
    crictl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert runtime.look(tmp_path, "eni").live == frozenset({"c1", "c2"})
    crictl.write_text("#!/bin/sh\nexit 1\n")
    assert runtime.look(tmp_path, "eni").live is None
