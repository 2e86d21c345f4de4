import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_node_agent import logs
from eni_node_agent.logs import Place


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Puts logging back as it was."""
    names = [None, *logs.PLUGIN_LOGGERS]
    before = [(logging.getLogger(name), logging.getLogger(name).handlers[:]) for name in names]
    level = logging.getLogger().level
    yield
    for logger, handlers in before:
        for handler in set(logger.handlers) - set(handlers) - {logs.RECENT}:
            handler.close()
        logger.handlers, logger.propagate = handlers, True
        logger.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(level)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


REQUESTS = logging.getLogger("eni_node_agent.measured")
OTHER = logging.getLogger("eni_node_agent.wiring")


def test_a_line_is_one_object_with_what_came_along(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Place("INFO", "stderr"), Place("INFO", "stderr"))
    OTHER.info("repaired", extra={"kind": "rule"})
    OTHER.debug("not this")
    [line] = lines(capsys.readouterr().err)
    assert (line["level"], line["message"], line["kind"]) == ("INFO", "repaired", "rule")


def test_the_plugins_level_is_that_of_requests(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Place("ERROR", "stderr"), Place("DEBUG", "stderr"))
    REQUESTS.debug("request answered")
    OTHER.warning("not this")
    assert [line["message"] for line in lines(capsys.readouterr().err)] == ["request answered"]


def test_each_log_has_its_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    agent, plugin = tmp_path / "logs" / "ipamd.log", tmp_path / "logs" / "plugin.log"
    logs.set_up(Place("INFO", str(agent)), Place("INFO", str(plugin)))
    REQUESTS.info("request answered")
    OTHER.info("repaired")
    assert [line["message"] for line in lines(agent.read_text())] == ["repaired"]
    assert [line["message"] for line in lines(plugin.read_text())] == ["request answered"]
    assert capsys.readouterr().err == ""


def test_a_file_is_turned_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_FILE", 2000)
    path = tmp_path / "ipamd.log"
    logs.set_up(Place("INFO", str(path)), Place("INFO", str(path)))
    for _ in range(200):
        OTHER.info("repaired")
    assert len(list(tmp_path.iterdir())) == 1 + logs.BACKUPS
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 2000


def test_a_file_that_cannot_be_written_is_no_reason_not_to_serve(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "ipamd.log"
    logs.set_up(Place("INFO", str(path)), Place("INFO", str(path)), ["X is 1; it is as if not set"])
    first, second = lines(capsys.readouterr().err)
    assert first["detail"] == "X is 1; it is as if not set"
    assert f"cannot be written to {path}" in str(second["detail"])


def test_the_recent_past_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Place("INFO", "stderr"), Place("INFO", "stderr"))
    for number in range(logs.RECENT_LINES + 10):
        OTHER.info("line", extra={"number": number})
    kept = lines(logs.RECENT.text().decode())
    assert len(kept) == logs.RECENT_LINES
    assert kept[-1]["number"] == logs.RECENT_LINES + 9
    assert capsys.readouterr().err
