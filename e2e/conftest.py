"""One laboratory for the whole session, tied to this process: it ends with it even when that is killed."""

import os
from collections.abc import Generator, Iterator

import pytest

from eni_lab.lab import Lab, Options
from eni_lab.prerequisites import reason_for_none
from eni_testing.accounts import account
from eni_testing.laboratories import clear_abandoned, new_lab


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes binaries and images before the first test: the first time takes longer than any test may."""
    wanted = any(item.get_closest_marker("e2e") for item in session.items)
    if wanted and not session.config.option.collectonly and not reason_for_none():
        capture = session.config.pluginmanager.get_plugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            clear_abandoned()
            new_lab("images").prepare()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails on a cluster shows what the cluster was at: nobody can ask it afterwards."""
    report = yield
    fixtures = getattr(item, "funcargs", {}).values()
    lab = next((value for value in fixtures if isinstance(value, Lab)), None)
    if report.failed and lab is not None:
        report.sections.append(("the cluster at that moment", account(lab)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    if not (reason := reason_for_none()):
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
