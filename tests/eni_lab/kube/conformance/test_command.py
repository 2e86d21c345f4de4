"""What ``make conformance`` ends with: every run is made and told, and the status says whether all passed."""

from pathlib import Path

import pytest

from eni_lab.errors import LabError
from eni_lab.kube.conformance import command, results, runs
from eni_lab.lab import Lab

WHOLE = results.Result(results.SPECS, results.SPECS, (), 96, results.SPECS)
ONE_FAILED = results.Result(results.SPECS, results.SPECS - 1, ("[sig-network] DNS resolves",), 96, results.SPECS)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENI_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(runs, "prepare", lambda *_: runs.Parts({}, [], Path("kubectl")))
    monkeypatch.setattr(runs, "keep_logs", lambda *_: None)
    monkeypatch.setattr(Lab, "down", lambda _: None)


def perform_as(monkeypatch: pytest.MonkeyPatch, **outcomes: results.Result | Exception) -> list[str]:
    performed = []

    def perform(_lab: Lab, _parts: runs.Parts, run: runs.Run, *_: object, **__: object) -> results.Result:
        performed.append(run.name)
        outcome = outcomes.get(run.name.replace("-", "_"), WHOLE)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(runs, "perform", perform)
    return performed


def test_all_runs_are_made_and_all_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    performed = perform_as(monkeypatch)
    assert command.main([]) == 0
    assert performed == [run.name for run in runs.MATRIX]


@pytest.mark.parametrize("outcome", [ONE_FAILED, LabError("no API server"), TimeoutError("not within 60 s")])
def test_one_run_that_did_not_pass_is_told_and_the_others_are_made(
    outcome: results.Result | Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    performed = perform_as(monkeypatch, secondary_iptables=outcome)
    assert command.main([]) == 1
    assert len(performed) == 4
    out = capsys.readouterr().out
    assert "secondary-iptables" in out
    assert ("DNS resolves" in out) == isinstance(outcome, results.Result)
    assert isinstance(outcome, results.Result) or str(outcome) in out


def test_only_one_cluster_is_left_up(monkeypatch: pytest.MonkeyPatch) -> None:
    performed = perform_as(monkeypatch)
    assert command.main(["--mode", "prefix", "--keep"]) == 0
    assert performed == ["prefix-nftables"]
