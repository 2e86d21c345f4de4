"""The probes against the real server: what hangs, and what a restart would not mend."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eni_cni_shim import protocol
from eni_cni_shim.plugin.addresspool import PoolUnavailableError
from eni_cni_shim.plugin.verbs import Plugin
from eni_node_agent import health
from eni_node_agent.health import Health, Vitals
from eni_node_agent.rpc.server import Handler, Server
from eni_testing.cni import MemoryPool, socket_path


class NoNetwork:
    """A pod network nobody asks."""

    add = check = remove = None


class Hanging:
    async def handle(self, _: protocol.Request, __: int | None) -> protocol.Reply:
        await asyncio.Event().wait()
        raise AssertionError


async def at_once() -> None:
    return None


def vitals(
    answers: Callable[[], Awaitable[object]] = at_once,
    oldest: float = 0.0,
    journal: Callable[[], None] = lambda: None,
    obstacle: str = "",
) -> Vitals:
    return Vitals(answers, lambda: oldest, journal, lambda: obstacle)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Path]:
    with socket_path() as path:
        async with Server(path, handler).serve():
            yield path


def plugin(failure: Exception | None = None) -> Plugin:
    return Plugin(MemoryPool(failure=failure), NoNetwork())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.3)


async def test_all_is_well() -> None:
    async with serving(plugin()) as path:
        found = Health(path, vitals())
        assert (await found.why_dead(), await found.why_not_ready()) == ("", "")


async def test_a_node_that_cannot_serve_is_alive_and_not_ready() -> None:
    async with serving(plugin(PoolUnavailableError("no supply has been seen yet"))) as path:
        found = Health(path, vitals())
        assert (await found.why_dead(), await found.why_not_ready()) == ("", "no supply has been seen yet")


async def test_a_server_that_hangs_is_neither() -> None:
    async with serving(Hanging()) as path:
        found = Health(path, vitals())
        began = time.monotonic()
        assert "no answer within 0.3 s" in await found.why_dead()
        assert "no answer within 0.3 s" in await found.why_not_ready()
        assert time.monotonic() - began < 10


async def test_a_socket_nobody_listens_on_is_neither(tmp_path: Path) -> None:
    found = Health(tmp_path / "agent.sock", vitals())
    assert "does not answer STATUS" in await found.why_dead()
    assert await found.why_not_ready()


async def test_a_thread_that_hangs_is_asked_once_and_fails_the_probe_when_it_has_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[asyncio.Future[None]] = []

    def ask() -> asyncio.Future[None]:
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    async with serving(plugin()) as path:
        found = Health(path, vitals(answers=ask))
        assert await found.why_dead() == ""
        assert await found.why_dead() == ""
        monkeypatch.setattr(health, "STUCK_SECONDS", 0.2)
        assert "the thread that keeps the host's network has not answered" in await found.why_dead()
        assert len(asked) == 1
        asked[0].set_result(None)
        assert await found.why_dead() == ""
        assert len(asked) == 2
        asked[1].set_result(None)


async def test_a_thread_that_cannot_work_at_all_is_no_reason_to_start_anew() -> None:
    async def refuse() -> None:
        raise OSError("libnftables.so.1 is missing")

    async with serving(plugin()) as path:
        assert await Health(path, vitals(answers=refuse)).why_dead() == ""


async def test_a_kernel_that_works_on_one_pod_for_ever_fails_the_probe() -> None:
    async with serving(plugin()) as path:
        assert "in the works for 11 s" in await Health(path, vitals(oldest=11.0)).why_dead()
        assert await Health(path, vitals(oldest=9.0)).why_dead() == ""


async def test_a_journal_that_cannot_be_written_is_alive_and_not_ready() -> None:
    def refuse() -> None:
        raise OSError("journal cannot grow")

    async with serving(plugin()) as path:
        found = Health(path, vitals(journal=refuse))
        assert (await found.why_dead(), await found.why_not_ready()) == ("", "journal cannot grow")


async def test_what_else_is_in_the_way_is_told() -> None:
    async with serving(plugin()) as path:
        assert await Health(path, vitals(obstacle="no address can be had")).why_not_ready() == "no address can be had"
