import asyncio
import functools

import pytest

from eni_node_agent import supervision
from eni_node_agent.supervision import running
from eni_testing.eventually import eventually


class Loops:
    """Two loops: one fails each time it is started, the other goes on."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def fail(self, name: str = "fails") -> None:
        self.begun.append(name)
        raise RuntimeError("by the test")

    async def go_on(self) -> None:
        self.begun.append("goes on")
        await asyncio.Event().wait()


async def test_a_loop_that_fails_is_told_and_started_again_while_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "RESTART_SECONDS", 0)
    loops = Loops()
    async with running(loops.go_on), running(loops.fail):
        await eventually(lambda: loops.begun.count("fails") > 2, "it is started again")
    assert loops.begun.count("goes on") == 1
    assert {(record.message, record.loop) for record in caplog.records} == {  # type: ignore[attr-defined]
        ("loop failed, it starts again", "Loops.fail")
    }
    begun = len(loops.begun)
    await asyncio.sleep(0)
    assert len(loops.begun) == begun, "with the context both have ended"


async def test_a_loop_with_arguments_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "RESTART_SECONDS", 0)
    async with running(functools.partial(Loops().fail, "again")):
        await eventually(lambda: bool(caplog.records), "it has failed")
    assert caplog.records[0].loop == "Loops.fail"  # type: ignore[attr-defined]
