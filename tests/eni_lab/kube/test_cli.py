"""The command line: what each command takes, and that trouble is one sentence."""

from pathlib import Path

import pytest

from eni_lab import cli
from eni_lab.layout import Layout


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENI_LAB_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["kubectl", "get", "nodes"],
        ["exec", "node-a1", "true"],
        ["node", "add"],
        ["aws", "calls"],
        ["deploy"],
    ],
    ids=" ".join,
)
def test_a_command_that_needs_a_laboratory_says_how_to_start_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith("eni-lab: no")


def test_stopping_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop", "node-a1.kubelet"]) == 1
    assert "no part is called 'node-a1.kubelet'" in capsys.readouterr().err


def test_kubectl_gets_its_options_untouched() -> None:
    for arguments in (["get", "pods", "-o", "wide"], ["-n", "kube-system", "get", "pods"], ["--help"]):
        assert cli._parser().parse_args(["kubectl", *arguments]).arguments == arguments


def test_the_stand_in_alone_takes_its_own_options() -> None:
    assert cli._parser().parse_args(["aws", "--port", "4500"]).port == 4500


def test_up_deploys_unless_told_not_to() -> None:
    assert cli._parser().parse_args(["up"]).deploy
    assert not cli._parser().parse_args(["up", "--no-deploy"]).deploy


def test_a_laboratory_is_known_by_its_folder(tmp_path: Path) -> None:
    usual = Layout.from_env({}, tmp_path)
    chosen = Layout.from_env({"ENI_LAB_STATE": str(tmp_path / "other")}, tmp_path)
    assert usual.state == tmp_path / ".cache/eni-lab/run/default"
    assert chosen.state == tmp_path / "other"
    assert chosen.cache == usual.cache
    assert chosen.cgroup != usual.cgroup
