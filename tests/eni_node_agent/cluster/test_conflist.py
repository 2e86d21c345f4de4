import json
from pathlib import Path
from typing import Any

import pytest

from eni_cni_shim.spec import VERSIONS
from eni_node_agent.cluster import conflist
from eni_node_agent.cluster.conflist import ConflistError, Wish

OLD, NEW = ("0.3.0", "0.3.1", "0.4.0", "1.0.0"), ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
ALL = Wish(1500, bandwidth=True, disable_ipv6=True)


def composed(wish: Wish, **spoken: tuple[str, ...]) -> Any:
    return json.loads(conflist.compose(wish, spoken).text)


def types(document: Any) -> list[str]:
    return [plugin["type"] for plugin in document["plugins"]]


def test_names_our_executable_and_the_pods_mtu() -> None:
    found = composed(Wish(1500))
    assert found["name"] == "eni"
    assert types(found) == ["eni-cni"]
    assert found["plugins"][0]["mtu"] == 1500
    assert "disableCheck" not in found


def test_the_chain_is_that_of_vpc_cni() -> None:
    found = composed(ALL, portmap=OLD, bandwidth=OLD, tuning=OLD)
    assert types(found) == ["eni-cni", "portmap", "bandwidth", "tuning"]
    assert found["disableCheck"] is True, "as VPC CNI has it"
    _, portmap, bandwidth, tuning = found["plugins"]
    assert portmap == {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    assert bandwidth == {"type": "bandwidth", "capabilities": {"bandwidth": True}}
    assert tuning["sysctl"] == dict.fromkeys(
        [f"net.ipv6.conf.{link}.disable_ipv6" for link in ("all", "default", "lo")], "1"
    )


@pytest.mark.parametrize(
    ("wish", "there", "chained", "missing"),
    [
        (Wish(9001), {"bandwidth": OLD, "tuning": OLD}, ["eni-cni"], []),
        (Wish(9001), {"portmap": OLD}, ["eni-cni", "portmap"], []),
        (Wish(9001, bandwidth=True), {}, ["eni-cni"], ["ENABLE_BANDWIDTH_PLUGIN"]),
        (Wish(9001, disable_ipv6=True), {"portmap": OLD}, ["eni-cni", "portmap"], ["DISABLE_POD_V6"]),
        (ALL, {"tuning": OLD}, ["eni-cni", "tuning"], ["ENABLE_BANDWIDTH_PLUGIN"]),
        (ALL, {"tuning": OLD, "bandwidth": ("0.2.0",)}, ["eni-cni", "tuning"], ["ENABLE_BANDWIDTH_PLUGIN"]),
        (ALL, {"bandwidth": ("0.4.0",), "tuning": ("1.1.0",)}, ["eni-cni", "bandwidth"], ["DISABLE_POD_V6"]),
    ],
)
def test_what_is_asked_for_and_missing_is_told_and_what_is_optional_is_not(
    wish: Wish, there: dict[str, tuple[str, ...]], chained: list[str], missing: list[str]
) -> None:
    found = conflist.compose(wish, there)
    assert types(json.loads(found.text)) == chained
    assert len(found.missing) == len(missing)
    for variable, sentence in zip(missing, found.missing, strict=True):
        assert sentence.startswith(variable)


@pytest.mark.parametrize(
    ("spoken", "version", "versions"),
    [
        pytest.param({}, "1.0.0", ["1.0.0", "1.1.0"], id="ours alone"),
        pytest.param({"portmap": NEW}, "1.0.0", ["1.0.0", "1.1.0"], id="a plugin of today"),
        pytest.param({"portmap": OLD}, "1.0.0", None, id="a plugin of Debian 12"),
        pytest.param({"portmap": ("0.3.1", "0.4.0")}, "0.4.0", None, id="a plugin before 1.0.0"),
        pytest.param({"portmap": ("0.4.0", "1.1.0")}, "0.4.0", ["0.4.0", "1.1.0"], id="a plugin with a gap"),
        pytest.param({"portmap": ("1.1.0", "1.2.0")}, "1.1.0", None, id="a plugin of tomorrow"),
    ],
)
def test_only_versions_that_the_whole_chain_speaks_are_offered(
    spoken: dict[str, tuple[str, ...]], version: str, versions: list[str] | None
) -> None:
    found = composed(Wish(9001), **spoken)
    assert found["cniVersion"] == version
    assert found.get("cniVersions") == versions
    assert set(found.get("cniVersions", [version])) <= set(VERSIONS)


def test_writes_only_what_differs_and_leaves_no_draft(tmp_path: Path) -> None:
    assert conflist.replace(tmp_path, "new\n")
    assert not conflist.replace(tmp_path, "new\n")
    (tmp_path / "10-eni.conflist").write_bytes(b"\xff torn")
    assert conflist.replace(tmp_path, "new\n")
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("10-eni.conflist", 0o644)]


def test_a_predecessors_file_is_replaced_in_one_rename(tmp_path: Path) -> None:
    path = tmp_path / "10-eni.conflist"
    path.write_text("of a predecessor")
    with path.open() as read_by_a_runtime:
        conflist.replace(tmp_path, "of today")
        assert read_by_a_runtime.read() == "of a predecessor"
    assert path.read_text() == "of today"


def test_a_missing_folder_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"net\.d"):
        conflist.replace(tmp_path / "net.d", "text")


def test_removes_ours_and_what_a_killed_agent_left_of_it(tmp_path: Path) -> None:
    conflist.replace(tmp_path, conflist.compose(Wish(9001), {}).text)
    (tmp_path / ".10-eni.conflist.draft").touch()
    (tmp_path / "20-other.conflist").touch()
    assert conflist.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["20-other.conflist"]
    assert not conflist.remove(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"plugins": []}', '{"plugins": [{"type": "bridge"}]}', "\xff"])
def test_a_file_of_somebody_else_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "10-eni.conflist"
    path.write_text(text)
    with pytest.raises(ConflistError, match="not ours"):
        conflist.remove(tmp_path)
    assert path.read_text() == text
