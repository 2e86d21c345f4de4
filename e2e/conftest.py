"""One laboratory for the whole session, tied to this process: it ends with it even when that is killed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_lab.lab import Lab, Options
from eni_lab.layout import Layout
from eni_lab.waiting import stopwatch

PREFIX = "test-"
TOOLS = ("containerd", "runc", "buildah", "debootstrap", "nft", "nsenter", "unshare", "setpriv", "openssl", "gcc")


def new_lab(name: str) -> Lab:
    """A laboratory beside those of people, in a folder that tells which process it belongs to."""
    usual = Layout.from_env({}, Path.home())
    layout = Layout(usual.cache, usual.cache / "run" / f"{PREFIX}{os.getpid()}-{name}")
    return Lab(layout, os.environ, stopwatch())


def clear_abandoned() -> None:
    """Removes what runners that were killed left: their processes are gone, cgroups and files are not."""
    usual = Layout.from_env({}, Path.home())
    for state in (usual.cache / "run").glob(f"{PREFIX}*"):
        if not Path("/proc", state.name.removeprefix(PREFIX).split("-")[0]).exists():
            Lab(Layout(usual.cache, state), os.environ, stopwatch()).down()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes binaries and images before the first test: the first time takes longer than any test may."""
    wanted = any(item.get_closest_marker("e2e") for item in session.items)
    if wanted and not session.config.option.collectonly and not missing():
        capture = session.config.pluginmanager.get_plugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            clear_abandoned()
            new_lab("images").prepare()


def missing() -> str:
    """Why no laboratory can run here, or nothing."""
    if os.geteuid() != 0:
        return "it is not run as root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(absent)} not installed; `make deps` installs them" if absent else ""


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    if not (reason := missing()):
        return
    if os.environ.get("CI"):
        pytest.fail(f"the cluster tests need a laboratory, but {reason}; in CI that is a failure")
    pytest.skip(f"the cluster tests need a laboratory, but {reason}")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two nodes, nothing deployed, EC2 without service times."""
    laboratory = new_lab("session")
    try:
        laboratory.up(Options(tied=True, service_times=False))
        yield laboratory
    finally:
        laboratory.down()


@pytest.fixture(scope="session")
def deployed(lab: Lab) -> Lab:
    """The session's laboratory with the product in it, every node Ready."""
    lab.deploy()
    return lab
