"""docs/standin-aws.md says of actions, knobs and service times what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from eni_lab.aws.engine.engine import ACTIONS
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.latency import SERVICE_SECONDS

PAGE = (Path(__file__).parents[3] / "docs" / "standin-aws.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def documented_knobs() -> dict[str, str]:
    """Defaults as written; a row may name several knobs and as many defaults."""
    rows = [line.split("|")[1:3] for line in section("Knobs").splitlines() if line.startswith("| `")]
    named = [(re.findall(r"`(\w+)`", names), defaults.strip().split(", ")) for names, defaults in rows]
    return {name: default for names, defaults in named for name, default in zip(names, defaults, strict=True)}


def test_every_action_is_listed() -> None:
    listed = re.findall(r"\w+", section("Actions").split("\n\n", 1)[1].split(";", 1)[0])
    assert listed == sorted(ACTIONS)


def test_every_knob_has_a_line_with_its_default() -> None:
    written = {field.name: str(field.default).removesuffix(".0") for field in fields(Knobs)}
    expected = {name: value.lower() if value in {"True", "False"} else value for name, value in written.items()}
    documented = {name: default.replace(",", "").removesuffix(".0") for name, default in documented_knobs().items()}
    assert documented == expected


def test_the_marked_knobs_are_those_that_service_times_turn() -> None:
    marked = set(re.findall(r"`(\w+)` \*", section("Knobs")))
    without = Knobs().without_delays()
    assert marked == {field.name for field in fields(Knobs) if getattr(without, field.name) != field.default}


@pytest.mark.parametrize("action", sorted(SERVICE_SECONDS))
def test_service_times_are_those_written(action: str) -> None:
    sentence = section("Knobs").split("Service times", 1)[1].replace("\n", " ").replace(" and ", ", ")
    verb = "CreateTags" if action == "CreateTags" else re.findall("[A-Z][a-z]+", action)[0]
    found = re.search(rf"\b{verb}\b[^0-9]*([0-9.]+[0-9])", sentence)
    assert found is not None
    assert float(found[1]) == SERVICE_SECONDS[action]
