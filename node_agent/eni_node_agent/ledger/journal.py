"""The journal: the ledger's memory across restarts of the agent, a SQLite file on a tmpfs.

Boot-scoped by its place: /run is empty after a reboot, and then no sandbox lives that could hold an address. Decides
nothing; ``ledger.ledger`` does. A damaged file is moved aside and an empty one begun: what live pods hold is then
adopted from the kernel's pod routes (``sandbox.gc``), which also covers a file cut to nothing.
"""

import contextlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 5.0
"""How long a predecessor that is still ending may keep the file."""
_SCHEMA: Final = f"""
BEGIN EXCLUSIVE;
CREATE TABLE boot (id TEXT NOT NULL);
CREATE TABLE holding (
  network TEXT NOT NULL, container_id TEXT NOT NULL, ifname TEXT NOT NULL,
  address TEXT NOT NULL UNIQUE, eni_id TEXT NOT NULL, since REAL NOT NULL,
  netns TEXT NOT NULL, pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,
  PRIMARY KEY (network, container_id, ifname)
) WITHOUT ROWID;
CREATE TABLE rested (address TEXT PRIMARY KEY, released_at REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_NOT_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes (https://www.sqlite.org/rescode.html) that blame the place or another process, not the file."""


class JournalError(OSError):
    """The journal cannot be written or is in another process's hands."""


class Replay(NamedTuple):
    """What the journal remembers."""

    holdings: tuple[Holding, ...]
    released: dict[str, float]
    """By address: when it was released last, in seconds since boot."""


class Journal:
    """The open journal; implements ``ledger.Memory``. One process at a time: the file is locked."""

    def __init__(self, path: Path) -> None:
        """Opens or begins the journal; a damaged file is moved aside.

        Raises:
            JournalError: another process holds the file, or its folder cannot be written.
        """
        self._path = path
        self._connection = self._open_or_begin()
        self._file = path.stat()

    @property
    def boot_id(self) -> str:
        """Identity of this journal, and so of this boot; containers cannot tell the node's boot id from another's."""
        return str(self._connection.execute("SELECT id FROM boot").fetchone()[0])

    def replay(self) -> Replay:
        """Returns all that is remembered."""
        rows = self._connection.execute(
            "SELECT network, container_id, ifname, netns, pod_namespace, pod_name, pod_uid, address, eni_id, since"
            " FROM holding"
        )
        holdings = tuple(
            Holding(Sandbox(SandboxKey(*row[:3]), *row[3:7]), address=row[7], eni_id=row[8], since=row[9])
            for row in rows
        )
        return Replay(holdings, dict(self._connection.execute("SELECT address, released_at FROM rested")))

    def hold(self, holding: Holding) -> None:
        """Remembers a holding. Raises JournalError when it cannot (tmpfs full); nothing is remembered then."""
        sandbox = holding.sandbox
        pod = (sandbox.netns, sandbox.pod_namespace, sandbox.pod_name, sandbox.pod_uid)
        with self._transaction() as connection:
            connection.execute("DELETE FROM rested WHERE address = ?", (holding.address,))
            connection.execute(
                "INSERT INTO holding (network, container_id, ifname, address, eni_id, since,"
                " netns, pod_namespace, pod_name, pod_uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*sandbox.key, holding.address, holding.eni_id, holding.since, *pod),
            )

    def release(self, holding: Holding, at: float) -> None:
        """Forgets a holding, remembers since when its address rests. Raises JournalError when it cannot."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM holding WHERE network = ? AND container_id = ? AND ifname = ?", holding.sandbox.key
            )
            connection.execute("INSERT OR REPLACE INTO rested VALUES (?, ?)", (holding.address, at))

    def check(self) -> None:
        """Returns when the next write will do.

        Raises:
            JournalError: the file cannot be written, is not at its place any more, or has no room to grow.
        """
        with self._transaction() as connection:
            connection.execute("UPDATE boot SET id = id")
        try:
            if not os.path.samestat(self._path.stat(), self._file):
                raise JournalError(f"journal {self._path} was replaced by another file; what is written now is lost")
            if not os.statvfs(self._path).f_bavail:
                raise JournalError(f"journal {self._path} cannot grow: no room is left in {self._path.parent}")
        except FileNotFoundError:
            raise JournalError(f"journal {self._path} was removed; what is written now is lost") from None

    @property
    def size(self) -> int:
        """Bytes on the tmpfs; 0 when the file is not at its place."""
        with contextlib.suppress(OSError):
            return self._path.stat().st_size
        return 0

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._path} cannot be written: {error}") from error

    def _open_or_begin(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except (sqlite3.DatabaseError, ValueError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                raise JournalError(f"journal {self._path} cannot be opened: {error}") from error
            aside = _move_aside(self._path)
            log.error(  # noqa: TRY400  the reason is the message, a traceback tells no more
                "journal damaged, moved aside; addresses of live pods will be adopted from the kernel",
                extra={"path": str(self._path), "aside": str(aside), "error": str(error)},
            )
        try:
            return _open(self._path)
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._path} cannot be begun: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        _configure(connection)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(_SCHEMA)
            with connection:
                connection.execute("INSERT INTO boot VALUES (?)", (str(uuid.uuid4()),))
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    # The file lives in memory: it survives this process, not the machine, so nothing is gained by fsync.
    # The rollback journal stays (a kill between two pages must not tear the file) and is overwritten, not deleted.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = PERSIST")


def _check(connection: sqlite3.Connection) -> None:
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise ValueError(str(problem))
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version is {version}, {SCHEMA_VERSION} is needed")
    if connection.execute("SELECT count(*) FROM boot").fetchone()[0] != 1:
        raise ValueError("table boot does not hold exactly one row")


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    return aside
