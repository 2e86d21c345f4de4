"""The command line: what each command takes, and that trouble is one sentence."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from eni_lab import cli
from eni_lab.lab import Lab
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
        ["stop", "apiserver"],
        ["start", "apiserver"],
        ["node", "remove", "node-a1"],
        ["node", "reboot", "node-a1"],
        ["node", "replace", "node-a1"],
        ["node", "add"],
        ["aws", "calls"],
        ["deploy"],
        ["deploy", "cluster-scope"],
    ],
    ids=" ".join,
)
def test_a_command_that_needs_a_laboratory_says_how_to_start_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith("eni-lab: no")


def test_up_without_being_root_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert cli.main(["up"]) == 1
    assert capsys.readouterr().err == "eni-lab: no laboratory can run here: it is not run as root\n"


@pytest.mark.parametrize("command", ["up", "image", "demo"])
def test_a_missing_program_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"containerd", "nft"} else f"/usr/bin/{name}")
    assert cli.main([command]) == 1
    reason = "containerd, nft not installed; `make deps` installs them"
    assert capsys.readouterr().err == f"eni-lab: no laboratory can run here: {reason}\n"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "nsenter"), "nsenter"),
        (TimeoutError("api server ready: not within 60 s"), "api server ready"),
        (subprocess.CalledProcessError(32, ["mount", "-t", "tmpfs"]), "mount"),
    ],
)
def test_what_fails_underneath_is_told_without_a_traceback(
    trouble: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Lab) -> None:
        raise trouble

    monkeypatch.setattr(Lab, "down", fail)
    assert cli.main(["down"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("eni-lab: ")
    assert words in line


def test_an_interrupted_command_says_how_to_clear_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: Lab) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "down", interrupt)
    assert cli.main(["down"]) == 130
    assert "`eni-lab down`" in capsys.readouterr().err


def test_a_number_of_nodes_below_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["up", "--nodes", "-1"])
    assert "'-1' is no number from 0 up" in capsys.readouterr().err


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
