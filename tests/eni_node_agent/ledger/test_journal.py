import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.ledger import journal as journal_module
from eni_node_agent.ledger.journal import Journal, JournalError
from eni_node_agent.ledger.ledger import Holding


def holding(number: int) -> Holding:
    key = SandboxKey("eni", f"{number:064x}", "eth0")
    pod = Sandbox(key, "/run/netns/x", "default", f"web-{number}", f"uid-{number}")
    return Holding(pod, f"10.0.{number // 250}.{number % 250}", "eni-1", since=float(number))


def test_remembers_holdings_and_resting_addresses_over_a_restart(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        for number in (1, 2):
            journal.hold(holding(number))
        journal.release(holding(1), at=7.5)
        boot_id = journal.boot_id
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        replay = journal.replay()
        assert journal.boot_id == boot_id
    assert replay.holdings == (holding(2),)
    assert replay.released == {"10.0.0.1": 7.5}


def test_an_address_that_is_held_again_rests_no_more(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(holding(1))
        journal.release(holding(1), at=1)
        journal.hold(holding(1))
        assert journal.replay().released == {}


def test_refuses_a_second_owner_of_an_address(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(holding(1))
        other = Holding(Sandbox(SandboxKey("eni", "other", "eth0")), holding(1).address, "eni-1", since=0)
        with pytest.raises(JournalError, match=r"ledger\.db cannot be written"):
            journal.hold(other)
        assert journal.replay().holdings == (holding(1),)


@pytest.mark.parametrize("length", [100, 5000])
def test_a_torn_file_is_moved_aside_and_an_empty_journal_begun(
    tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    with closing(Journal(path)) as journal:
        for number in range(200):
            journal.hold(holding(number))
    torn = path.read_bytes()[:length]
    path.write_bytes(torn)
    with closing(Journal(path)) as journal:
        assert journal.replay().holdings == ()
        journal.hold(holding(1))
    assert path.with_name("ledger.db.damaged").read_bytes() == torn
    assert "journal damaged" in caplog.text


@pytest.mark.parametrize("length", [0, 1])
def test_a_file_cut_to_nothing_is_a_journal_of_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / "ledger.db"
    with closing(Journal(path)) as journal:
        journal.hold(holding(1))
    path.write_bytes(path.read_bytes()[:length])
    with closing(Journal(path)) as journal:
        assert journal.replay().holdings == ()


def test_a_file_of_garbage_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(os.urandom(8192))
    with closing(Journal(path)) as journal:
        assert journal.replay().holdings == ()


def test_a_file_whose_tables_are_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    with closing(Journal(path)):
        assert path.with_name("ledger.db.damaged").exists()


def test_a_journal_in_another_process_s_hands_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "BUSY_SECONDS", 0.05)
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(holding(1))
        with pytest.raises(JournalError, match="locked"):
            Journal(tmp_path / "ledger.db")
        assert journal.replay().holdings == (holding(1),)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"absent/ledger\.db cannot be opened"):
        Journal(tmp_path / "absent" / "ledger.db")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("a full disk is a small tmpfs, which needs root; in CI that is a failure")
        pytest.skip("a full disk is a small tmpfs, which needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "eni-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(journal: Journal) -> int:
    """Holds until the disk is full; returns how many were held."""
    for number in range(10_000):
        try:
            journal.hold(holding(number))
        except JournalError as error:
            assert "full" in str(error)  # noqa: PT017  what matters is at which one it fails
            return number
    pytest.fail("10000 holdings fit on a disk of 128 KiB")


def test_a_full_disk_refuses_the_change_and_keeps_what_was_there(small_disk: Path) -> None:
    with closing(Journal(small_disk / "ledger.db")) as journal:
        kept = fill(journal)
        assert len(journal.replay().holdings) == kept
        for number in range(kept):
            journal.release(holding(number), at=1.0)
        journal.hold(holding(0))
    with closing(Journal(small_disk / "ledger.db")) as journal:
        assert journal.replay().holdings == (holding(0),)


def test_a_journal_that_works_passes_its_check(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.check()
        assert journal.size > 0


def test_a_journal_whose_file_was_removed_fails_its_check(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(Journal(path)) as journal:
        path.unlink()
        with pytest.raises(JournalError, match="was removed"):
            journal.check()
        assert journal.size == 0


def test_a_journal_whose_file_was_replaced_fails_its_check(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(Journal(path)) as journal:
        path.unlink()
        path.write_bytes(b"")
        with pytest.raises(JournalError, match="was replaced"):
            journal.check()
