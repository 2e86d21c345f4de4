import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger import journal as journal_module
from eni_node_agent.ledger.journal import Journal, JournalError
from eni_node_agent.ledger.ledger import Holding
from eni_testing.holdings import held


def holding(number: int) -> Holding:
    key = SandboxKey("eni", f"{number:064x}", "eth0")
    pod = Sandbox(key, "/run/netns/x", "default", f"web-{number}", f"uid-{number}")
    return held(pod, f"10.0.{number // 250}.{number % 250}", since=float(number))


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


def many(number: int) -> Holding:
    """Returns what a pod with two network cards holds in a pool of one family and egress of the other."""
    pod = Sandbox(SandboxKey("eni", f"many-{number}", "eth0"), "/run/netns/x", "default", f"web-{number}", "uid")
    first = PodLink("eth0", "eni01", "eni-1", (f"10.0.1.{number}", f"2001:db8::{number}"), f"fd00::ac:{number}")
    return Holding(pod, (first, PodLink("mNicIf1", "eni02", "eni-2", (f"10.0.2.{number}",))), since=1.5)


def test_remembers_every_link_and_address_in_order_and_forgets_them_together(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        for number in (9, 10):  # as texts they sort otherwise
            journal.hold(many(number))
        journal.release(many(9), at=3.0)
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        assert journal.replay() == ((many(10),), dict.fromkeys(many(9).all_addresses, 3.0))


def test_refuses_a_second_owner_of_any_address_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(many(1))
        other = held(Sandbox(SandboxKey("eni", "other", "eth0")), "10.0.7.7", many(1).links[0].egress)
        with pytest.raises(JournalError, match=r"ledger\.db cannot be written"):
            journal.hold(other)
        assert journal.replay().holdings == (many(1),)


VERSION_1 = """
CREATE TABLE boot (id TEXT NOT NULL);
CREATE TABLE holding (
  network TEXT NOT NULL, container_id TEXT NOT NULL, ifname TEXT NOT NULL,
  address TEXT NOT NULL UNIQUE, eni_id TEXT NOT NULL, since REAL NOT NULL,
  netns TEXT NOT NULL, pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,
  PRIMARY KEY (network, container_id, ifname)
) WITHOUT ROWID;
CREATE TABLE rested (address TEXT PRIMARY KEY, released_at REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
INSERT INTO boot VALUES ('boot-1');
INSERT INTO holding VALUES ('eni', 'c1', 'eth0', '10.0.1.5', 'eni-1', 7.5, '/run/netns/x', 'default', 'web', 'u1');
INSERT INTO holding VALUES ('', 'eni0123456789a', '', '10.0.1.6', '', 8.5, '', '', '', '');
INSERT INTO rested VALUES ('10.0.1.7', 9.5);
"""


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """The journal of a release before, with a pod, one found again in the kernel, and an address that rests."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


def test_a_journal_of_version_1_is_taken_over_under_running_pods(version_1: Path) -> None:
    pod = Sandbox(SandboxKey("eni", "c1", "eth0"), "/run/netns/x", "default", "web", "u1")
    found_again = Sandbox(SandboxKey("", "eni0123456789a", ""))
    expected = {
        held(pod, "10.0.1.5", since=7.5),
        held(found_again, "10.0.1.6", eni_id="", since=8.5),
    }
    for _ in range(2):
        with closing(Journal(version_1)) as journal:
            replay = journal.replay()
            assert (set(replay.holdings), replay.released, journal.boot_id) == (expected, {"10.0.1.7": 9.5}, "boot-1")
    with closing(Journal(version_1)) as journal:
        for holding in expected:
            journal.release(holding, at=10.0)
        journal.hold(many(1))
        assert journal.replay().holdings == (many(1),)
    assert not version_1.with_name("ledger.db.damaged").exists()


def test_an_agent_killed_while_it_took_a_journal_over_finds_it_as_it_was(version_1: Path) -> None:
    killed_half_way = (
        "import os, pathlib, sys; from eni_node_agent.ledger import journal;"
        "journal._host_ifname_1 = lambda *_: os._exit(9); journal.Journal(pathlib.Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", killed_half_way, version_1], check=False).returncode == 9
    with closing(Journal(version_1)) as journal:
        assert len(journal.replay().holdings) == 2
    assert not version_1.with_name("ledger.db.damaged").exists()


def test_an_address_that_is_held_again_rests_no_more(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(holding(1))
        journal.release(holding(1), at=1)
        journal.hold(holding(1))
        assert journal.replay().released == {}


def test_refuses_a_second_owner_of_an_address(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "ledger.db")) as journal:
        journal.hold(holding(1))
        other = held(Sandbox(SandboxKey("eni", "other", "eth0")), holding(1).address)
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
