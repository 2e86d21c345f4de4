"""Laboratories of a test runner: beside those of people, each in a folder that tells which process it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from eni_lab.lab import Lab
from eni_lab.layout import Layout
from eni_lab.waiting import stopwatch

PREFIX = "test-"


def new_lab(name: str) -> Lab:
    """A laboratory of this process, not up yet."""
    usual = Layout.from_env({}, Path.home())
    layout = Layout(usual.cache, usual.cache / "run" / f"{PREFIX}{os.getpid()}-{name}")
    return Lab(layout, os.environ, stopwatch())


def clear_abandoned() -> None:
    """Removes what runners that were killed left: their processes are gone, cgroups and files are not."""
    usual = Layout.from_env({}, Path.home())
    for state in (usual.cache / "run").glob(f"{PREFIX}*"):
        owner = state.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            Lab(Layout(usual.cache, state), os.environ, stopwatch()).down()
